// Who is in the cluster, as operations on the directory: a server lets a host in with a token, and puts one out with all
// that it has. Pure plans; see cluster.ts for whoever carries them out.

import { formatIpv4, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { nextLocatorBlock } from '../directory/allocation';
import { removeAddress } from '../directory/endpoint-operations';
import { insertHost } from '../directory/operations';
import type { HostRow } from '../directory/rows';
import type { Ops, PlanContext } from '../directory/store';
import { insert, isRow, remove, update, wait } from '../ovsdb/operations';
import { hashSecret } from './token';

/** How long a token lets a host in. */
export const TOKEN_LIFE_MS = 24 * 60 * 60 * 1000;
/** One server can be lost of three, two of five; of two, none: they are more than one only from the third host on. */
const SERVERS_BY_ITSELF = 3;
const MAX_SERVERS = 5;
/** What the clocks of two hosts may differ: certificates carry dates. */
const MAX_CLOCK_DIFFERENCE_MS = 5 * 60 * 1000;

/** A host that wants to come in. */
export interface Newcomer {
  readonly name: string;
  readonly address: Ipv4;
  readonly routerMac: Mac;
  readonly datapathId: string;
  readonly secret: string;
  /** Its clock: milliseconds since 1970. */
  readonly now: number;
}

/** A new token; all others are no good any more. */
export function planToken({ view, nowMs }: PlanContext, secret: string): Ops {
  return [
    ...[...view.joinTokens()].map((row) => remove('JoinToken', isRow(row.uuid))),
    insert('JoinToken', { hash: hashSecret(secret), expires: nowMs + TOKEN_LIFE_MS }),
  ];
}

/** Throws `unauthorized`, `conflict` or `invalid` where the host cannot come in, saying why. Before anything is signed. */
export function checkNewcomer({ view, nowMs }: PlanContext, newcomer: Newcomer): void {
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
  for (const host of view.hosts()) {
    const text = formatIpv4(newcomer.address);
    if (host.name === newcomer.name) {
      const remedy = `remove it with \`daolictl host rm ${host.name}\`, or give this host another name`;
      throw new DaoliError('conflict', `a host ${host.name} is in the cluster already: ${remedy}`, host.name);
    }
    if (host.address === newcomer.address) {
      throw new DaoliError('conflict', `${text} is the address of host ${host.name}: join with --address`, text);
    }
  }
}

/** Lets it in: the token is used up by it. Throws as checkNewcomer, and `exhausted`. */
export function planJoin(context: PlanContext, newcomer: Newcomer, fingerprint: string, locatorRange: Cidr): Ops {
  checkNewcomer(context, newcomer);
  const { view } = context;
  const token = findToken(view, newcomer.secret);
  const block = nextLocatorBlock(view, locatorRange);
  if (block === undefined) throw new DaoliError('exhausted', 'every locator block of the cluster is taken');
  const { name, address, routerMac, datapathId } = newcomer;
  const missing = missingServers(view);
  // The newcomer first: who was made a client stays one. Others only where the third host makes three of one.
  const isThird = [...view.hosts()].length + 1 === SERVERS_BY_ITSELF;
  const clients = isThird ? [...view.hosts()].filter((host) => !host.isServer) : [];
  return [
    ...clients.slice(0, Math.max(0, missing - 1)).map((host) => update('Host', isRow(host.uuid), { is_server: true })),
    // Two hosts with one token: the second one finds it gone.
    wait('JoinToken', [['hash', '==', hashSecret(newcomer.secret)]], [{ expires: token?.expires }]),
    ...(token === undefined ? [] : [remove('JoinToken', isRow(token.uuid))]),
    ...insertHost({ name, address, routerMac, datapathId, block, certificates: [fingerprint], isServer: missing > 0 }),
  ];
}

/** How many hosts become servers with the next one that joins. */
function missingServers(view: PlanContext['view']): number {
  const hosts = [...view.hosts()];
  const wanted = hosts.length + 1 < SERVERS_BY_ITSELF ? 1 : SERVERS_BY_ITSELF;
  return Math.max(0, wanted - hosts.filter((host) => host.isServer).length);
}

/** This very host becomes the first of a cluster. */
export function planFirst(context: PlanContext, address: Ipv4, fingerprint: string): Ops {
  const own = context.view.host(context.host);
  if (own === undefined) throw new DaoliError('unavailable', `host ${context.host} is not in the directory yet`);
  const row = { address: formatIpv4(address), certificates: [fingerprint], is_server: true };
  return [update('Host', isRow(own.uuid), row)];
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
  for (const endpoint of view.endpointsOn(name)) {
    const address = view.addressHolder(endpoint.tenant, endpoint.address);
    const isOnlyTheirs = address?.holders.every((holder) => holder === name) === true;
    // Its ports refer to the host, and would go only after it.
    ops.push(endpoint.publishedPorts.map(({ uuid }) => remove('PublishedPort', isRow(uuid))));
    ops.push([remove('Endpoint', isRow(endpoint.uuid))]);
    if (address !== undefined && isOnlyTheirs) ops.push(removeAddress(context, address));
  }
  for (const network of view.networks()) {
    const replicas = [...view.replicasOf(network.id)];
    const own = replicas.filter((replica) => replica.host === name);
    ops.push(own.map((replica) => remove('NetworkReplica', isRow(replica.uuid))));
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
