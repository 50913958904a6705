// Holds a TCP port of the host and proxies who connects to it to a container. IPv4 clients do not come here, but by DNAT: this
// serves IPv6 clients, and the odd connection that DNAT does not see.

import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { formatIpv4 } from '../base/addresses';
import type { BoundPort, PortBinding } from './port-binding';

const MAX_CONNECTIONS = 1024;
const CONNECT_TIMEOUT_MS = 10_000;

/** Binds and listens. Rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, …). */
export function bindTcp({ address, port, target }: PortBinding): Promise<BoundPort> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (client) => {
    if (target.locator === undefined) return void client.resetAndDestroy();
    clients.add(client.on('close', () => clients.delete(client)));
    proxyConnection(client, formatIpv4(target.locator), target.port);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, ipv6Only: true, exclusive: true }, () => {
      server.removeListener('error', reject);
      // Out of file descriptors, say: the connection is refused, the port stays.
      server.on('error', () => undefined);
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const client of clients) client.destroy();
          }),
      });
    });
  });
}

function proxyConnection(client: Socket, host: string, port: number): void {
  const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
  upstream.setTimeout(CONNECT_TIMEOUT_MS, () => upstream.destroy());
  upstream.on('connect', () => upstream.setTimeout(0));
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  // A refusal reaches the client as a reset, as it would without us.
  upstream.on('error', () => {
    client.resetAndDestroy();
    upstream.destroy();
  });
  client.on('error', end);
  client.on('close', end);
  upstream.on('close', () => client.destroySoon());
  client.pipe(upstream);
  upstream.pipe(client);
}
