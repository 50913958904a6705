// What a host keeps of its cluster, on disk: who the others are, its certificate and key, and on a server the authority's
// key. The folder is there, whole, or not at all.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { formatCidr, formatIpv4, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import type { Identity } from '../pki/authority';

export interface ClusterFacts {
  /** The address by which the others know this host. */
  readonly address: Ipv4;
  /** All locators of the cluster. */
  readonly locatorRange: Cidr;
  /** The hosts that serve the directory. This one is among them where it has the authority's key. */
  readonly servers: readonly Ipv4[];
  /** The authority; its key is on servers alone. */
  readonly authority: { readonly certificate: string; readonly key: string | undefined };
  /** This host's own. */
  readonly identity: Identity;
}

const FILE = {
  facts: 'cluster.json',
  authority: 'ca.crt',
  authorityKey: 'ca.key',
  certificate: 'host.crt',
  key: 'host.key',
} as const;

const SHAPE = z.object({ address: z.string(), locators: z.string(), servers: z.array(z.string()).min(1) });

/** Undefined where this host is in no cluster. Throws `internal` where the folder is not as it was written. */
export function readCluster(folder: string): ClusterFacts | undefined {
  if (!existsSync(folder)) return undefined;
  const text = (name: string) => readFileSync(join(folder, name), 'utf8');
  try {
    const { address, locators, servers } = SHAPE.parse(JSON.parse(text(FILE.facts)));
    return {
      address: parseIpv4(address),
      locatorRange: parseCidr(locators),
      servers: servers.map(parseIpv4),
      authority: {
        certificate: text(FILE.authority),
        key: existsSync(join(folder, FILE.authorityKey)) ? text(FILE.authorityKey) : undefined,
      },
      identity: { certificate: text(FILE.certificate), key: text(FILE.key) },
    };
  } catch (error) {
    const message = `${folder} cannot be read (${messageOf(error)}): remove it, and let this host join its cluster anew`;
    throw new DaoliError('internal', message, folder, { cause: error });
  }
}

/** Replaces the folder in one step. */
export function writeCluster(folder: string, facts: ClusterFacts): void {
  const fresh = `${folder}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true, mode: 0o700 });
  const write = (name: string, text: string) => writeFileSync(join(fresh, name), text, { mode: 0o600, flush: true });
  const { address, locatorRange, servers, authority, identity } = facts;
  const shown = {
    address: formatIpv4(address),
    locators: formatCidr(locatorRange),
    servers: servers.map(formatIpv4),
  };
  write(FILE.facts, `${JSON.stringify(shown, null, 2)}\n`);
  write(FILE.authority, authority.certificate);
  if (authority.key !== undefined) write(FILE.authorityKey, authority.key);
  write(FILE.certificate, identity.certificate);
  write(FILE.key, identity.key);
  const old = join(dirname(folder), '.cluster.old');
  rmSync(old, { recursive: true, force: true });
  if (existsSync(folder)) renameSync(folder, old);
  renameSync(fresh, folder);
  rmSync(old, { recursive: true, force: true });
}

/** This host is in no cluster any more. */
export function removeCluster(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
