// What goes on beside a test, in the network of a container.

import { waitFor, type Host } from '../../../lab/host';
import type { BackgroundCommand } from '../../../lab/namespace';
import { networkOf } from './capture';

/** Runs a program of the host beside the test, in the network of a container. */
export async function besideIn(host: Host, container: string, ...command: string[]): Promise<BackgroundCommand> {
  return host.background(['nsenter', `--net=${await networkOf(host, container)}`, ...command]);
}

/** Pings beside the test, so that the routes do not go for want of packets. Fails where one of the first three was lost. */
export async function talk(host: Host, from: string, to: string): Promise<BackgroundCommand> {
  const talking = await besideIn(host, from, 'busybox', 'ping', '-i', '0.5', to);
  await waitFor(`an answer of ${to}`, () => talking.text().includes('seq=2 '));
  if (/seq=0 .*\n.*seq=1 .*\n.*seq=2 /.test(talking.text())) return talking;
  await talking.stop();
  throw new Error(`${from} heard of ${to}: ${talking.text()}`);
}
