// A host as a server of its cluster: its door is open for all that the others ask, not for words alone, its database is a
// member of the servers' Raft, and it has the authority's key. Which hosts are servers stands in their Host rows; a host becomes
// one, or a client again, when it reads that its own row and what it has differ: it changes what is on disk, and its agent
// starts anew with that.

import { formatIpv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import type { Logger } from '../base/logger';
import { DIRECTORY_REMOTE } from '../directory/directory';
import type { DirectoryStore } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import { ALONE, type DirectoryServer } from './directory-server';
import { writeCluster, writeFacts, type ClusterFacts, type KnownServer } from './files';
import { FRONT_PORT, type Front } from './front';
import { MemberLinks } from './member-links';
import { askForSecrets } from './newcomers';
import { outsideOf, seenFrom } from './sites';

export interface ServerRoleParts {
  /** Where the facts are kept. */
  readonly folder: string;
  readonly facts: ClusterFacts;
  readonly store: DirectoryStore;
  readonly server: DirectoryServer;
  /** Where the members' sockets are. */
  readonly members: string;
  /** The door, not open yet: a server's, or without links that of any host. */
  readonly createFront: (facts: ClusterFacts, links: MemberLinks | undefined) => Front;
  /** Where the directory is to be looked for from now on. */
  readonly setRemotes: (remotes: readonly string[]) => void;
  /** Where it was found. */
  readonly remote: () => string | undefined;
  /** The agent ends and starts anew. */
  readonly restart: () => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

const RETRY_MS = 5_000;
/** How long a server goes by another's database, while its own is well. */
const HOME_MS = 10_000;

/** Where the directory is: on a server in its own database, else behind the servers' doors. */
export function remotesOf({ servers, datapathId, authority, site }: ClusterFacts): string[] {
  const others = seenFrom(site, servers).filter((server) => server.datapathId !== datapathId);
  const doors = others.map(({ address }) => `ssl:${formatIpv4(address)}:${FRONT_PORT}`);
  return authority.key === undefined ? doors : [DIRECTORY_REMOTE, ...doors];
}

/** Those that the directory has, in an order that does not change. */
export function knownServers(view: DirectoryView): KnownServer[] {
  const servers = [...view.hosts()].flatMap((host): KnownServer[] => {
    const { name, address, datapathId, certificates, isServer, site } = host;
    if (!isServer || address === undefined) return [];
    const outside = outsideOf(view.tunnel(name)?.endpoint, address);
    return [{ address, datapathId, certificates: certificates.toSorted(), site, ...(outside && { outside }) }];
  });
  return servers.sort((a, b) => (a.datapathId < b.datapathId ? -1 : 1));
}

export class ServerRole {
  private currentFacts: ClusterFacts;
  private links: MemberLinks | undefined;
  private front: Front | undefined;
  private isStopped = false;
  private readonly queue = new KeyedQueue();
  private readonly cancels = new Map<'door' | 'role' | 'home', () => void>();
  private readonly subscriptions: (() => void)[] = [];

  constructor(private readonly parts: ServerRoleParts) {
    this.currentFacts = parts.facts;
  }

  /** What this host knows of its cluster at this moment. */
  get facts(): ClusterFacts {
    return this.currentFacts;
  }

  get isServer(): boolean {
    return this.currentFacts.authority.key !== undefined;
  }

  /**
   * Before the directory is looked for: a server's database is a member, and reaches the others. Throws what is in the way;
   * may be called again.
   */
  async prepare(): Promise<void> {
    if (this.isServer) return this.serve();
    // A client has no use for its own database, whatever is the matter with that.
    await beAlone(this.parts.server).catch((error: unknown) =>
      this.parts.logger.warn('what is left of the directory on this host cannot be cleared', {
        error: messageOf(error),
      }),
    );
  }

  /** From now on, does what the Host rows say. */
  follow(): void {
    if (this.subscriptions.length > 0) return;
    const { store } = this.parts;
    this.subscriptions.push(
      store.onChange((changes) => {
        if (changes.some(({ table }) => table === 'Host' || table === 'Tunnel')) this.adjust();
      }),
      store.onConnected((isConnected) => {
        if (isConnected) this.adjust();
      }),
    );
    this.adjust();
    void this.openDoor(this.links);
    if (this.isServer) this.later('home', () => void this.goHome(), HOME_MS);
  }

  stop(): void {
    this.isStopped = true;
    for (const cancel of this.subscriptions) cancel();
    for (const cancel of this.cancels.values()) cancel();
    this.closeDoor();
  }

  /** Replaces what is on disk. */
  write(facts: ClusterFacts): void {
    writeCluster(this.parts.folder, facts);
    this.currentFacts = facts;
  }

  /**
   * This host's address was found, or is another from now on; so is where other sites reach it, where that was its address. Its door
   * follows by itself.
   */
  noteAddress({ address, place }: Pick<ClusterFacts, 'address' | 'place'>): void {
    const { facts } = this;
    const { endpoint } = facts.tunnel;
    const next = endpoint?.address === facts.address ? { ...endpoint, address } : endpoint;
    this.note({ ...facts, address, place, tunnel: { ...facts.tunnel, endpoint: next } });
    if (address !== facts.address) this.links?.reconnect();
  }

  /** What could not be written is not known either: it is noted again. */
  private note(facts: ClusterFacts): void {
    writeFacts(this.parts.folder, facts);
    this.currentFacts = facts;
  }

  private adjust(): void {
    this.noteServers();
    void this.queue.run('role', () => this.adjustRole()).catch((error: unknown) => this.tryAgain(error));
  }

  /** Another try, as long as the row says so. */
  private tryAgain(error: unknown): void {
    if (this.isStopped) return;
    this.parts.logger.error('this host cannot change its part in the cluster yet', { error: messageOf(error) });
    this.later('role', () => this.adjust());
  }

  /** Who the servers are, for the next start: then they must be known before the directory is. */
  private noteServers(): void {
    const { store, setRemotes } = this.parts;
    const servers = knownServers(store.view);
    const { facts } = this;
    const site = store.view.host(store.host)?.site ?? facts.site;
    const isSame = site === facts.site && JSON.stringify(servers) === JSON.stringify(facts.servers);
    // Nobody else's word makes this host forget how to come in.
    // And what was known last, before the directory is there, may be older than what is on disk.
    if (!store.connected || servers.length === 0 || isSame) return;
    this.note({ ...facts, servers, site });
    this.links?.setMembers(seenFrom(site, servers));
    setRemotes(remotesOf(this.currentFacts));
  }

  private async adjustRole(): Promise<void> {
    const { store } = this.parts;
    const row = store.view.host(store.host);
    // What it last knew may be over; it is asked again when it is back.
    if (row === undefined || !store.connected || this.isStopped || row.isServer === this.isServer) return;
    if (row.isServer) await this.becomeServer();
    else this.becomeClient();
  }

  /** The agent that starts next does the rest; see prepare. */
  private async becomeServer(): Promise<void> {
    const { logger, restart } = this.parts;
    const { facts } = this;
    const { authorityKey, clusterId } = await askForSecrets(facts);
    const now = this.facts;
    this.write({ ...now, clusterId, authority: { ...now.authority, key: authorityKey } });
    logger.info('this host is to serve the directory: its agent starts anew');
    restart();
  }

  private becomeClient(): void {
    const { logger, restart } = this.parts;
    const { facts } = this;
    this.write({ ...facts, clusterId: undefined, authority: { ...facts.authority, key: undefined } });
    logger.info('this host is to serve the directory no more: its agent starts anew');
    restart();
  }

  /** The others first: without them the database may not come up. */
  private async serve(): Promise<void> {
    const { members: folder, logger } = this.parts;
    const { datapathId: own, identity, authority, servers, site } = this.facts;
    if (this.links === undefined) {
      this.closeDoor();
      this.links = new MemberLinks({ folder, own, identity, authority: authority.certificate, logger });
      this.links.setMembers(seenFrom(site, servers));
      void this.openDoor(this.links);
    }
    await this.ensureMember();
  }

  private async ensureMember(): Promise<void> {
    const { server } = this.parts;
    const { clusterId, datapathId, servers } = this.facts;
    await server.whenUp();
    const present = await server.clusterId();
    if (clusterId !== undefined && present === clusterId) return;
    if (clusterId !== undefined) {
      const others = servers.map((each) => each.datapathId).filter((each) => each !== datapathId);
      if (others.length === 0) {
        const message = 'the database of the cluster is gone from this host, and no other host serves it';
        throw new DaoliError('internal', message, clusterId);
      }
      if (present !== ALONE) await server.clear();
      return server.join(clusterId, datapathId, others);
    }
    if (present === ALONE) await server.create(datapathId);
    this.write({ ...this.facts, clusterId: await server.clusterId() });
  }

  /** Again and again until it is open: the address may come late, or another program have the port. */
  private async openDoor(links: MemberLinks | undefined): Promise<void> {
    if (this.isStopped || this.links !== links || this.front !== undefined) return;
    const front = this.parts.createFront(this.facts, links);
    this.front = front;
    try {
      await front.start();
    } catch (error) {
      front.stop();
      // It was closed meanwhile, and perhaps another one opened.
      if (this.front !== front) return;
      this.front = undefined;
      const address = `${formatIpv4(this.facts.address)}:${FRONT_PORT}`;
      this.parts.logger.error('other hosts cannot come in yet', { address, error: messageOf(error) });
      this.later('door', () => void this.openDoor(links));
    }
  }

  private closeDoor(): void {
    this.links?.stop();
    this.links = undefined;
    this.front?.stop();
    this.front = undefined;
  }

  /** A server that had to look for the directory elsewhere goes back to its own database when that is one of them again. */
  private async goHome(): Promise<void> {
    const { server, remote, setRemotes } = this.parts;
    const isAway = remote() !== undefined && remote() !== DIRECTORY_REMOTE;
    const status = isAway ? await server.status().catch(() => undefined) : undefined;
    if (this.isStopped) return;
    if (status?.isMember === true && status.leader !== undefined) {
      setRemotes([DIRECTORY_REMOTE]);
      setRemotes(remotesOf(this.facts));
    }
    this.later('home', () => void this.goHome(), HOME_MS);
  }

  private later(what: 'door' | 'role' | 'home', again: () => void, ms = RETRY_MS): void {
    this.cancels.get(what)?.();
    this.cancels.set(what, this.parts.clock.after(ms, again));
  }
}

/** What is left of a cluster in this host's own database goes. One that was put out may not even start with it. */
export async function beAlone(server: DirectoryServer): Promise<void> {
  const isAlone = await server.whenUp().then(
    async () => (await server.clusterId()) === ALONE,
    () => false,
  );
  if (!isAlone) await server.clear();
}
