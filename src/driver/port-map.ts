// What `docker run -p` and -P ask for: from Docker's port map to the ports to reserve on the host, and which of the
// ports that an endpoint has already answer which request. Pure: nothing is bound here.

import { isIP } from 'node:net';
import { DaoliError } from '../base/errors';
import type { TransportProtocol } from '../host/host';
import type { PortBinding } from './schemas';

/** A port that is to be published. */
export interface PortWish {
  readonly protocol: TransportProtocol;
  /** "" for every address of the host, else one address of either family. */
  readonly hostIp: string;
  /** Inclusive, one of them; 0 and 0: any that is free. */
  readonly firstPort: number;
  readonly lastPort: number;
  readonly containerPort: number;
}

/** A port as it is published: a wish come true. */
export interface PublishedAt {
  readonly protocol: TransportProtocol;
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** Assigned Internet protocol numbers (IANA). */
const PROTOCOLS: ReadonlyMap<number, TransportProtocol> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);

function parseBinding(binding: PortBinding, index: number): PortWish {
  const refuse = (field: string, value: string | number, why: string): never => {
    throw new DaoliError('invalid', `port map[${index}].${field}: ${JSON.stringify(value)} ${why}`);
  };
  const { protocolNumber, containerPort, hostIp, hostPort } = binding;
  const protocol = PROTOCOLS.get(protocolNumber);
  if (protocol === undefined) {
    return refuse('Proto', protocolNumber, 'cannot be published: only TCP (6), UDP (17) and SCTP (132) have ports');
  }
  if (containerPort === 0) refuse('Port', 0, 'is not a port');
  if (hostIp !== '' && isIP(hostIp) === 0) refuse('HostIP', hostIp, 'is not an IP address');
  const lastPort = binding.hostPortEnd === 0 ? hostPort : binding.hostPortEnd;
  if (lastPort < hostPort) refuse('HostPortEnd', lastPort, `lies before HostPort ${hostPort}`);
  if (hostPort === 0 && lastPort !== 0) refuse('HostPort', 0, `begins a range that ends at ${lastPort}`);
  return { protocol, hostIp, firstPort: hostPort, lastPort, containerPort };
}

/** How many ports would do: the choosier wish is served first, whatever order Docker's map had. */
function choice(wish: PortWish): number {
  return wish.firstPort === 0 ? 65_536 : wish.lastPort - wish.firstPort + 1;
}

/** Reads a port map, in the order in which the ports are to be reserved. Throws `invalid`, naming entry and field. */
export function parsePortMap(portMap: readonly PortBinding[]): PortWish[] {
  return portMap
    .map(parseBinding)
    .sort((a, b) => choice(a) - choice(b) || a.firstPort - b.firstPort || a.containerPort - b.containerPort);
}

function answers(port: PublishedAt, wish: PortWish): boolean {
  return (
    port.protocol === wish.protocol &&
    port.hostIp === wish.hostIp &&
    port.containerPort === wish.containerPort &&
    (wish.firstPort === 0 || (port.hostPort >= wish.firstPort && port.hostPort <= wish.lastPort))
  );
}

/**
 * Narrows each wish that a port of `existing` answers to exactly that port, so that a repeated request keeps what it
 * got. `isKept` is whether nothing else is to change: every wish is answered, and no port is left over.
 */
export function keepPublished(
  wishes: readonly PortWish[],
  existing: readonly PublishedAt[],
): { wishes: PortWish[]; isKept: boolean } {
  const left = [...existing];
  let unanswered = 0;
  const narrowed = wishes.map((wish) => {
    const at = left.findIndex((port) => answers(port, wish));
    const [port] = at < 0 ? [] : left.splice(at, 1);
    if (port === undefined) unanswered += 1;
    return port === undefined ? wish : { ...wish, firstPort: port.hostPort, lastPort: port.hostPort };
  });
  return { wishes: narrowed, isKept: unanswered === 0 && left.length === 0 };
}
