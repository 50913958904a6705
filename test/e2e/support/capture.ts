// What arrives at an interface, as tcpdump saw it: in a container's network, on the host, or "outside".

import type { Host } from '../../../lab/host';
import { Recording } from '../../../lab/recording';
import { ON_HOST, OUTSIDE } from './peers';

export type Capture = Recording;

export const Capture = {
  /** Starts to record what comes in at an interface, of a container by its name, ON_HOST or OUTSIDE. Everything from now on is seen. */
  async start(host: Host, where: string, ethernetInterface = 'eth0'): Promise<Recording> {
    const inward = { ethernetInterface, isInwardOnly: true };
    if (where === OUTSIDE) return Recording.start(host, { ...inward, netns: 'outside' });
    if (where === ON_HOST) return Recording.start(host, inward);
    return Recording.start(host, { ...inward, enter: ['nsenter', `--net=${await networkOf(host, where)}`] });
  },
};

/** The network namespace of a running container, as a file of the host. */
export async function networkOf(host: Host, container: string): Promise<string> {
  return `/proc/${await host.docker('inspect', '--format', '{{.State.Pid}}', container)}/ns/net`;
}
