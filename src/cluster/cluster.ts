// This host's part in its cluster, put together: its door, its links to the others, its certificate, and what people say of the
// cluster on it. Every command is one call; what changes who this host is is written to disk last, and the agent starts anew
// with it. How it comes in and goes is in own-membership.ts, what is shown in cluster-status.ts, what a server does for others
// in desk.ts, and how a host becomes one in server-role.ts.

import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { Cidr, Ipv4, Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { hostLocator } from '../directory/allocation';
import { DIRECTORY_REMOTE } from '../directory/directory';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type { HostAddress } from '../host/host';
import { CERTIFICATE_DAYS, createRequest, fingerprintOf, lifeLeft } from '../pki/authority';
import { planVerdict } from './approval';
import { showStatus, type ClusterStatus } from './cluster-status';
import { Desk, factsOfServer } from './desk';
import type { DirectoryServer } from './directory-server';
import { writeCluster, type ClusterFacts, type Place } from './files';
import { Front, FRONT_PORT } from './front';
import { planSettings, type HostSettings } from './host-settings';
import type { MemberLinks } from './member-links';
import * as membership from './membership';
import * as newcomers from './newcomers';
import { AddressFollower, isElsewhere, lonelyServer, toldTunnel } from './own-address';
import { notInACluster, OwnMembership, refuseNetworks, type OwnSettings } from './own-membership';
import { PulseLinks, type PulseLinksParts } from './pulse-links';
import { Recovery } from './recovery';
import { RemoteAgents } from './remote-agents';
import { beAlone, ServerRole } from './server-role';
import type { Entry, TunnelFacts } from './sites';
import { newSecret, tokenOf } from './token';
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
  /** The addresses of this host. */
  readonly addresses: () => Promise<readonly HostAddress[]>;
  /** The directory, and whoever else goes by it, is to know that this host has another address, perhaps not of its site. */
  readonly onAddress: (address: Ipv4, isElsewhere: boolean) => void;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** The agent ends and starts anew, after it has answered. */
  readonly restart: () => void;
  /** Does what another host's controller says. */
  readonly takeWord: WordTakerParts['take'];
  /** Of one host, and as many at once. */
  readonly wordsPerSecond: number;
  /** What other hosts are told of this one, and tell it. */
  readonly pulse: Pick<PulseLinksParts, 'isServing' | 'onPulse'>;
  /** Makes this host another key for its tunnel, and goes over to it; undefined where it has no tunnels (yet). */
  readonly rotateTunnelKey: () => Promise<void>;
  /** This host's management API, as servers of the cluster may use it. */
  readonly api: RequestListener;
  /** The Open vSwitch of another host has come, for this host to stand by. */
  readonly acceptOpenFlow: (socket: Socket, host: string) => void;
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
  /** The management APIs of the other hosts, for servers. */
  readonly agents: RemoteAgents;
  private readonly taker: WordTaker;
  private sender: WordSender | undefined;
  private pulse: PulseLinks | undefined;
  /** Whom this host asks whether they are there. */
  private peers: ReadonlySet<string> = new Set();
  private cancelLook = (): void => undefined;
  private readonly startedAt: number;
  private readonly address: AddressFollower;
  private readonly ownMembership: OwnMembership;
  /** This server's address before, where others may look for it there still. */
  private formerAddress: Ipv4 | undefined;
  /** Backups, and what is done when a cluster has lost what it cannot go on without. */
  readonly recovery: Recovery;

  constructor(private readonly parts: ClusterParts) {
    this.startedAt = parts.now();
    const { facts, store, takeWord: take } = parts;
    this.desk = new Desk({ ...parts, facts: () => this.facts });
    const { locatorRange } = parts;
    this.agents = new RemoteAgents({ store, locatorRange, facts: () => this.facts });
    this.taker = new WordTaker({ ...parts, take, hostRow: (name) => store.view.host(name) });
    const createFront = (own: ClusterFacts, links: MemberLinks | undefined) => this.createFront(own, links);
    this.role = facts && new ServerRole({ ...parts, facts, createFront });
    const note = (standing: Pick<ClusterFacts, 'address' | 'place'>) => this.noteAddress(standing);
    this.address = new AddressFollower({ ...parts, facts: () => this.facts, note });
    const writeFacts = (next: ClusterFacts): void =>
      this.role === undefined ? writeCluster(parts.folder, next) : this.role.write(next);
    this.ownMembership = new OwnMembership({ ...parts, facts: () => this.facts, writeFacts });
    this.recovery = new Recovery({
      ...parts,
      facts: () => this.facts,
      writeFacts,
      socketPath: DIRECTORY_REMOTE.replace('unix:', ''),
      refuseNetworks: () => refuseNetworks(store.view, 'it takes up a backup'),
    });
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
    const tls = { identity, authority: authority.certificate, port: FRONT_PORT };
    this.sender ??= new WordSender({ ...this.parts, ...tls });
    this.pulse ??= new PulseLinks({ ...this.parts, ...this.parts.pulse, ...tls });
    this.pulse.setPeers(this.peers);
    this.pulse.start();
    role.follow();
    void this.lookAfterCertificate();
  }

  stop(): void {
    this.cancelLook();
    this.address.stop();
    this.pulse?.stop();
    this.role?.stop();
    this.sender?.stop();
  }

  /** Whether this host is in a cluster. */
  get isJoined(): boolean {
    return this.facts !== undefined;
  }

  /** These hosts are asked whether they are there. */
  setPeers(hosts: ReadonlySet<string>): void {
    this.peers = hosts;
    this.pulse?.setPeers(hosts);
  }

  /** Says a word to the controller of the host with this router MAC, as soon as it can be said, or not at all. */
  tell(routerMac: Mac, word: RouteWord): void {
    this.sender?.tell(routerMac, word);
  }

  /** Interfaces of this host have changed. Resolves when its address has been looked at. */
  lookAtAddress(): Promise<void> {
    return this.address.look();
  }

  /** What is wrong with this host's address, for the doctor; undefined: nothing. */
  get addressProblem(): string | undefined {
    const { formerAddress: before, facts } = this;
    if (this.address.problem !== '') return this.address.problem;
    return before !== undefined && facts?.servers.length === 1 ? lonelyServer(before) : undefined;
  }

  private noteAddress(standing: { readonly address: Ipv4; readonly place?: Place | undefined }): void {
    const { facts, role } = this;
    if (facts === undefined || role === undefined) return;
    role.noteAddress(standing);
    if (standing.address === facts.address) return;
    this.formerAddress = role.isServer ? facts.address : undefined;
    this.sender?.reset();
    this.parts.onAddress(standing.address, isElsewhere(standing));
  }

  /** Words that did not leave. */
  get wordsDropped(): number {
    return this.sender?.dropped ?? 0;
  }

  /** Days that are left of this host's certificate; undefined where it is in no cluster. */
  get certificateDays(): number | undefined {
    return this.facts && lifeLeft(this.facts.identity.certificate, this.parts.now()) * CERTIFICATE_DAYS;
  }

  /** Whether a certificate is that of a server. A host that was removed has one of the authority still. */
  isServerCertificate(certificate: Buffer): boolean {
    const fingerprint = fingerprintOf(certificate);
    return this.facts?.servers.some(({ certificates }) => certificates.includes(fingerprint)) === true;
  }

  private get facts(): ClusterFacts | undefined {
    return this.role?.facts;
  }

  /** What this host shows to others, and whom it believes; undefined where it is in no cluster. */
  get keys(): { readonly certificate: string; readonly key: string; readonly authority: string } | undefined {
    return this.facts && { ...this.facts.identity, authority: this.facts.authority.certificate };
  }

  /** With links to the databases of others, as a server; else for words and this host's management API. */
  private createFront(own: ClusterFacts, links: MemberLinks | undefined): Front {
    const { identity, authority } = own;
    const { store, locatorRange, logger, clock } = this.parts;
    return new Front({
      address: () => (this.facts ?? own).address,
      alsoAt: () => this.moreDoors(),
      authority: authority.certificate,
      identity,
      store,
      socketPath: links && DIRECTORY_REMOTE.replace('unix:', ''),
      locatorRange,
      logger,
      clock,
      app: newcomers.frontDeskApp(this.desk),
      api: this.parts.api,
      acceptMember: (socket, fingerprint) => {
        const member = this.facts?.servers.find(({ certificates }) => certificates.includes(fingerprint ?? ''));
        if (member === undefined || links === undefined) socket.destroy();
        else links.accept(socket, member.datapathId);
      },
      acceptWords: (socket, { name }) => this.taker.accept(socket, name),
      acceptPulse: (socket, { name }) => {
        if (this.pulse === undefined) socket.destroy();
        else this.pulse.accept(socket, name);
      },
      acceptOpenFlow: (socket, { name }) => this.parts.acceptOpenFlow(socket, name),
    });
  }

  /** Where hosts of other sites come: its locator, through tunnels, and where they find a server, if this host has that. */
  private moreDoors(): Ipv4[] {
    const { store, locatorRange } = this.parts;
    const row = store.view.host(store.host);
    const { tunnel } = this;
    return [row && hostLocator(row, locatorRange), tunnel?.endpoint?.address].filter((each) => each !== undefined);
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
    const { store, server, now } = this.parts;
    const { facts, startedAt } = this;
    const raft = facts?.authority.key === undefined ? undefined : await server.status().catch(() => undefined);
    return showStatus(store, facts, raft, { startedAt, nowMs: now() });
  }

  /** What this host is to tell of its tunnel; undefined where it is in no cluster. */
  get tunnel(): TunnelFacts | undefined {
    const { facts } = this;
    return facts && toldTunnel(facts);
  }

  /** See OwnMembership. */
  init(entry: Entry, needsApproval: boolean): Promise<string> {
    return this.ownMembership.init(entry, needsApproval);
  }

  /** See OwnMembership. */
  join(token: string, entry: Entry): Promise<boolean> {
    return this.ownMembership.join(token, entry);
  }

  /** See OwnMembership. */
  setTunnel(settings: OwnSettings): void {
    this.ownMembership.setTunnel(settings);
  }

  /** See OwnMembership. */
  leave(): void {
    this.ownMembership.leave();
  }

  /** Another token; those before are no good any more. Who comes with it may have to wait for a yes. On a server alone. */
  async token(needsApproval: boolean): Promise<string> {
    const facts = factsOfServer(this.facts, 'give out tokens');
    const secret = newSecret();
    await this.write((context) => membership.planToken(context, secret, needsApproval));
    return tokenOf(facts, secret);
  }

  /** Says yes or no to a host that waits to be let in. On a server alone. */
  async decide(name: string, verdict: 'approved' | 'refused'): Promise<void> {
    factsOfServer(this.facts, 'let hosts in');
    await this.write((context) => planVerdict(context, name, verdict));
  }

  /** Puts another host out. On a server alone. */
  async remove(name: string): Promise<void> {
    factsOfServer(this.facts, 'remove hosts');
    const { view, host: self } = this.parts.store;
    if (membership.existingHost(view, name).isServer && name !== self) await this.demote(name);
    await this.write((context) => membership.planRemoval(context, name));
  }

  /** What people decide of a host: its site, and whether it is a hub, or encrypts. On a server alone. */
  async set(name: string, settings: HostSettings): Promise<void> {
    factsOfServer(this.facts, 'say where hosts are');
    await this.write((context) => planSettings(context, name, settings));
  }

  /** Another key for this host's tunnel. What goes through it goes on. */
  async rotateKeys(): Promise<void> {
    if (this.facts === undefined) throw notInACluster();
    await this.parts.rotateTunnelKey();
  }

  /** Throws `conflict` on a client of a cluster, naming its servers; `purpose`: what they do. */
  refuseClients(purpose: string): void {
    if (this.facts !== undefined) factsOfServer(this.facts, purpose);
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

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
