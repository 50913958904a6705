// Who is in the cluster, as operations on the directory: a server lets a host in with a token, and puts one out with all
// that it has. Pure plans; see cluster.ts for whoever carries them out.

import type { AddressPort } from '../base/address-port';
import { formatIpv4, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { nextLocatorBlock } from '../directory/allocation';
import { removeAddress } from '../directory/endpoint-operations';
import { insertHost, siteColumn } from '../directory/operations';
import { DEFAULT_SITE, type HostRow, type JoinTokenRow } from '../directory/rows';
import type { Ops, PlanContext } from '../directory/store';
import { insert, isRow, remove, update, wait } from '../ovsdb/operations';
import { removeRequests, useApproval } from './approval';
import { checkAddress, checkHub, mayServe } from './sites';
import { hashSecret } from './token';

/** How long a token lets a host in. */
export const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000;
/** One server can be lost of three, two of five; of two, none: they are more than one only from the third host on. */
const SERVERS_BY_ITSELF = 3;
const MAX_SERVERS = 5;
/** What the clocks of two hosts may differ: certificates carry dates. */
const MAX_CLOCK_DIFFERENCE_MS = 5 * 60 * 1000;

/** The tables whose rows are one host's, by the column `host`. */
const OWNED = ['PublishedPort', 'Endpoint', 'Tunnel', 'Switch', 'FirewallRule', 'NetworkReplica'];

/** A host that wants to come in. */
export interface Newcomer {
  readonly name: string;
  readonly address: Ipv4;
  readonly routerMac: Mac;
  readonly datapathId: string;
  readonly site: string;
  readonly isHub: boolean;
  /** Undefined: as the server does that lets it in. */
  readonly encrypts: boolean | undefined;
  /** Where other sites reach it; undefined behind NAT. */
  readonly endpoint: AddressPort | undefined;
  readonly secret: string;
  /** What it asks for, in short; see approval.ts. */
  readonly digest: string;
  /** Its clock: milliseconds since 1970. */
  readonly now: number;
  /** It has proved by a certificate of this cluster that it is the host of its name: it may come again. Default false. */
  readonly isProven?: boolean;
}

/** A new token; all others are no good any more, nor does anybody wait with them. */
export function planToken(context: PlanContext, secret: string, needsApproval = false): Ops {
  const { view, nowMs } = context;
  return [
    ...removeRequests(context),
    ...[...view.joinTokens()].map((row) => remove('JoinToken', isRow(row.uuid))),
    insert('JoinToken', { hash: hashSecret(secret), expires: nowMs + TOKEN_LIFE_MS, needs_approval: needsApproval }),
  ];
}

/** The token that it comes with. Throws `conflict` or `invalid` where it cannot come in, saying why. */
export function checkNewcomer({ view, nowMs }: PlanContext, newcomer: Newcomer): JoinTokenRow {
  const token = findToken(view, newcomer.secret);
  if (token === undefined) {
    throw new DaoliError(
      'invalid',
      'the token is none of this cluster’s: it was used, or another was made since. Get one with `daolictl cluster token`',
    );
  }
  if (token.expires <= nowMs) {
    const hours = Math.ceil((nowMs - token.expires) / 3_600_000);
    throw new DaoliError('invalid', `the token expired ${hours} h ago. Get one with \`daolictl cluster token\``);
  }
  const behind = nowMs - newcomer.now;
  if (Math.abs(behind) > MAX_CLOCK_DIFFERENCE_MS) {
    const minutes = Math.round(Math.abs(behind) / 60_000);
    const how = behind > 0 ? 'behind' : 'before';
    throw new DaoliError(
      'invalid',
      `the clock of ${newcomer.name} is ${minutes} min ${how} the cluster’s: set it right`,
    );
  }
  const { name, isProven = false, datapathId } = newcomer;
  const known = view.host(name);
  if (known !== undefined && !(isProven && known.datapathId === datapathId)) {
    const remedy = `remove it with \`daolictl host rm ${name}\`, or give this host another name`;
    throw new DaoliError('conflict', `a host ${name} is in the cluster already: ${remedy}`, name);
  }
  // A client has no part in the database: what a server comes back without may be the only one that there is.
  if (known?.isServer === true) {
    const remedy = `demote it first with \`daolictl cluster demote ${name}\`, on another server`;
    throw new DaoliError(
      'conflict',
      `host ${name} serves the directory, and would come back as a client: ${remedy}`,
      name,
    );
  }
  checkAddress(view, newcomer);
  checkHub(name, newcomer.isHub, newcomer.endpoint);
  return token;
}

/** Lets it in, or in again, as a client: the token is used up by it. Throws as checkNewcomer, `conflict` without a yes, and `exhausted`. */
export function planJoin(context: PlanContext, newcomer: Newcomer, fingerprint: string, locatorRange: Cidr): Ops {
  const token = checkNewcomer(context, newcomer);
  const { view } = context;
  const known = view.host(newcomer.name);
  if (known !== undefined) {
    const { address } = newcomer;
    const row = { certificates: [fingerprint], address: formatIpv4(address) };
    return [...useToken(context, token, newcomer), update('Host', isRow(known.uuid), row)];
  }
  const block = nextLocatorBlock(view, locatorRange);
  if (block === undefined) throw new DaoliError('exhausted', 'every locator block of the cluster is taken');
  const { name, address, routerMac, datapathId, site, isHub } = newcomer;
  const encrypts = newcomer.encrypts ?? view.host(context.host)?.encrypts === true;
  const { isServer, others } = serversWith(view, newcomer);
  return [
    ...others.map((host) => update('Host', isRow(host.uuid), { is_server: true })),
    ...useToken(context, token, newcomer),
    ...insertHost({
      name,
      address,
      routerMac,
      datapathId,
      block,
      certificates: [fingerprint],
      isServer,
      site,
      isHub,
      encrypts,
    }),
  ];
}

/** Two hosts with one token: the second one finds it gone. */
function useToken(context: PlanContext, token: JoinTokenRow, newcomer: Newcomer): Ops {
  return [
    wait('JoinToken', [['hash', '==', token.hash]], [{ expires: token.expires }]),
    remove('JoinToken', isRow(token.uuid)),
    ...useApproval(context, token, newcomer),
  ];
}

/** Who becomes a server when this host joins. Only those count that servers of any site reach: one behind NAT never is one. */
function serversWith(view: PlanContext['view'], { endpoint }: Newcomer) {
  if (endpoint === undefined) return { isServer: false, others: [] };
  const able = [...view.hosts()].filter((host) => host.isServer || mayServe(view, host));
  const servers = able.filter((host) => host.isServer);
  const wanted = able.length + 1 < SERVERS_BY_ITSELF ? 1 : SERVERS_BY_ITSELF;
  const missing = Math.max(0, wanted - servers.length);
  // The newcomer first: who was made a client stays one. Others only where the third host makes three of one.
  const clients = able.length + 1 === SERVERS_BY_ITSELF ? able.filter((host) => !host.isServer) : [];
  return { isServer: missing > 0, others: clients.slice(0, Math.max(0, missing - 1)) };
}

export interface FirstHost {
  readonly address: Ipv4;
  readonly fingerprint: string;
  /** Default DEFAULT_SITE. */
  readonly site?: string;
  /** Default false. */
  readonly isHub?: boolean;
  /** Default false. */
  readonly encrypts?: boolean;
}

/** This very host becomes the first of a cluster. */
export function planFirst(context: PlanContext, first: FirstHost): Ops {
  const { address, fingerprint, site = DEFAULT_SITE, isHub = false, encrypts = false } = first;
  const own = context.view.host(context.host);
  if (own === undefined) throw new DaoliError('unavailable', `host ${context.host} is not in the directory yet`);
  const row = { address: formatIpv4(address), certificates: [fingerprint], is_server: true };
  const standing = { site: siteColumn(site), is_hub: isHub, encrypt: encrypts };
  return [update('Host', isRow(own.uuid), { ...row, ...standing })];
}

/**
 * Which certificates a host may come in with: its next one beside the one that it has, and that one alone once it has come
 * in with it.
 */
export function planCertificates({ view }: PlanContext, name: string, fingerprints: readonly string[]): Ops {
  const host = existingHost(view, name);
  const isSame =
    host.certificates.length === fingerprints.length && fingerprints.every((each) => host.certificates.includes(each));
  return isSame ? [] : [update('Host', isRow(host.uuid), { certificates: fingerprints })];
}

/** A client is to serve the directory, too; it does so as soon as it hears of it. Throws `not-found` and `conflict`. */
export function planPromotion({ view }: PlanContext, name: string): Ops {
  const host = existingHost(view, name);
  const servers = [...view.hosts()].filter((each) => each.isServer);
  if (host.isServer) return [];
  if (!mayServe(view, host)) {
    const isTold = view.tunnel(name) !== undefined;
    const why = isTold ? 'is behind NAT' : 'has not told yet how other sites reach it';
    throw new DaoliError('conflict', `host ${name} ${why}: the other servers could not reach it`, name);
  }
  if (servers.length >= MAX_SERVERS) {
    const names = servers.map((each) => each.name).sort();
    const message = `${names.join(', ')} serve the directory already: each more makes every write slower`;
    throw new DaoliError('conflict', message, name);
  }
  return [update('Host', isRow(host.uuid), { is_server: true })];
}

/** A server is a client from now on. Throws `not-found`, and `conflict` for this very host, and for one that is none. */
export function planDemotion({ view, host: self }: PlanContext, name: string): Ops {
  const host = existingHost(view, name);
  if (name === self) {
    const others = [...view.hosts()].filter((each) => each.isServer && each.name !== self).map((each) => each.name);
    const remedy = others.length === 0 ? 'promote another first' : `do it on ${others.sort().join(' or ')}`;
    throw new DaoliError('conflict', `host ${name} cannot be demoted by itself: ${remedy}`, name);
  }
  if (!host.isServer) throw new DaoliError('conflict', `host ${name} is no server`, name);
  return [update('Host', isRow(host.uuid), { is_server: false })];
}

/** Throws `not-found`, naming those that are there. */
export function existingHost(view: PlanContext['view'], name: string): HostRow {
  const host = view.host(name);
  if (host !== undefined) return host;
  const known = [...view.hosts()].map((row) => row.name).sort();
  throw new DaoliError('not-found', `there is no host ${name}; there are ${known.join(', ')}`, name);
}

/**
 * Puts a host out, with its endpoints, their addresses, and its share in networks. Those that no other host has go. Throws
 * `not-found`, and `conflict` for this very host.
 */
export function planRemoval({ view, host: self }: PlanContext, name: string): Ops {
  const host = existingHost(view, name);
  if (name === self) {
    throw new DaoliError('conflict', `host ${name} cannot be removed by itself: do it on another server`, name);
  }
  const ops: Ops[] = [];
  const context = { view, host: name } as PlanContext;
  // By whose they are: what it may have written that is no row for us is in the way of its end, too.
  const ofHost = [['host', '==', host.uuid]] as const;
  // Its ports refer to the host, and would go only after it.
  for (const table of OWNED) ops.push([remove(table, ofHost)]);
  for (const endpoint of view.endpointsOn(name)) {
    const address = view.addressHolder(endpoint.tenant, endpoint.address);
    const isOnlyTheirs = address?.holders.every((holder) => holder === name) === true;
    if (address !== undefined && isOnlyTheirs) ops.push(removeAddress(context, address));
  }
  for (const network of view.networks()) {
    const replicas = [...view.replicasOf(network.id)];
    const own = replicas.filter((replica) => replica.host === name);
    if (own.length === 0 || replicas.length > own.length) continue;
    if (network.swarmId !== undefined) continue; // it is there without any host, too
    for (const pool of view.poolsOfNetwork(network.id)) {
      ops.push([remove('Address', [['pool', '==', pool.uuid]]), remove('Pool', isRow(pool.uuid))]);
    }
    ops.push([remove('Network', isRow(network.uuid))]);
  }
  return [...ops.flat(), remove('Host', isRow(host.uuid))];
}

function findToken(view: PlanContext['view'], secret: string) {
  const hash = hashSecret(secret);
  return [...view.joinTokens()].find((row) => row.hash === hash);
}
