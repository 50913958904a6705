// This host's part in its cluster: it begins one, joins one, and puts others out. Every command is one call; what changes who
// this host is is written to disk last, and the agent starts anew with it. What a server does for others is in desk.ts, how a
// host becomes one in server-role.ts.

import { formatCidr, formatIpv4, formatMac, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { dnsAddressOf } from '../directory/allocation';
import { describeNetwork } from '../directory/descriptions';
import { DIRECTORY_REMOTE } from '../directory/directory';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { createAuthority, createRequest, fingerprintOf, issue, lifeLeft } from '../pki/authority';
import { Desk, factsOfServer } from './desk';
import type { DirectoryServer, MemberStatus } from './directory-server';
import { removeCluster, writeCluster, type ClusterFacts } from './files';
import { Front, FRONT_PORT } from './front';
import type { MemberLinks } from './member-links';
import * as membership from './membership';
import * as newcomers from './newcomers';
import { beAlone, ServerRole } from './server-role';
import { formatToken, newSecret, parseToken } from './token';
import { WordSender } from './word-sender';
import { WordTaker, type WordTakerParts } from './word-taker';
import type { RouteWord } from './words';

export interface ClusterParts {
  /** Where the facts are kept. */
  readonly folder: string;
  readonly facts: ClusterFacts | undefined;
  readonly store: DirectoryStore;
  /** This host's own ovsdb-server of the directory. */
  readonly server: DirectoryServer;
  /** Where the sockets are by which it and those of other servers reach one another. */
  readonly members: string;
  /** Where the directory is to be looked for from now on. */
  readonly setRemotes: (remotes: readonly string[]) => void;
  /** Where it was found. */
  readonly remote: () => string | undefined;
  readonly locatorRange: Cidr;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The address by which this host reaches others, where nothing else is said. */
  readonly defaultAddress: () => Promise<Ipv4>;
  /** The agent ends and starts anew, after it has answered. */
  readonly restart: () => void;
  /** Does what another host's controller says. */
  readonly takeWord: WordTakerParts['take'];
  /** Of one host, and as many at once. */
  readonly wordsPerSecond: number;
}

/** A host as `daolictl host ls` shows it. */
export interface ShownHost {
  readonly name: string;
  readonly address: string | null;
  readonly isServer: boolean;
  /** Null where that is not known: on a client, and on a server that is away from the others. */
  readonly member: 'leader' | 'follower' | 'joining' | null;
  readonly isThis: boolean;
  readonly locators: readonly string[];
  /** Null where this host does not know all endpoints of that one. */
  readonly endpoints: number | null;
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
/** For a server to come or go, as Raft has it. */
const MEMBERSHIP_MS = 25_000;
const MEMBERSHIP_LOOK_MS = 200;

export class Cluster {
  private readonly role: ServerRole | undefined;
  private readonly desk: Desk;
  private readonly taker: WordTaker;
  private sender: WordSender | undefined;
  private cancelLook = (): void => undefined;
  private readonly startedAt: number;

  constructor(private readonly parts: ClusterParts) {
    this.startedAt = parts.now();
    const { facts, store, takeWord: take } = parts;
    this.desk = new Desk({ ...parts, facts: () => this.facts });
    this.taker = new WordTaker({ ...parts, take, hostRow: (name) => store.view.host(name) });
    const createFront = (own: ClusterFacts, links: MemberLinks | undefined) => this.createFront(own, links);
    this.role = facts && new ServerRole({ ...parts, facts, createFront });
  }

  /** Before the directory is looked for: sees to this host's own database. Throws what is in the way; may be called again. */
  async prepare(): Promise<void> {
    if (this.role !== undefined) await this.role.prepare();
    else await beAlone(this.parts.server);
  }

  /** The directory is there: looks after this host's certificate and its part in the cluster. */
  start(): void {
    const { facts, role } = this;
    if (facts === undefined || role === undefined) return;
    const { identity, authority } = facts;
    this.sender ??= new WordSender({ ...this.parts, identity, authority: authority.certificate, port: FRONT_PORT });
    role.follow();
    void this.lookAfterCertificate();
  }

  stop(): void {
    this.cancelLook();
    this.role?.stop();
    this.sender?.stop();
  }

  /** Says a word to the controller of the host with this router MAC, as soon as it can be said, or not at all. */
  tell(routerMac: Mac, word: RouteWord): void {
    this.sender?.tell(routerMac, word);
  }

  /** Whether a certificate is that of a server. A host that was removed has one of the authority still. */
  isServerCertificate(certificate: Buffer): boolean {
    const fingerprint = fingerprintOf(certificate);
    return this.facts?.servers.some(({ certificates }) => certificates.includes(fingerprint)) === true;
  }

  private get facts(): ClusterFacts | undefined {
    return this.role?.facts;
  }

  /** With links to the databases of others, as a server; else for words alone. */
  private createFront({ address, identity, authority }: ClusterFacts, links: MemberLinks | undefined): Front {
    const { store, locatorRange, logger, clock } = this.parts;
    return new Front({
      address,
      authority: authority.certificate,
      identity,
      store,
      socketPath: links && DIRECTORY_REMOTE.replace('unix:', ''),
      locatorRange,
      logger,
      clock,
      app: newcomers.frontDeskApp(this.desk),
      acceptMember: (socket, fingerprint) => {
        const member = this.facts?.servers.find(({ certificates }) => certificates.includes(fingerprint ?? ''));
        if (member === undefined || links === undefined) socket.destroy();
        else links.accept(socket, member.datapathId);
      },
      acceptWords: (socket, { name }) => this.taker.accept(socket, name),
    });
  }

  private async lookAfterCertificate(): Promise<void> {
    const { clock, logger, now } = this.parts;
    this.cancelLook();
    this.cancelLook = clock.after(LOOK_MS, () => void this.lookAfterCertificate());
    const { facts } = this;
    if (facts === undefined) return;
    try {
      if (lifeLeft(facts.identity.certificate, now()) < RENEWED_BELOW) await this.rotate();
      else await this.settleOwn(facts);
    } catch (error) {
      logger.error('the certificate of this host could not be looked after yet', { error: messageOf(error) });
    }
  }

  /** This host has its next certificate: the one before is to open no door any more. */
  private async settleOwn(facts: ClusterFacts): Promise<void> {
    const { store } = this.parts;
    const own = fingerprintOf(facts.identity.certificate);
    if (store.view.host(store.host)?.certificates.join() === own) return;
    if (facts.authority.key === undefined) await newcomers.askToSettle(facts);
    else await this.write((context) => membership.planCertificates(context, store.host, [own]));
  }

  /** This host's next certificate, before the one that it has is over. */
  async rotate(): Promise<void> {
    const { store, restart } = this.parts;
    const { role, facts } = this;
    if (role === undefined || facts === undefined) throw notInACluster();
    const { request, key } = await createRequest(store.host);
    const own = fingerprintOf(facts.identity.certificate);
    const certificate =
      facts.authority.key === undefined
        ? await newcomers.askToRenew(facts, request)
        : (await this.desk.renew(own, request)).certificate;
    // What has changed meanwhile stays changed.
    role.write({ ...role.facts, identity: { certificate, key } });
    restart();
  }

  async status(): Promise<ClusterStatus> {
    const { store, server } = this.parts;
    const { facts } = this;
    const raft = facts?.authority.key === undefined ? undefined : await server.status().catch(() => undefined);
    const hosts = [...store.view.hosts()].map((row) => ({
      name: row.name,
      address: row.address === undefined ? null : formatIpv4(row.address),
      isServer: row.isServer,
      member: memberOf(row, raft),
      isThis: row.name === store.host,
      locators: row.locatorBlocks.map(formatCidr),
      endpoints: store.view.isWhole || row.name === store.host ? [...store.view.endpointsOn(row.name)].length : null,
    }));
    const cluster = facts && {
      servers: facts.servers.map(({ address }) => formatIpv4(address)),
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
    const { folder, store, locatorRange, now, defaultAddress, restart } = this.parts;
    const own = this.ownRow();
    if (this.facts !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const address = wanted ?? (await defaultAddress());
    const authority = await createAuthority(now());
    const { request, key } = await createRequest(store.host);
    const certificate = await issue(authority, request, store.host, now());
    const fingerprint = fingerprintOf(certificate);
    const secret = newSecret();
    await this.write((context) => [
      ...membership.planFirst(context, address, fingerprint),
      ...membership.planToken(context, secret),
    ]);
    const { datapathId } = own;
    const servers = [{ address, datapathId, certificates: [fingerprint] }];
    const identity = { certificate, key };
    writeCluster(folder, { address, datapathId, locatorRange, clusterId: undefined, servers, authority, identity });
    restart();
    return formatToken({ server: formatIpv4(address), certificate: fingerprint, secret });
  }

  /** Another token; those before are no good any more. On a server alone. */
  async token(): Promise<string> {
    const facts = factsOfServer(this.facts, 'give out tokens');
    const secret = newSecret();
    await this.write((context) => membership.planToken(context, secret));
    const certificate = fingerprintOf(facts.identity.certificate);
    return formatToken({ server: formatIpv4(facts.address), certificate, secret });
  }

  /**
   * This host joins the cluster that the token is of. Throws `conflict` where it has networks of its own, naming them, and
   * all that the server says.
   */
  async join(text: string, wanted: Ipv4 | undefined): Promise<void> {
    const { folder, store, now, restart } = this.parts;
    if (this.facts !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const token = parseToken(text);
    const { name, routerMac, datapathId } = this.ownRow();
    this.refuseNetworks();
    const { request, key } = await createRequest(store.host);
    let address = wanted;
    const answer = await newcomers.askToJoin(token, (local) => {
      address ??= local;
      const sender = { name, address: formatIpv4(address), routerMac: formatMac(routerMac), datapathId };
      return { ...sender, secret: token.secret, now: now(), request };
    });
    const { locatorRange, servers, authority, certificate, secrets } = answer;
    if (address === undefined) throw new DaoliError('internal', 'this host does not know its address');
    writeCluster(folder, {
      address,
      datapathId,
      locatorRange,
      clusterId: secrets?.clusterId,
      servers,
      authority: { certificate: authority, key: secrets?.authorityKey },
      identity: { certificate, key },
    });
    restart();
  }

  /** Puts another host out. On a server alone. */
  async remove(name: string): Promise<void> {
    factsOfServer(this.facts, 'remove hosts');
    const { view, host: self } = this.parts.store;
    if (membership.existingHost(view, name).isServer && name !== self) await this.demote(name);
    await this.write((context) => membership.planRemoval(context, name));
  }

  /** Another host serves the directory, too. On a server alone. Resolves when it does. */
  async promote(name: string): Promise<void> {
    factsOfServer(this.facts, 'promote hosts');
    await this.write((context) => membership.planPromotion(context, name));
    const { datapathId } = membership.existingHost(this.parts.store.view, name);
    const problem = `host ${name} has not taken it on yet: is it up? It does so as soon as it hears of it`;
    await this.untilMembers((members) => members.includes(datapathId), problem);
  }

  /** Another server is a client from now on. On a server alone. Resolves when it is. */
  async demote(name: string): Promise<void> {
    factsOfServer(this.facts, 'demote hosts');
    const { store, server } = this.parts;
    // First those who decide without it; else it might take its vote along.
    await this.write((context) => (membership.planDemotion(context, name), []));
    const { datapathId } = membership.existingHost(store.view, name);
    await server.kick(datapathId);
    const problem = `the servers did not agree to go on without ${name}: most of them, and it, have to be up`;
    await this.untilMembers((members) => !members.includes(datapathId), problem);
    await this.write((context) => membership.planDemotion(context, name));
    // The doors are closed to it now: what came back in between goes for good.
    await server.kick(datapathId);
  }

  private async untilMembers(isDone: (members: readonly string[]) => boolean, problem: string): Promise<void> {
    const { server, clock } = this.parts;
    for (const end = clock.now() + MEMBERSHIP_MS; ;) {
      const raft = await server.status().catch(() => undefined);
      if (raft !== undefined && isDone(raft.members)) return;
      if (clock.now() > end) throw new DaoliError('unavailable', problem);
      await new Promise<void>((resolve) => clock.after(MEMBERSHIP_LOOK_MS, resolve));
    }
  }

  /** This host is alone again. On one that was removed, or that cannot reach its cluster any more. */
  leave(): void {
    const { folder, store, restart } = this.parts;
    const { facts } = this;
    if (facts === undefined) throw notInACluster();
    const own = store.view.host(store.host);
    if (facts.authority.key !== undefined && facts.servers.length === 1) {
      throw new DaoliError('conflict', 'this host alone serves the directory: without it, all that is in it were lost');
    }
    if (store.connected && own?.isServer === true) {
      const remedy = 'remove it on another server first, with `daolictl host rm`';
      throw new DaoliError('conflict', `this host serves the directory to the others: ${remedy}`);
    }
    removeCluster(folder);
    restart();
  }

  private ownRow(): HostRow {
    const { store } = this.parts;
    const own = store.view.host(store.host);
    if (own !== undefined) return own;
    throw new DaoliError('unavailable', `host ${store.host} is not in its directory yet`);
  }

  private refuseNetworks(): void {
    const { view } = this.parts.store;
    const names = [...view.networks()].map(({ id }) => describeNetwork(view, id)).sort();
    if (names.length === 0) return;
    const shown =
      names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
    throw new DaoliError('conflict', `this host has networks of its own (${shown}): remove them before it joins`);
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}

function notInACluster(): DaoliError {
  return new DaoliError('conflict', 'this host is in no cluster');
}

function memberOf({ isServer, datapathId }: HostRow, raft: MemberStatus | undefined): ShownHost['member'] {
  if (!isServer || raft === undefined) return null;
  if (!raft.members.includes(datapathId)) return 'joining';
  return raft.leader === datapathId ? 'leader' : 'follower';
}
