// A TCP and UDP port of loopback for a test that listens on one.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { once } from 'node:events';

/** Below the ports that the kernel gives out by itself, so that nobody gets one between its choice and its use. */
const FIRST = 20_000;
const COUNT = 12_000;
/** Processes begin apart, so that two workers of a test run do not meet. */
const PER_PROCESS = 100;
let next = process.pid * PER_PROCESS;

/** A port that nobody has, and that no other test is given meanwhile. */
export async function freePort(): Promise<number> {
  const port = FIRST + (next++ % COUNT);
  const tcp = createServer().listen(port, '127.0.0.1');
  const udp = createSocket('udp4').bind(port, '127.0.0.1');
  const areFree = await Promise.all(
    [tcp, udp].map(async (socket) => {
      const isFree = await once(socket, 'listening').then(
        () => true,
        () => false,
      );
      if (isFree) await new Promise<void>((resolve) => void socket.close(() => resolve()));
      return isFree;
    }),
  );
  return areFree.includes(false) ? freePort() : port;
}
