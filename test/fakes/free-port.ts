// A TCP and UDP port of loopback for a test that listens on one.
import { createSocket } from 'node:dgram';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';

/** A port that nobody has now. The kernel gives it out again last. */
export async function freePort(): Promise<number> {
  const tcp = createServer().listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4').bind(port, '127.0.0.1');
  const isFree = await Promise.race([once(udp, 'listening').then(() => true), once(udp, 'error').then(() => false)]);
  udp.close();
  await new Promise((resolve) => tcp.close(resolve));
  return isFree ? port : freePort();
}
