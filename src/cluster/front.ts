// The one door of a host for other hosts: TLS with certificates of the cluster's own authority. The protocol is chosen in
// the handshake (ALPN): WORDS_PROTOCOL is for the words of controllers, from hosts whose certificate stands in their Host row
// at this moment; PULSE_PROTOCOL is for agents that ask one another whether they are there; API_PROTOCOL is this host's
// management API, for those of them that are servers; the others have one call. On a server there are more: DIRECTORY_PROTOCOL
// is the directory, for the same; MEMBER_PROTOCOL leads from one server's database to another's; "http/1.1" is the way in for
// newcomers, who have none. OVS's own TLS knows neither names nor revocation, hence this one; nor does it
// know ALPN: who names no protocol is a host's Open vSwitch, which speaks OpenFlow.

import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { createServer as createNetServer, type Server as NetServer } from 'node:net';
import { formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import { TokenBucket } from '../base/token-bucket';
import { DIRECTORY_DATABASE } from '../directory/directory';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { fingerprintOf, type Identity } from '../pki/authority';
import { inspectTransaction, tellsOfTunnel } from './inspection';
import { OvsdbRelay } from './ovsdb-relay';
import { PULSE_PROTOCOL } from './pulse-links';
import { needsTunnels } from './sites';
import { WORDS_PROTOCOL } from './words';

export const FRONT_PORT = 7470;
/** The directory, for agents that know what sites are, and what is encrypted. */
export const DIRECTORY_PROTOCOL = 'daolinet-directory/2';
/** The same for older ones, which would send all in the clear: only where that is right. */
export const OVSDB_PROTOCOL = 'ovsdb';
/** What an agent asks for: a server that is older knows the second alone. */
export const DIRECTORY_PROTOCOLS = [DIRECTORY_PROTOCOL, OVSDB_PROTOCOL];
export const HTTP_PROTOCOL = 'http/1.1';
/** Raft, between the databases of servers. */
export const MEMBER_PROTOCOL = 'daolinet-member';
/** The management API, over HTTP. */
export const API_PROTOCOL = 'daolinet-api/1';
/** The one call of it that any host of the cluster may make: whether this one's datapath answers on the fabric. */
export const OPEN_CALL = '/v1/fabric';
const HANDSHAKE_MS = 10_000;
/** Of all hosts together: the cluster's size, and some that are being tried again. */
const MAX_CONNECTIONS = 8192;
/** Of one host: what it has, and what is being closed. */
const MAX_GUESTS_OF_ONE = 8;
/** The same of the management API: each call is a connection, and one that watches stays. */
const MAX_CALLS_OF_ONE = 64;
const KEEP_ALIVE_MS = 30_000;
/** Those that ask by HTTP, at a time, and how long each may stay. */
const MAX_VISITORS = 64;
const VISIT_MS = 30_000;

export interface FrontOptions {
  /** This host's own, at this moment. */
  readonly address: () => Ipv4;
  /** Addresses that may come and go: the door is there, too, when they are there. */
  readonly alsoAt?: () => readonly Ipv4[];
  readonly port?: number;
  readonly authority: string;
  readonly identity: Identity;
  readonly store: DirectoryStore;
  /** ovsdb-server's unix socket, on a server. Elsewhere words and calls of the management API are all that comes in. */
  readonly socketPath: string | undefined;
  readonly locatorRange: Cidr;
  /** What hosts ask besides the directory. */
  readonly app: RequestListener;
  /** This host's management API, for servers. */
  readonly api: RequestListener;
  /** The database of a server with this certificate, if it is one, wants to reach this host's. */
  readonly acceptMember: (socket: TLSSocket, fingerprint: string | undefined) => void;
  /** Another host's controller has something to say. */
  readonly acceptWords: (socket: TLSSocket, host: HostRow) => void;
  /** Another host's agent asks whether this one is there, and is asked. */
  readonly acceptPulse: (socket: TLSSocket, host: HostRow) => void;
  /** The Open vSwitch of another host looks for a controller that stands by. */
  readonly acceptOpenFlow: (socket: TLSSocket, host: HostRow) => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * What one host may say of its tunnel. Each time many others set up a peer anew, and send a packet to where it says that it is:
 * so it cannot have them send thousands of packets somewhere.
 */
const TUNNEL_CHANGES = { perSecond: 0.2, burst: 30 };

const SERVER_PROTOCOLS = [...DIRECTORY_PROTOCOLS, HTTP_PROTOCOL, MEMBER_PROTOCOL];

/** How often it looks whether an address has come. One that goes keeps what listens at it, and has it when it is back. */
const LOOK_MS = 2_000;

/** What came in by the door, and can be put out. */
interface Guest {
  close(): void;
}

/** `old`: an agent from before there were sites. */
type Purpose = 'cluster' | 'api' | 'old' | 'openflow';

/** On what conditions it is in. */
interface Admission {
  readonly fingerprint: string;
  readonly purpose: Purpose;
  /** Whether it came in as a server: what it may do then ends when it is none any more. */
  readonly isServer: boolean;
}

export class Front {
  private readonly server: Server;
  private readonly http: HttpServer;
  private readonly api: HttpServer;
  /** For hosts that are no servers: all but one call is refused. */
  private readonly noApi: HttpServer;
  private readonly guests = new Map<Guest, Admission>();
  private readonly visitors = new Set<TLSSocket>();
  /** By host. */
  private readonly tunnelChanges = new Map<string, TokenBucket>();
  /** Apart, so that neither hides the other. */
  private readonly strangers: ProblemLog;
  private readonly trespasses: ProblemLog;
  private readonly stopFollowing: () => void;
  /** By the address that they listen at. */
  private readonly doors = new Map<Ipv4, NetServer>();
  private cancelLook = (): void => undefined;
  private isStopped = false;

  constructor(private readonly options: FrontOptions) {
    const { authority, identity, app, api, store, clock, logger } = options;
    this.strangers = new ProblemLog(clock, logger);
    this.trespasses = new ProblemLog(clock, logger);
    this.http = createHttpServer(app);
    this.api = createHttpServer(api);
    this.noApi = createHttpServer((request, response) => {
      if (request.method === 'GET' && request.url === OPEN_CALL) api(request, response);
      else this.refuseCall(response);
    });
    this.server = createServer({
      ca: authority,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false, // decided below, by protocol
      handshakeTimeout: HANDSHAKE_MS,
      ALPNProtocols: [
        ...(options.socketPath === undefined ? [] : SERVER_PROTOCOLS),
        WORDS_PROTOCOL,
        PULSE_PROTOCOL,
        API_PROTOCOL,
      ],
    });
    this.server.on('secureConnection', (socket) => {
      socket.on('error', () => socket.destroy());
      try {
        this.accept(socket);
      } catch (error) {
        this.strangers.report('a connection of another host was refused', { reason: messageOf(error) });
        socket.destroy();
      }
    });
    this.stopFollowing = store.onChange((changes) => {
      if (changes.some(({ table }) => table === 'Host')) this.putOut();
    });
  }

  /** Resolves when it listens. Throws where the port cannot be had; an address that is not there may come. */
  async start(): Promise<void> {
    const { address, alsoAt, logger } = this.options;
    await this.openAt(address()).catch((error: unknown) => {
      if (alsoAt === undefined || !isAway(error)) throw error;
      logger.error('other hosts of its site cannot come in yet', {
        address: formatIpv4(address()),
        error: messageOf(error),
      });
    });
    await this.look();
  }

  /** Opens where addresses have come, and closes where they are this host's no more. */
  private async look(): Promise<void> {
    const { address, alsoAt, clock, logger } = this.options;
    if (alsoAt === undefined) return;
    const wanted = new Set([address(), ...alsoAt()]);
    for (const [at, door] of this.doors) if (!wanted.has(at)) this.closeAt(at, door);
    for (const at of wanted) {
      if (this.doors.has(at)) continue;
      await this.openAt(at).catch((error: unknown) => {
        if (isAway(error)) return;
        logger.error('other hosts cannot come in there yet', { address: formatIpv4(at), error: messageOf(error) });
      });
    }
    this.cancelLook();
    if (!this.isStopped) this.cancelLook = clock.after(LOOK_MS, () => void this.look());
  }

  private openAt(address: Ipv4): Promise<void> {
    const { port = FRONT_PORT, logger } = this.options;
    const door = createNetServer((socket) => void this.server.emit('connection', socket));
    door.maxConnections = MAX_CONNECTIONS;
    return new Promise((resolve, reject) => {
      door.once('error', reject);
      door.listen(port, formatIpv4(address), () => {
        door.off('error', reject);
        door.on('error', (error) => logger.error('other hosts cannot come in', { error: messageOf(error) }));
        if (this.isStopped) door.close();
        else this.doors.set(address, door);
        resolve();
      });
    });
  }

  private closeAt(address: Ipv4, door: NetServer): void {
    this.doors.delete(address);
    door.close();
  }

  stop(): void {
    this.isStopped = true;
    this.cancelLook();
    this.stopFollowing();
    for (const guest of [...this.guests.keys()]) guest.close();
    for (const visitor of this.visitors) visitor.destroy();
    for (const [address, door] of this.doors) this.closeAt(address, door);
  }

  private accept(socket: TLSSocket): void {
    const { socketPath, acceptMember } = this.options;
    const { alpnProtocol } = socket;
    const { acceptWords, acceptPulse, acceptOpenFlow } = this.options;
    if (alpnProtocol === WORDS_PROTOCOL) this.admit(socket, (host) => this.hand(socket, host, acceptWords));
    else if (alpnProtocol === PULSE_PROTOCOL) this.admit(socket, (host) => this.hand(socket, host, acceptPulse));
    else if (alpnProtocol === false) this.admit(socket, (host) => this.hand(socket, host, acceptOpenFlow), 'openflow');
    else if (alpnProtocol === API_PROTOCOL) this.admit(socket, (host) => this.serve(socket, host), 'api');
    else if (socketPath === undefined) socket.destroy();
    else if (alpnProtocol === HTTP_PROTOCOL) this.visit(socket);
    else if (alpnProtocol === DIRECTORY_PROTOCOL) this.admit(socket, (host) => this.relay(socket, socketPath, host));
    else if (alpnProtocol === OVSDB_PROTOCOL) this.admit(socket, (host) => this.relay(socket, socketPath, host), 'old');
    else if (alpnProtocol === MEMBER_PROTOCOL) acceptMember(socket, certificateOf(socket));
    else socket.destroy();
  }

  /** Strangers come this way, too: few at a time, and not for long. (http's own limits are those of a server that listens.) */
  private visit(socket: TLSSocket): void {
    if (this.visitors.size >= MAX_VISITORS) return void socket.destroy();
    const cancel = this.options.clock.after(VISIT_MS, () => socket.destroy());
    this.visitors.add(socket);
    socket.on('close', () => {
      cancel();
      this.visitors.delete(socket);
    });
    this.http.emit('connection', socket);
  }

  /** Lets a host in whose certificate its row has, and nobody else. */
  private admit(socket: TLSSocket, receive: (host: HostRow) => Guest, purpose: Purpose = 'cluster'): void {
    const fingerprint = certificateOf(socket);
    const host = fingerprint === undefined ? undefined : this.hostOf(fingerprint);
    if (host === undefined || fingerprint === undefined) {
      const reason = socket.authorized ? 'its certificate is no host’s (any more)' : String(socket.authorizationError);
      this.strangers.report('a connection of another host was refused', { address: socket.remoteAddress, reason });
      socket.destroy();
      return;
    }
    if (purpose === 'old' && needsTunnels(this.options.store.view)) {
      this.reportOld(host.name);
      socket.destroy();
      return;
    }
    const isSame = (each: Admission) => each.fingerprint === fingerprint && each.purpose === purpose;
    const count = [...this.guests.values()].filter(isSame).length;
    if (count >= (purpose === 'api' ? MAX_CALLS_OF_ONE : MAX_GUESTS_OF_ONE)) return void socket.destroy();
    this.guests.set(receive(host), { fingerprint, purpose, isServer: host.isServer });
  }

  /** Whoever takes over a client is not to get at other hosts: what acts on this one, or shows what it has, is for servers. */
  private serve(socket: TLSSocket, host: HostRow): Guest {
    const guest = { close: () => void socket.destroy() };
    // A client has the time to be told.
    const cancel = host.isServer ? () => undefined : this.options.clock.after(VISIT_MS, guest.close);
    socket.on('close', () => {
      cancel();
      this.guests.delete(guest);
    });
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    (host.isServer ? this.api : this.noApi).emit('connection', socket);
    return guest;
  }

  private refuseCall(response: ServerResponse): void {
    const servers = [...this.options.store.view.hosts()].filter(({ isServer }) => isServer).map(({ name }) => name);
    const message = `only servers of the cluster reach the agents of other hosts: do it on ${servers.sort().join(', ')}`;
    response.writeHead(403, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify({ message, code: 'conflict' }));
  }

  private hand(socket: TLSSocket, host: HostRow, accept: FrontOptions['acceptWords']): Guest {
    const guest = { close: () => void socket.destroy() };
    socket.on('close', () => this.guests.delete(guest));
    accept(socket, host);
    return guest;
  }

  private relay(socket: TLSSocket, socketPath: string, host: HostRow): Guest {
    const { store, locatorRange } = this.options;
    const inspect = (operations: readonly unknown[], isLast: boolean) => {
      const row = store.view.host(host.name);
      if (row === undefined) return 'this host was removed from the cluster';
      // Its own database is one of those that decide; it comes here while that is away.
      if (row.isServer) return undefined;
      const verdict = inspectTransaction(operations, { view: store.view, host: row, locatorRange, isLast });
      if (verdict !== undefined || !tellsOfTunnel(operations) || this.mayTellOfTunnel(host.name)) return verdict;
      return 'a host changes its tunnel less often';
    };
    const relay: OvsdbRelay = new OvsdbRelay(socket, {
      socketPath,
      database: DIRECTORY_DATABASE,
      inspect,
      onRefused: (problem) => this.trespasses.report('a host may not write that', { host: host.name, problem }),
      onClosed: () => void this.guests.delete(relay),
      clock: this.options.clock,
    });
    return relay;
  }

  private mayTellOfTunnel(host: string): boolean {
    const { perSecond, burst } = TUNNEL_CHANGES;
    const now = this.options.clock.now();
    const bucket = this.tunnelChanges.get(host) ?? new TokenBucket(perSecond, burst, now);
    this.tunnelChanges.set(host, bucket);
    return bucket.take(now);
  }

  /** Whose certificate it is, at this moment. */
  private hostOf(fingerprint: string): HostRow | undefined {
    for (const host of this.options.store.view.hosts()) if (host.certificates.includes(fingerprint)) return host;
    return undefined;
  }

  private reportOld(host: string): void {
    const problem =
      'it knows nothing of sites, and would send in the clear what is to be encrypted: upgrade the plugin there';
    this.trespasses.report('a host has an agent that is too old for this cluster', { host, problem });
  }

  /** Connections of hosts that were removed, with certificates that are no longer theirs, and that are too old by now, end. */
  private putOut(): void {
    for (const name of this.tunnelChanges.keys()) {
      if (this.options.store.view.host(name) === undefined) this.tunnelChanges.delete(name);
    }
    const isTooOld = needsTunnels(this.options.store.view);
    for (const [guest, { fingerprint, purpose, isServer }] of [...this.guests]) {
      const host = this.hostOf(fingerprint);
      const isDemoted = purpose === 'api' && isServer && host?.isServer === false;
      const isOld = purpose === 'old' && isTooOld;
      if (isOld && host !== undefined) this.reportOld(host.name);
      if (host === undefined || isDemoted || isOld) guest.close();
    }
  }
}

/** The address is none of this host's (yet). */
function isAway(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL';
}

/** The name in the certificate that the other side has shown, if the authority has signed it. */
export function provenNameOf(socket: TLSSocket): string | undefined {
  if (certificateOf(socket) === undefined) return undefined;
  const { CN } = socket.getPeerCertificate().subject;
  return typeof CN === 'string' ? CN : undefined;
}

/** Fingerprint of the certificate that the other side has shown, if the authority has signed it. */
export function certificateOf(socket: TLSSocket): string | undefined {
  // Node.js calls a resumed session authorized, also where no certificate was ever shown.
  const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
  return socket.authorized && raw !== undefined ? fingerprintOf(raw) : undefined;
}
