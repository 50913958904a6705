// This host's part in its cluster: it begins one, joins one, lets others in and puts them out. Every command is one call; what
// changes who this host is is written to disk last, and the agent starts anew with it.

import { formatCidr, formatIpv4, formatMac, type Cidr, type Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { dnsAddressOf } from '../directory/allocation';
import { describeNetwork } from '../directory/descriptions';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { createAuthority, createRequest, fingerprintOf, issue, lifeLeft } from '../pki/authority';
import { removeCluster, writeCluster, type ClusterFacts } from './files';
import { Front, FRONT_PORT } from './front';
import { checkNewcomer, planCertificates, planFirst, planJoin, planRemoval, planToken } from './membership';
import { askToJoin, askToRenew, frontDeskApp, type FrontDesk, type JoinRequest } from './newcomers';
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
  readonly clock: Clock;
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
  /** When this agent began, milliseconds since 1970: one that has started anew is another. */
  readonly startedAt: number;
  /** Null where this host is in no cluster. */
  readonly cluster: {
    readonly servers: readonly string[];
    readonly isServer: boolean;
    /** Where containers ask for names of those on other hosts. */
    readonly dns: string;
  } | null;
  /** Whether the directory is there at present. */
  readonly connected: boolean;
  readonly hosts: readonly ShownHost[];
}

/** A certificate is renewed when less than this is left of its time. */
const RENEWED_BELOW = 1 / 3;
const LOOK_MS = 60 * 60 * 1000;
const OPENING_RETRY_MS = 5_000;

export class Cluster implements FrontDesk {
  private front: Front | undefined;
  private isStopped = false;
  private cancelLook = (): void => undefined;
  private cancelOpening = (): void => undefined;
  /** Fingerprints of certificates that were given to hosts and not seen yet, by host. */
  private readonly issued = new Map<string, string>();

  private readonly startedAt: number;

  constructor(private readonly parts: ClusterParts) {
    this.startedAt = parts.now();
  }

  /** Looks after this host's certificate; on a server, opens the door for the others. */
  async start(): Promise<void> {
    const { facts } = this.parts;
    if (facts === undefined) return;
    await this.openDoor(facts);
    this.lookAfterCertificate(facts);
  }

  stop(): void {
    this.isStopped = true;
    this.cancelLook();
    this.cancelOpening();
    this.front?.stop();
  }

  /** Again and again until it is open: the address may come late, or another program have the port. */
  private async openDoor(facts: ClusterFacts): Promise<void> {
    const { clock, logger } = this.parts;
    if (facts.authority.key === undefined || this.front !== undefined || this.isStopped) return;
    try {
      await this.openFront(facts);
    } catch (error) {
      const where = `${formatIpv4(facts.address)}:${FRONT_PORT}`;
      logger.error('other hosts cannot come in yet', { address: where, error: messageOf(error) });
      this.cancelOpening = clock.after(OPENING_RETRY_MS, () => void this.openDoor(facts));
    }
  }

  private async openFront({ address, identity, authority }: ClusterFacts): Promise<void> {
    const { store, socketPath, locatorRange, logger, clock } = this.parts;
    const front = new Front({
      address,
      authority: authority.certificate,
      identity,
      store,
      socketPath,
      locatorRange,
      logger,
      clock,
      app: frontDeskApp(this),
      onCertificateUsed: ({ name }, fingerprint) => this.forgetOlder(name, fingerprint),
    });
    try {
      await front.start();
    } catch (error) {
      front.stop();
      throw error;
    }
    this.front = front;
    // The one before, if this host has just got another.
    await this.write((context) => planCertificates(context, store.host, [fingerprintOf(identity.certificate)]));
  }

  private lookAfterCertificate(facts: ClusterFacts): void {
    const { clock, logger, now } = this.parts;
    this.cancelLook();
    this.cancelLook = clock.after(LOOK_MS, () => this.lookAfterCertificate(facts));
    if (lifeLeft(facts.identity.certificate, now()) >= RENEWED_BELOW) return;
    this.rotate().catch((error: unknown) => {
      logger.error('the certificate of this host could not be renewed yet', { error: messageOf(error) });
    });
  }

  /** This host's next certificate, before the one that it has is over. */
  async rotate(): Promise<void> {
    const { facts, folder, store, restart } = this.parts;
    if (facts === undefined) throw new DaoliError('conflict', 'this host is in no cluster');
    const { request, key } = await createRequest(store.host);
    const [server] = facts.servers;
    const own = fingerprintOf(facts.identity.certificate);
    const certificate =
      facts.authority.key === undefined
        ? await askToRenew(
            { server: formatIpv4(server!), authority: fingerprintOf(facts.authority.certificate) },
            facts.identity,
            request,
          )
        : (await this.renew(own, request)).certificate;
    writeCluster(folder, { ...facts, identity: { certificate, key } });
    restart();
  }

  /** A server gives a host its next certificate. */
  async renew(fingerprint: string, request: string): Promise<{ certificate: string }> {
    const { store, now, logger } = this.parts;
    const { authority } = this.requireServer('renew certificates');
    const host = [...store.view.hosts()].find(({ certificates }) => certificates.includes(fingerprint));
    if (host === undefined)
      throw new DaoliError('not-found', 'the certificate is no host’s of this cluster (any more)');
    const certificate = await issue({ ...authority, key: authority.key ?? '' }, request, host.name, now());
    const next = fingerprintOf(certificate);
    await this.write((context) => planCertificates(context, host.name, [fingerprint, next]));
    this.issued.set(host.name, next);
    logger.info('a host has a new certificate', { host: host.name });
    return { certificate };
  }

  /** The host has come in with its new one: the one before opens no door any more. */
  private forgetOlder(name: string, fingerprint: string): void {
    if (this.issued.get(name) !== fingerprint) return;
    this.issued.delete(name);
    this.write((context) => planCertificates(context, name, [fingerprint])).catch((error: unknown) => {
      this.parts.logger.warn('an old certificate could not be forgotten', { host: name, error: messageOf(error) });
    });
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
    const cluster = facts && {
      servers: facts.servers.map(formatIpv4),
      isServer: facts.authority.key !== undefined,
      dns: formatIpv4(dnsAddressOf(facts.locatorRange)),
    };
    return {
      startedAt: this.startedAt,
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
      return { ...sender, secret: token.secret, now: now(), request };
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

  async letIn(newcomer: JoinRequest): Promise<object> {
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
