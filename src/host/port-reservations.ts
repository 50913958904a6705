// Published ports as sockets of the agent: whoever else wants one gets an error, and so do we, at `docker run`. All reservations go
// one after another, so that two requests cannot choose the same port.

import { isIPv4, isIPv6 } from 'node:net';
import { parseIpv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import type { PortRequest, PortReservations, PublishedPort, ReservedPort } from './host';
import type { BoundPort, PortBinding } from './port-binding';
import { codeOf } from './system-error';
import { bindTcp } from './tcp-proxy';
import { bindUdp } from './udp-proxy';

const ALL_IPV4 = '0.0.0.0';
const ALL_IPV6 = '::';
/** Linux's default ip_local_port_range, for the one protocol that is not bound. */
const SCTP_PORTS = { first: 32_768, last: 60_999 } as const;
/** Any port that is free for IPv4 may be taken for IPv6. */
const ANY_PORT_ATTEMPTS = 16;
const LINGER = { attempts: 20, pauseMs: 100 } as const;

interface HeldPort {
  readonly request: PortRequest;
  readonly hostPort: number;
  readonly target: PortBinding['target'];
  readonly sockets: readonly BoundPort[];
}

/** What the packet filter has to do for a reserved port: nothing (undefined) for IPv6, which is proxied. */
export function publishedPortOf({
  protocol,
  hostIp,
  hostPort,
  containerPort,
}: ReservedPort): PublishedPort | undefined {
  if (isIPv6(hostIp)) return undefined;
  const all = hostIp === '' || hostIp === ALL_IPV4;
  return { protocol, hostPort, containerPort, ...(all ? {} : { hostIp: parseIpv4(hostIp) }) };
}

export class SocketPortReservations implements PortReservations {
  private readonly queue = new KeyedQueue(4096);
  private readonly held = new Map<string, HeldPort[]>();

  constructor(private readonly clock: Clock) {}

  reserve(request: PortRequest): Promise<ReservedPort> {
    return this.queue.run('published ports', async () => {
      checkRequest(request);
      const mine = this.held.get(request.endpointId) ?? [];
      const same = mine.find((held) => sameRequest(held.request, request));
      if (same !== undefined) {
        same.target.locator = request.locator;
        return reservedPort({ ...same, request });
      }
      const held = await this.hold(request);
      this.held.set(request.endpointId, [...mine, held]);
      return reservedPort(held);
    });
  }

  release(endpointId: string): Promise<void> {
    return this.queue.run('published ports', async () => {
      const mine = this.held.get(endpointId) ?? [];
      this.held.delete(endpointId);
      await closeAll(mine.flatMap(({ sockets }) => sockets));
    });
  }

  list(): readonly ReservedPort[] {
    return [...this.held.values()].flat().map(reservedPort);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.held.keys()].map((endpointId) => this.release(endpointId)));
  }

  private async hold(request: PortRequest): Promise<HeldPort> {
    const target = { locator: request.locator, port: request.containerPort };
    for (let port = request.firstPort; port <= request.lastPort; port += 1) {
      try {
        const { hostPort, sockets } = await this.bind(request, port, target);
        return { request, hostPort, target, sockets };
      } catch (error) {
        if (request.firstPort === request.lastPort || !isConflict(error)) throw error;
      }
    }
    const { firstPort, lastPort, protocol } = request;
    throw new DaoliError(
      'exhausted',
      `no port of ${firstPort}-${lastPort}/${protocol} is free on ${shownAddress(request)}`,
      `${firstPort}-${lastPort}`,
    );
  }

  private async bind(request: PortRequest, port: number, target: PortBinding['target']): Promise<Bound> {
    if (request.protocol === 'sctp') return { hostPort: this.freeSctpPort(request, port), sockets: [] };
    if (port !== 0) this.checkOwn(request, port);
    const attempts = port === 0 ? ANY_PORT_ATTEMPTS : request.rebind === true ? LINGER.attempts : 1;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.bindAddresses(request, port, target);
      } catch (error) {
        if (attempt === attempts || codeOf(error) !== 'EADDRINUSE') throw explain(error, request, port);
        if (port !== 0) await new Promise<void>((resolve) => this.clock.after(LINGER.pauseMs, resolve));
      }
    }
  }

  /** Both families where the request names no address. A host without IPv6 does with one. */
  private async bindAddresses(request: PortRequest, port: number, target: PortBinding['target']): Promise<Bound> {
    const sockets: BoundPort[] = [];
    let hostPort = port;
    for (const address of request.hostIp === '' ? [ALL_IPV4, ALL_IPV6] : [request.hostIp]) {
      const binding = { address, port: hostPort, target };
      try {
        const socket = await (request.protocol === 'udp' ? bindUdp(binding, this.clock) : bindTcp(binding));
        sockets.push(socket);
        hostPort = socket.port;
      } catch (error) {
        if (address === ALL_IPV6 && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(codeOf(error) ?? '')) continue;
        await closeAll(sockets);
        throw error;
      }
    }
    return { hostPort, sockets };
  }

  private freeSctpPort(request: PortRequest, port: number): number {
    if (port !== 0) {
      this.checkOwn(request, port);
      return port;
    }
    for (let free: number = SCTP_PORTS.first; free <= SCTP_PORTS.last; free += 1) {
      if (this.ownerOf(request, free) === undefined) return free;
    }
    throw new DaoliError('exhausted', 'no port is free for sctp', 'sctp');
  }

  /** Our own ports are told by their endpoint; the kernel could only say that somebody has it. */
  private checkOwn(request: PortRequest, port: number): void {
    const owner = this.ownerOf(request, port);
    if (owner === undefined) return;
    throw new DaoliError('conflict', `${shown(request, port)} is already published by endpoint ${owner}`, String(port));
  }

  private ownerOf({ protocol, hostIp }: PortRequest, port: number): string | undefined {
    return [...this.held.values()]
      .flat()
      .find(
        ({ request, hostPort }) =>
          request.protocol === protocol && hostPort === port && addressesOverlap(request.hostIp, hostIp),
      )?.request.endpointId;
  }
}

