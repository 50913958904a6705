// This host's part in its cluster: it begins one, joins one, lets others in and puts them out. Every command is one call; what
// changes who this host is is written to disk last, and the agent starts anew with it.

import { formatCidr, formatIpv4, formatMac, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import { describeNetwork } from '../directory/descriptions';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { createAuthority, createRequest, fingerprintOf, issue } from '../pki/authority';
import { removeCluster, writeCluster, type ClusterFacts } from './files';
import { Front } from './front';
import { checkNewcomer, planFirst, planJoin, planRemoval, planToken } from './membership';
import { askToJoin, newcomersApp, type JoinRequest } from './newcomers';
import { formatToken, newSecret, parseToken } from './token';

export interface ClusterParts {
  /** Where the facts are kept. */
  readonly folder: string;
  readonly facts: ClusterFacts | undefined;
  readonly store: DirectoryStore;
  /** ovsdb-server's unix socket, on a server. */
  readonly socketPath: string;
  readonly locatorRange: Cidr;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The address by which this host reaches others, where nothing else is said. */
  readonly defaultAddress: () => Promise<Ipv4>;
  /** The agent ends and starts anew, after it has answered. */
  readonly restart: () => void;
}

/** A host as `daolictl host ls` shows it. */
export interface ShownHost {
  readonly name: string;
  readonly address: string | null;
  readonly isServer: boolean;
  readonly isThis: boolean;
  readonly locators: readonly string[];
  readonly endpoints: number;
}

export interface ClusterStatus {
  /** Null where this host is in no cluster. */
  readonly cluster: { readonly servers: readonly string[]; readonly isServer: boolean } | null;
  /** Whether the directory is there at present. */
  readonly connected: boolean;
  readonly hosts: readonly ShownHost[];
}

export class Cluster {
  private front: Front | undefined;

  constructor(private readonly parts: ClusterParts) {}

  /** On a server: opens the door for the others. Throws where it cannot be opened. */
  async start(): Promise<void> {
    const { facts, store, socketPath, locatorRange, logger } = this.parts;
    if (facts?.authority.key === undefined || this.front !== undefined) return;
    const { address, identity } = facts;
    const app = newcomersApp((request) => this.letIn(request));
    const authority = facts.authority.certificate;
    const front = new Front({ address, authority, identity, store, socketPath, locatorRange, app, logger });
    await front.start();
    this.front = front;
  }

  stop(): void {
    this.front?.stop();
  }

  status(): ClusterStatus {
    const { facts, store } = this.parts;
    const hosts = [...store.view.hosts()].map((row) => ({
      name: row.name,
      address: row.address === undefined ? null : formatIpv4(row.address),
      isServer: row.isServer,
      isThis: row.name === store.host,
      locators: row.locatorBlocks.map(formatCidr),
      endpoints: [...store.view.endpointsOn(row.name)].length,
    }));
    const cluster = facts && { servers: facts.servers.map(formatIpv4), isServer: facts.authority.key !== undefined };
    return {
      cluster: cluster ?? null,
      connected: store.connected,
      hosts: hosts.sort((a, b) => (a.name < b.name ? -1 : 1)),
    };
  }

  /** This host becomes the first of a cluster; what it has stays. Returns the token for the next one. */
  async init(wanted: Ipv4 | undefined): Promise<string> {
    const { folder, facts, store, locatorRange, now, defaultAddress, restart } = this.parts;
    if (facts !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const address = wanted ?? (await defaultAddress());
    const authority = await createAuthority(now());
    const { request, key } = await createRequest(store.host);
    const certificate = await issue(authority, request, store.host, now());
    const fingerprint = fingerprintOf(certificate);
    const secret = newSecret();
    await this.write((context) => [...planFirst(context, address, fingerprint), ...planToken(context, secret)]);
    writeCluster(folder, { address, locatorRange, servers: [address], authority, identity: { certificate, key } });
    restart();
    return formatToken({ server: formatIpv4(address), authority: fingerprintOf(authority.certificate), secret });
  }

  /** Another token; those before are no good any more. On a server alone. */
  async token(): Promise<string> {
    const facts = this.requireServer('give out tokens');
    const secret = newSecret();
    await this.write((context) => planToken(context, secret));
    const authority = fingerprintOf(facts.authority.certificate);
    return formatToken({ server: formatIpv4(facts.address), authority, secret });
  }

  /**
   * This host joins the cluster that the token is of. Throws `conflict` where it has networks of its own, naming them, and
   * all that the server says.
   */
  async join(text: string, wanted: Ipv4 | undefined): Promise<void> {
    const { folder, facts, store, now, restart } = this.parts;
    if (facts !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const token = parseToken(text);
    const own = store.view.host(store.host);
    if (own === undefined) throw new DaoliError('unavailable', `host ${store.host} is not in its directory yet`);
    this.refuseNetworks();
    const { request, key } = await createRequest(store.host);
    let address = wanted;
    const answer = await askToJoin(token, (local) => {
      address ??= local;
      const { name, routerMac, datapathId } = own;
      const sender = { name, address: formatIpv4(address), routerMac: formatMac(routerMac), datapathId };
      return Promise.resolve({ ...sender, secret: token.secret, now: now(), request });
    });
    const { locatorRange, servers, authority, certificate } = answer;
    if (address === undefined) throw new DaoliError('internal', 'this host does not know its address');
    const rest = { authority: { certificate: authority, key: undefined }, identity: { certificate, key } };
    writeCluster(folder, { address, locatorRange, servers, ...rest });
    restart();
  }

  /** Puts another host out. On a server alone. */
  async remove(name: string): Promise<void> {
    this.requireServer('remove hosts');
    await this.write((context) => planRemoval(context, name));
  }

  /** This host is alone again. On one that was removed, or that cannot reach its cluster any more. */
  leave(): void {
    const { folder, facts, restart } = this.parts;
    if (facts === undefined) throw new DaoliError('conflict', 'this host is in no cluster');
    if (facts.authority.key !== undefined) {
      throw new DaoliError('conflict', 'this host serves the directory to the others and cannot leave');
    }
    removeCluster(folder);
    restart();
  }

  private async letIn(newcomer: JoinRequest): Promise<object> {
    const { facts, locatorRange, now, logger } = this.parts;
    const { authority, servers } = facts!;
    // Nothing is signed for somebody who cannot come in.
    await this.write((context) => (checkNewcomer(context, newcomer), []));
    const key = authority.key ?? '';
    const certificate = await issue(
      { certificate: authority.certificate, key },
      newcomer.request,
      newcomer.name,
      now(),
    );
    await this.write((context) => planJoin(context, newcomer, fingerprintOf(certificate), locatorRange));
    logger.info('a host has joined', { host: newcomer.name, address: formatIpv4(newcomer.address) });
    const locators = formatCidr(locatorRange);
    return { certificate, authority: authority.certificate, locators, servers: servers.map(formatIpv4) };
  }

  private refuseNetworks(): void {
    const { view } = this.parts.store;
    const names = [...view.networks()].map(({ id }) => describeNetwork(view, id)).sort();
    if (names.length === 0) return;
    const shown =
      names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
    throw new DaoliError('conflict', `this host has networks of its own (${shown}): remove them before it joins`);
  }

  private requireServer(purpose: string): ClusterFacts {
    const { facts } = this.parts;
    if (facts === undefined)
      throw new DaoliError('conflict', 'this host is in no cluster: begin with `daolictl cluster init`');
    if (facts.authority.key !== undefined) return facts;
    const servers = facts.servers.map(formatIpv4).join(', ');
    throw new DaoliError('conflict', `only servers of the cluster ${purpose}: do it on ${servers}`);
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
