// Holds a UDP port of the host and proxies datagrams that come to it to a container and back: those of IPv6 clients, and of IPv4
// clients that were already sending when the port was published. Each client has a socket of its own for a while.

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { formatIpv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import type { BoundPort, PortBinding } from './port-binding';

/** Beyond this the client that was silent longest makes room: an invented source address costs nothing. */
const MAX_CLIENTS = 256;
const IDLE_MS = 60_000;

interface Client {
  readonly socket: Socket;
  lastUsed: number;
}

/** Binds. Rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, …). */
export function bindUdp({ address, port, target }: PortBinding, clock: Clock): Promise<BoundPort> {
  const server = createSocket(isIPv6(address) ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });
  const clients = new UdpClients(server, clock);
  server.on('message', (message, from) => {
    const { locator, port } = target;
    if (locator === undefined) return;
    clients.of(from.address, from.port, target).send(message, port, formatIpv4(locator), () => undefined);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.bind({ address, port, exclusive: true }, () => {
      server.removeListener('error', reject);
      server.on('error', () => undefined);
      resolve({
        port: server.address().port,
        close: () =>
          new Promise((closed) => {
            clients.close();
            server.close(() => closed());
          }),
      });
    });
  });
}

class UdpClients {
  /** Least recently used first. */
  private readonly clients = new Map<string, Client>();
  private cancelSweep: (() => void) | undefined;

  constructor(
    private readonly server: Socket,
    private readonly clock: Clock,
  ) {}

  of(address: string, port: number, target: PortBinding['target']): Socket {
    const key = `${address} ${port}`;
    const client = this.clients.get(key) ?? { socket: this.open(key, address, port, target), lastUsed: 0 };
    client.lastUsed = this.clock.now();
    this.clients.delete(key);
    this.clients.set(key, client);
    if (this.clients.size > MAX_CLIENTS) this.remove(this.clients.keys().next().value ?? key);
    this.cancelSweep ??= this.clock.after(IDLE_MS, () => this.sweep());
    return client.socket;
  }

  close(): void {
    this.cancelSweep?.();
    for (const key of [...this.clients.keys()]) this.remove(key);
  }

  private open(key: string, address: string, port: number, target: PortBinding['target']): Socket {
    const socket = createSocket('udp4');
    socket.on('error', () => this.remove(key));
    socket.on('message', (message, from) => {
      if (target.locator === undefined) return;
      if (from.address !== formatIpv4(target.locator) || from.port !== target.port) return;
      this.server.send(message, port, address, () => undefined);
    });
    return socket;
  }

  private remove(key: string): void {
    const client = this.clients.get(key);
    this.clients.delete(key);
    client?.socket.close();
  }

  private sweep(): void {
    const before = this.clock.now() - IDLE_MS;
    for (const [key, client] of this.clients) if (client.lastUsed <= before) this.remove(key);
    this.cancelSweep = this.clients.size === 0 ? undefined : this.clock.after(IDLE_MS, () => this.sweep());
  }
}
