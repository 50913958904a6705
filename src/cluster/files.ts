// What a host keeps of its cluster, on disk: who the others are, its certificate and key, and on a server the authority's
// key. The folder is there, whole, or not at all.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { formatAddressPort, parseAddressPort } from '../base/address-port';
import { formatCidr, formatIpv4, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { parsed } from '../base/body-schema';
import { DaoliError, messageOf } from '../base/errors';
import { DEFAULT_SITE, SITE_NAME } from '../directory/rows';
import { L2_SETTINGS, TUNNEL_PORT } from '../directory/tunnel-operations';
import type { Identity } from '../pki/authority';
import type { TunnelFacts } from './sites';

/** A host that serves the directory, as the others remember it: they must know it before they can read the directory. */
export interface KnownServer {
  readonly address: Ipv4;
  /** Its datapath id, by which the servers' databases know one another. */
  readonly datapathId: string;
  /** Fingerprints of the certificates that it may show. */
  readonly certificates: readonly string[];
  readonly site: string;
  /** By which other sites reach it, where that is another address; see seenFrom of sites.ts. */
  readonly outside?: Ipv4 | undefined;
}

/** What a host's address was of when it came into the cluster: its next one is looked for there. */
export interface Place {
  /** That of its site. */
  readonly network: Cidr;
  readonly device: string;
  /** Whether that had the default route: then the address goes with the route. */
  readonly isUplink: boolean;
}

export interface ClusterFacts {
  /** The address by which the others know this host. */
  readonly address: Ipv4;
  /** Undefined until its address was seen on an interface. */
  readonly place?: Place | undefined;
  /** As last seen. */
  readonly site: string;
  readonly tunnel: TunnelFacts;
  readonly datapathId: string;
  /** All locators of the cluster. */
  readonly locatorRange: Cidr;
  /** Raft's name of the servers' database; on a server alone, and only once there is one. */
  readonly clusterId: string | undefined;
  /** The hosts that serve the directory, as last seen. This one is among them where it has the authority's key. */
  readonly servers: readonly KnownServer[];
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

/** Those of older versions say none. */
const SITE = z.string().regex(SITE_NAME, 'is no name of a site').default(DEFAULT_SITE);
const SERVER = z.object({
  address: parsed(parseIpv4),
  datapathId: z.string().regex(/^[0-9a-f]{16}$/, 'is not 16 hex digits'),
  certificates: z.array(z.string().regex(/^[0-9a-f]{64}$/, 'is no fingerprint')),
  site: SITE,
  outside: parsed(parseIpv4).optional(),
});
/** Servers as text, in files and between hosts; see shownServers. */
export const SERVERS = z.array(SERVER).min(1);
const SHAPE = z.object({
  address: parsed(parseIpv4),
  datapathId: SERVER.shape.datapathId,
  locators: parsed(parseCidr),
  clusterId: z.string().optional(),
  servers: SERVERS,
  site: SITE,
  place: z.object({ network: parsed(parseCidr), device: z.string(), isUplink: z.boolean() }).optional(),
  tunnel: z
    .object({
      endpoint: parsed((text) => parseAddressPort(text)).optional(),
      l2: z.enum(L2_SETTINGS).optional(),
      /** Of older versions. */
      noL2: z.boolean().optional(),
    })
    .optional(),
});

/** What SERVERS reads. */
export function shownServers(servers: readonly KnownServer[]): object[] {
  return servers.map(({ outside, ...server }) => ({
    ...server,
    address: formatIpv4(server.address),
    outside: outside === undefined ? undefined : formatIpv4(outside),
  }));
}

/** Undefined where this host is in no cluster. Throws `internal` where the folder is not as it was written. */
export function readCluster(folder: string): ClusterFacts | undefined {
  // It is replaced in two steps; what the end of the process came between is there under another name.
  const whole = [folder, freshOf(folder), oldOf(folder)].find(existsSync);
  if (whole === undefined) return undefined;
  if (whole !== folder) renameSync(whole, folder);
  const text = (name: string) => readFileSync(join(folder, name), 'utf8');
  try {
    const { tunnel, locators, ...shape } = SHAPE.parse(JSON.parse(text(FILE.facts)));
    const { address, datapathId, clusterId, servers, site, place } = shape;
    return {
      address,
      place,
      site,
      // Before there were sites, everybody reached everybody.
      tunnel: tunnel
        ? { endpoint: tunnel.endpoint, l2: tunnel.l2 ?? (tunnel.noL2 === true ? 'no' : 'auto') }
        : { endpoint: { address, port: TUNNEL_PORT }, l2: 'auto' },
      datapathId,
      locatorRange: locators,
      clusterId,
      servers,
      authority: {
        certificate: text(FILE.authority),
        key: existsSync(join(folder, FILE.authorityKey)) ? text(FILE.authorityKey) : undefined,
      },
      identity: { certificate: text(FILE.certificate), key: text(FILE.key) },
    };
  } catch (error) {
    const remedy = existsSync(join(folder, FILE.authorityKey))
      ? 'this host serves the directory: mend the file, or remove the host on another server and let it join anew'
      : 'remove it, and let this host join its cluster anew';
    const message = `${folder} cannot be read (${messageOf(error)}): ${remedy}`;
    throw new DaoliError('internal', message, folder, { cause: error });
  }
}

/** Replaces the folder: whoever reads it finds it as it was, or as it is to be. */
export function writeCluster(folder: string, facts: ClusterFacts): void {
  const fresh = freshOf(folder);
  // Not under its last name before it is whole.
  const draft = `${fresh}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const write = (name: string, text: string) => writeFileSync(join(draft, name), text, { mode: 0o600, flush: true });
  const { authority, identity } = facts;
  write(FILE.facts, factsText(facts));
  write(FILE.authority, authority.certificate);
  if (authority.key !== undefined) write(FILE.authorityKey, authority.key);
  write(FILE.certificate, identity.certificate);
  write(FILE.key, identity.key);
  rmSync(fresh, { recursive: true, force: true });
  renameSync(draft, fresh);
  const old = oldOf(folder);
  rmSync(old, { recursive: true, force: true });
  if (existsSync(folder)) renameSync(folder, old);
  renameSync(fresh, folder);
  rmSync(old, { recursive: true, force: true });
}

/** Replaces what is no secret: which servers there are, and where this host is. */
export function writeFacts(folder: string, facts: ClusterFacts): void {
  const path = join(folder, FILE.facts);
  writeFileSync(`${path}.new`, factsText(facts), { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

function factsText(facts: ClusterFacts): string {
  const { address, datapathId, locatorRange, clusterId, servers, site, tunnel, place } = facts;
  const { endpoint, l2 } = tunnel;
  const shownPlace = place && { ...place, network: formatCidr(place.network) };
  const shownTunnel = { endpoint: endpoint && formatAddressPort(endpoint), l2 };
  const shown = { datapathId, site, tunnel: shownTunnel, clusterId, servers: shownServers(servers) };
  const text = { address: formatIpv4(address), place: shownPlace, locators: formatCidr(locatorRange), ...shown };
  return `${JSON.stringify(text, null, 2)}\n`;
}

function freshOf(folder: string): string {
  return join(dirname(folder), '.cluster.new');
}

function oldOf(folder: string): string {
  return join(dirname(folder), '.cluster.old');
}

/** This host is in no cluster any more. */
export function removeCluster(folder: string): void {
  for (const each of [folder, freshOf(folder), oldOf(folder)]) rmSync(each, { recursive: true, force: true });
}
