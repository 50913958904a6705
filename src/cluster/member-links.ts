// How the servers' databases reach one another (Raft): for each other server a unix socket on this host, and behind it TLS to
// that server's door, which leads to its ovsdb-server. The doors see to who is a member at this moment, on both ends; to
// ovsdb-server the others are sockets of its own machine.

import { mkdirSync, rmSync } from 'node:fs';
import { connect as connectNet, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline, type Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { formatIpv4 } from '../base/addresses';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { fingerprintOf, type Identity } from '../pki/authority';
import type { KnownServer } from './files';
import { FRONT_PORT, MEMBER_PROTOCOL } from './front';

/** Raft tries again by itself. */
const CONNECT_MS = 3_000;
/** Of one member; it has one each way. */
const MAX_CONNECTIONS = 16;

export interface MemberLinksOptions {
  /** Where the sockets are. */
  readonly folder: string;
  /** This host's datapath id: the name of its own socket, which is ovsdb-server's. */
  readonly own: string;
  readonly identity: Identity;
  /** The authority's certificate. */
  readonly authority: string;
  readonly logger: Logger;
  /** Default FRONT_PORT. */
  readonly port?: number;
}

interface Link {
  server: KnownServer;
  readonly listener: Server;
  readonly connections: Set<Duplex>;
}

export class MemberLinks {
  private readonly links = new Map<string, Link>();
  private readonly incoming = new Map<Duplex, string>();

  constructor(private readonly options: MemberLinksOptions) {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  /** Who the servers are from now on, this host among them or not. What leads to others, or from others, ends. */
  setMembers(servers: readonly KnownServer[]): void {
    const others = new Map(servers.map((server) => [server.datapathId, server]));
    others.delete(this.options.own);
    for (const [datapathId, link] of this.links) if (!others.has(datapathId)) this.close(datapathId, link);
    for (const [datapathId, server] of others) {
      const link = this.links.get(datapathId);
      if (link === undefined) this.links.set(datapathId, this.open(server));
      else this.lookElsewhere(link, server);
    }
    for (const [socket, datapathId] of this.incoming) if (!others.has(datapathId)) socket.destroy();
  }

  /** Leads another server, which has shown who it is, to this host's ovsdb-server. */
  accept(socket: Duplex, datapathId: string): void {
    const isMember = this.links.has(datapathId);
    const count = [...this.incoming.values()].filter((each) => each === datapathId).length;
    if (!isMember || count >= MAX_CONNECTIONS) return void socket.destroy();
    this.incoming.set(socket, datapathId);
    splice(socket, connectNet(join(this.options.folder, this.options.own)), () => void this.incoming.delete(socket));
  }

  /** What leads from this host's address before ends; the databases make other connections at once. */
  reconnect(): void {
    for (const { connections } of this.links.values()) endAll(connections);
    endAll(this.incoming.keys());
  }

  stop(): void {
    this.setMembers([]);
  }

  private lookElsewhere(link: Link, server: KnownServer): void {
    const hasMoved = link.server.address !== server.address;
    link.server = server;
    if (hasMoved) endAll(link.connections);
  }

  private open(server: KnownServer): Link {
    const path = join(this.options.folder, server.datapathId);
    rmSync(path, { force: true });
    const listener = createServer((socket) => this.lead(socket, link));
    listener.maxConnections = MAX_CONNECTIONS;
    const link: Link = { server, listener, connections: new Set() };
    listener.on('error', (error) => {
      const address = formatIpv4(link.server.address);
      this.options.logger.error('the database of another server cannot be reached', {
        address,
        error: messageOf(error),
      });
    });
    listener.listen(path);
    return link;
  }

  private close(datapathId: string, { listener, connections }: Link): void {
    this.links.delete(datapathId);
    listener.close();
    endAll(connections);
  }

  /** From this host's ovsdb-server to another's. */
  private lead(socket: Socket, link: Link): void {
    const { identity, authority, port = FRONT_PORT } = this.options;
    link.connections.add(socket);
    const far = connectTls({
      host: formatIpv4(link.server.address),
      port,
      ca: authority,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [MEMBER_PROTOCOL],
      checkServerIdentity: (_name, { raw }) =>
        link.server.certificates.includes(fingerprintOf(raw)) ? undefined : new Error('it is another server'),
    });
    far.setTimeout(CONNECT_MS, () => far.destroy());
    far.once('secureConnect', () => far.setTimeout(0));
    splice(socket, far, () => void link.connections.delete(socket));
  }
}

function endAll(connections: Iterable<Duplex>): void {
  for (const connection of [...connections]) connection.destroy();
}

/** Bytes of each go to the other, until one of them ends. */
function splice(one: Duplex, other: Duplex, onEnd: () => void): void {
  const end = () => {
    one.destroy();
    other.destroy();
    onEnd();
  };
  pipeline(one, other, end);
  pipeline(other, one, end);
}