interface Bound {
  readonly hostPort: number;
  readonly sockets: readonly BoundPort[];
}

function reservedPort({ request, hostPort }: HeldPort): ReservedPort {
  const { endpointId, protocol, hostIp, containerPort, locator } = request;
  return { endpointId, protocol, hostIp, hostPort, containerPort, locator };
}

function sameRequest(a: PortRequest, b: PortRequest): boolean {
  return (['protocol', 'hostIp', 'firstPort', 'lastPort', 'containerPort'] as const).every((key) => a[key] === b[key]);
}

function addressesOverlap(a: string, b: string): boolean {
  if (a === b || a === '' || b === '') return true;
  if (isIPv6(a) !== isIPv6(b)) return false;
  return [a, b].some((address) => address === ALL_IPV4 || address === ALL_IPV6);
}

async function closeAll(sockets: readonly BoundPort[]): Promise<void> {
  await Promise.all(sockets.map((socket) => socket.close()));
}

function checkRequest({ hostIp, firstPort, lastPort }: PortRequest): void {
  if (hostIp !== '' && !isIPv4(hostIp) && !isIPv6(hostIp)) {
    throw new DaoliError('invalid', `"${hostIp}" is not an IP address`, hostIp);
  }
  const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65_535;
  if (isPort(firstPort) && isPort(lastPort) && firstPort <= lastPort && (firstPort > 0 || lastPort === 0)) return;
  throw new DaoliError('invalid', `${firstPort}-${lastPort} is not a range of ports`, `${firstPort}-${lastPort}`);
}

const shownAddress = ({ hostIp }: PortRequest): string => (hostIp === '' ? ALL_IPV4 : hostIp);
const shown = (request: PortRequest, port: number): string =>
  `port ${port}/${request.protocol} on ${shownAddress(request)}`;
const isConflict = (error: unknown): boolean => error instanceof DaoliError && error.code === 'conflict';

function explain(error: unknown, request: PortRequest, port: number): DaoliError {
  const of: Partial<Record<string, () => DaoliError>> = {
    EADDRINUSE: () =>
      port === 0
        ? new DaoliError('exhausted', `no ${request.protocol} port is free on ${shownAddress(request)}`, '0')
        : new DaoliError('conflict', `${shown(request, port)} is already in use by another program`, String(port)),
    EADDRNOTAVAIL: () => new DaoliError('invalid', `${request.hostIp} is not an address of this host`, request.hostIp),
  };
  return (
    of[codeOf(error) ?? '']?.() ??
    new DaoliError('internal', `${shown(request, port)} cannot be bound: ${messageOf(error)}`, String(port))
  );
}
