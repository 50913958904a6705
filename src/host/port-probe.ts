// Whether a port of the host could be bound at this moment. Nothing is held: whoever wants it may still lose it to another.

import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import { codeOf } from './system-error';

/** Undefined where it is free, else the system's word: "EADDRINUSE", "EADDRNOTAVAIL". `hostIp` "" is every IPv4 address. */
export function probePort(protocol: 'tcp' | 'udp' | 'sctp', hostIp: string, port: number): Promise<string | undefined> {
  // Node.js has no SCTP.
  if (protocol === 'sctp') return Promise.resolve(undefined);
  const address = hostIp === '' ? '0.0.0.0' : hostIp;
  return new Promise((resolve) => {
    const fail = (error: unknown) => resolve(codeOf(error) ?? String(error));
    if (protocol === 'udp') {
      const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
      socket.once('error', fail);
      socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve(undefined)));
      return;
    }
    const server = createServer();
    server.once('error', fail);
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
