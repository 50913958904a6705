// A backup of a cluster: the content of its directory, and what a server keeps of the cluster beside it, the authority's key
// among that. Whoever has it can let hosts in, and be one. Pure; recovery.ts makes it, and goes by it.

import { z } from 'zod';
import { formatCidr, formatIpv4, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { parsed, parserOf } from '../base/body-schema';
import { DaoliError } from '../base/errors';
import { DEFAULT_SITE } from '../directory/rows';
import { isReadable, SCHEMA_VERSION } from '../directory/schema-version';
import type { DatabaseContent } from '../ovsdb/content';
import { isUuid, type WireRow, type WireValue } from '../ovsdb/notation';
import type { Identity } from '../pki/authority';
import type { ClusterFacts } from './files';

const FORMAT = 'daolinet-backup-1';

const pem = z.string({ error: 'is not text' }).startsWith('-----BEGIN', 'is no PEM');
const IDENTITY = z.object({ certificate: pem, key: pem });
const SHAPE = z.object({
  format: z.literal(FORMAT, { error: `is not "${FORMAT}": this is no backup of a cluster` }),
  made: z.iso.datetime({ error: 'is no time' }),
  /** Whose certificate `identity` is. */
  host: z.string({ error: 'is not text' }),
  locators: parsed(parseCidr),
  authority: IDENTITY,
  identity: IDENTITY,
  directory: z.object({
    schema: z.looseObject({
      name: z.literal('DaoliNet'),
      version: z.string(),
      tables: z.record(z.string(), z.looseObject({ columns: z.looseObject({}) })),
    }),
    tables: z.record(z.string(), z.record(z.string().refine(isUuid, 'is no uuid'), z.looseObject({}))),
  }),
});

/** What a backup says, on the wire and in a file. Not a secret's place but for root: it has the authority's key. */
export type ShownBackup = z.input<typeof SHAPE>;

export interface Backup {
  /** When it was made, as ISO 8601. */
  readonly made: string;
  readonly host: string;
  readonly locators: Cidr;
  readonly authority: Identity;
  readonly identity: Identity;
  readonly directory: DatabaseContent;
}

export function showBackup(
  {
    locatorRange,
    identity,
    authority,
  }: Pick<ClusterFacts, 'locatorRange' | 'identity'> & { readonly authority: Identity },
  { host, made, directory }: Pick<Backup, 'host' | 'made' | 'directory'>,
): ShownBackup {
  const { certificate, key } = authority;
  const secrets = { authority: { certificate, key }, identity };
  return { format: FORMAT, made, host, locators: formatCidr(locatorRange), ...secrets, directory: directory as never };
}

/** Throws `invalid` for what is no backup, or one that this version cannot use. */
export function parseBackup(shown: unknown): Backup {
  const backup = parserOf(SHAPE)(shown) as unknown as Backup;
  const { version } = backup.directory.schema;
  if (!isReadable(version)) {
    const message = `the backup is of another major version of DaoliNet (its directory ${version}, this plugin’s ${SCHEMA_VERSION})`;
    throw new DaoliError('invalid', `${message}: restore it with a plugin of that one`, version);
  }
  return backup;
}

/** A host as a backup has it. */
export interface BackedUpHost {
  readonly address: Ipv4 | undefined;
  readonly datapathId: string;
  readonly certificates: readonly string[];
  readonly site: string;
}

/** Throws `not-found`, naming those that there are. */
export function hostIn({ directory }: Backup, name: string): BackedUpHost {
  const rows = Object.values(directory.tables['Host'] ?? {});
  const row = rows.find((each) => each['name'] === name);
  if (row === undefined) {
    const names = rows
      .map((each) => String(each['name']))
      .sort()
      .join(', ');
    const message = `the backup has no host ${name}; it has ${names}: give this host the name of the one that it replaces`;
    throw new DaoliError('not-found', message, name);
  }
  const [address] = atomsOf(row['address']);
  const site = row['site'] === '' || row['site'] === undefined ? DEFAULT_SITE : String(row['site']);
  return {
    address: address === undefined ? undefined : parseIpv4(address),
    datapathId: String(row['datapath_id']),
    certificates: atomsOf(row['certificates']),
    site,
  };
}

/** The one server that a restored cluster begins with. */
export interface OnlyServer {
  readonly name: string;
  readonly address: Ipv4;
  /** Fingerprint of its certificate. */
  readonly certificate: string;
}

/**
 * The directory to begin anew with: this host alone serves it, and tokens that were good then are no good any more, nor does
 * anybody wait with them.
 */
export function contentFor({ directory }: Backup, server: OnlyServer): DatabaseContent {
  const hosts = Object.entries(directory.tables['Host'] ?? {}).map(([uuid, row]): [string, WireRow] => {
    if (row['name'] !== server.name) return [uuid, { ...row, is_server: false }];
    const { address, certificate } = server;
    return [uuid, { ...row, is_server: true, address: formatIpv4(address), certificates: certificate }];
  });
  const tables = { ...directory.tables, Host: Object.fromEntries(hosts), JoinToken: {}, JoinRequest: {} };
  return { schema: directory.schema, tables };
}

/** Text in a column that is a set, or optional. */
function atomsOf(value: WireValue | undefined): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return [String(value)];
  return (value[1] as readonly unknown[]).map(String);
}
