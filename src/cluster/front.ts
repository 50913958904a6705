// The one door of a host for other hosts: TLS with certificates of the cluster's own authority. The protocol is chosen in
// the handshake (ALPN): WORDS_PROTOCOL is for the words of controllers, from hosts whose certificate stands in their Host row
// at this moment. On a server there are more: "ovsdb" is the directory, for the same; MEMBER_PROTOCOL leads from one server's
// database to another's; "http/1.1" is the way in for newcomers, who have none. OVS's own TLS knows neither names nor
// revocation, hence this one.

import { createServer as createHttpServer, type RequestListener, type Server as HttpServer } from 'node:http';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import { DIRECTORY_DATABASE } from '../directory/directory';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { fingerprintOf, type Identity } from '../pki/authority';
import { inspectTransaction } from './inspection';
import { OvsdbRelay } from './ovsdb-relay';
import { WORDS_PROTOCOL } from './words';

export const FRONT_PORT = 7470;
export const OVSDB_PROTOCOL = 'ovsdb';
export const HTTP_PROTOCOL = 'http/1.1';
/** Raft, between the databases of servers. */
export const MEMBER_PROTOCOL = 'daolinet-member';
const HANDSHAKE_MS = 10_000;
/** Of all hosts together: the cluster's size, and some that are being tried again. */
const MAX_CONNECTIONS = 8192;
/** Of one host: what it has, and what is being closed. */
const MAX_GUESTS_OF_ONE = 8;
/** Those that ask by HTTP, at a time, and how long each may stay. */
const MAX_VISITORS = 64;
const VISIT_MS = 30_000;

export interface FrontOptions {
  readonly address: Ipv4;
  readonly port?: number;
  readonly authority: string;
  readonly identity: Identity;
  readonly store: DirectoryStore;
  /** ovsdb-server's unix socket, on a server. Elsewhere words are all that comes in. */
  readonly socketPath: string | undefined;
  readonly locatorRange: Cidr;
  /** What hosts ask besides the directory. */
  readonly app: RequestListener;
  /** The database of a server with this certificate, if it is one, wants to reach this host's. */
  readonly acceptMember: (socket: TLSSocket, fingerprint: string | undefined) => void;
  /** Another host's controller has something to say. */
  readonly acceptWords: (socket: TLSSocket, host: HostRow) => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

const SERVER_PROTOCOLS = [OVSDB_PROTOCOL, HTTP_PROTOCOL, MEMBER_PROTOCOL];

/** What came in by the door, and can be put out. */
interface Guest {
  close(): void;
}

export class Front {
  private readonly server: Server;
  private readonly http: HttpServer;
  /** With the fingerprint of the certificate that each came in with. */
  private readonly guests = new Map<Guest, string>();
  private readonly visitors = new Set<TLSSocket>();
  /** Apart, so that neither hides the other. */
  private readonly strangers: ProblemLog;
  private readonly trespasses: ProblemLog;
  private readonly stopFollowing: () => void;

  constructor(private readonly options: FrontOptions) {
    const { authority, identity, app, store, clock, logger } = options;
    this.strangers = new ProblemLog(clock, logger);
    this.trespasses = new ProblemLog(clock, logger);
    this.http = createHttpServer(app);
    this.server = createServer({
      ca: authority,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false, // decided below, by protocol
      handshakeTimeout: HANDSHAKE_MS,
      ALPNProtocols: [...(options.socketPath === undefined ? [] : SERVER_PROTOCOLS), WORDS_PROTOCOL],
    });
    this.server.maxConnections = MAX_CONNECTIONS;
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

  /** Resolves when it listens. Throws where the address or port cannot be had. */
  start(): Promise<void> {
    const { address, port = FRONT_PORT, logger } = this.options;
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, formatIpv4(address), () => {
        this.server.off('error', reject);
        this.server.on('error', (error) => logger.error('other hosts cannot come in', { error: messageOf(error) }));
        resolve();
      });
    });
  }

  stop(): void {
    this.stopFollowing();
    for (const guest of [...this.guests.keys()]) guest.close();
    for (const visitor of this.visitors) visitor.destroy();
    this.server.close();
  }

  private accept(socket: TLSSocket): void {
    const { socketPath, acceptMember } = this.options;
    const { alpnProtocol } = socket;
    if (alpnProtocol === WORDS_PROTOCOL) this.admit(socket, (host) => this.hear(socket, host));
    else if (socketPath === undefined) socket.destroy();
    else if (alpnProtocol === HTTP_PROTOCOL) this.visit(socket);
    else if (alpnProtocol === OVSDB_PROTOCOL) this.admit(socket, (host) => this.relay(socket, socketPath, host));
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
  private admit(socket: TLSSocket, receive: (host: HostRow) => Guest): void {
    const fingerprint = certificateOf(socket);
    const host = fingerprint === undefined ? undefined : this.hostOf(fingerprint);
    if (host === undefined || fingerprint === undefined) {
      const reason = socket.authorized ? 'its certificate is no host’s (any more)' : String(socket.authorizationError);
      this.strangers.report('a connection of another host was refused', { address: socket.remoteAddress, reason });
      socket.destroy();
      return;
    }
    const count = [...this.guests.values()].filter((each) => each === fingerprint).length;
    if (count >= MAX_GUESTS_OF_ONE) return void socket.destroy();
    this.guests.set(receive(host), fingerprint);
  }

  private hear(socket: TLSSocket, host: HostRow): Guest {
    const guest = { close: () => void socket.destroy() };
    socket.on('close', () => this.guests.delete(guest));
    this.options.acceptWords(socket, host);
    return guest;
  }

  private relay(socket: TLSSocket, socketPath: string, host: HostRow): Guest {
    const { store, locatorRange } = this.options;
    const inspect = (operations: readonly unknown[], isLast: boolean) => {
      const row = store.view.host(host.name);
      if (row === undefined) return 'this host was removed from the cluster';
      // Its own database is one of those that decide; it comes here while that is away.
      if (row.isServer) return undefined;
      return inspectTransaction(operations, { view: store.view, host: row, locatorRange, isLast });
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

  /** Whose certificate it is, at this moment. */
  private hostOf(fingerprint: string): HostRow | undefined {
    for (const host of this.options.store.view.hosts()) if (host.certificates.includes(fingerprint)) return host;
    return undefined;
  }

  /** Connections of hosts that were removed, and with certificates that are no longer theirs, end. */
  private putOut(): void {
    for (const [guest, fingerprint] of [...this.guests]) {
      if (this.hostOf(fingerprint) === undefined) guest.close();
    }
  }
}

/** Fingerprint of the certificate that the other side has shown, if the authority has signed it. */
export function certificateOf(socket: TLSSocket): string | undefined {
  // Node.js calls a resumed session authorized, also where no certificate was ever shown.
  const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
  return socket.authorized && raw !== undefined ? fingerprintOf(raw) : undefined;
}
