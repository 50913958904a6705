// Published ports of endpoints: ProgramExternalConnectivity and Revoke. A port is bound on the host (which is what
// reserves it), written to the directory, and let in by the packet filter, in this order; and taken away the other way
// round. Docker's word for the endpoint that has a container's ports is its gateway; the role may move between them.

import { formatIpv4, type Ipv4, tryParseIpv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { publishPorts, type NewPublishedPort } from '../directory/endpoint-operations';
import type { EndpointId, EndpointRow, PublishedPortRow } from '../directory/rows';
import type { PublishedPort, ReservedPort } from '../host/host';
import { settleAll } from './call-queue';
import type { Deadline } from './deadline';
import { describePortHolder } from './port-holders';
import { keepPublished, type PortWish, type PublishedAt } from './port-map';
import type { DriverParts } from './ports';

const ALL_ADDRESSES = 0 as Ipv4;
const FILTER = 'the packet filter';
const SOCKETS = 'the host';
const DIRECTORY = 'the directory';

/** 0.0.0.0 in the directory is every address of the host. */
function hostIpText(hostIp: Ipv4): string {
  return hostIp === ALL_ADDRESSES ? '' : formatIpv4(hostIp);
}

function publishedAt({ protocol, hostIp, hostPort, containerPort }: PublishedPortRow): PublishedAt {
  return { protocol, hostIp: hostIpText(hostIp), hostPort, containerPort };
}

/** What the directory keeps of a reserved port. Throws `unsupported` for an IPv6 host address. */
function rowOf({ protocol, hostIp, hostPort, containerPort }: Omit<ReservedPort, 'endpointId' | 'locator'>) {
  return { protocol, hostIp: parseHostIp(hostIp), hostPort, containerPort } satisfies NewPublishedPort;
}

function parseHostIp(hostIp: string): Ipv4 {
  const address = hostIp === '' ? ALL_ADDRESSES : tryParseIpv4(hostIp);
  if (address === undefined) {
    const message = `cannot publish on ${hostIp}: IPv6 is not supported yet, name an IPv4 address or none`;
    throw new DaoliError('unsupported', message, hostIp);
  }
  return address;
}

/** What the packet filter is told of a row. */
function filterPortOf({ protocol, hostIp, hostPort, containerPort }: NewPublishedPort): PublishedPort {
  return { protocol, hostPort, containerPort, ...(hostIp === ALL_ADDRESSES ? {} : { hostIp }) };
}

/** Everything that changes something runs in the turn of its endpoint (CallQueue). */
export class Publishing {
  /** Endpoints whose ports the packet filter was told of by this process. */
  private readonly letInIds = new Set<string>();

  constructor(private readonly parts: DriverParts) {}

  /** Whether every published port of the endpoint is bound and let in. */
  isOpen(endpoint: EndpointRow): boolean {
    if (endpoint.publishedPorts.length === 0) return true;
    return this.letInIds.has(endpoint.id) && this.held(endpoint.id).length >= endpoint.publishedPorts.length;
  }

  /**
   * Makes `wishes` the published ports of an endpoint. A repeated request keeps the ports that it got. Throws
   * `conflict` with the owner of a port that is taken; then no port of the endpoint is published.
   */
  async publish(endpoint: EndpointRow, wishes: readonly PortWish[], deadline: Deadline): Promise<void> {
    for (const wish of wishes) parseHostIp(wish.hostIp);
    await this.takeOver(endpoint, deadline);
    const existing = endpoint.publishedPorts.map(publishedAt);
    const kept = keepPublished(wishes, existing);
    if (kept.isKept) return this.restore(endpoint, deadline);
    if (existing.length > 0) await this.withdraw(endpoint, deadline);
    try {
      const reserved = await this.reserve(endpoint, kept.wishes, deadline);
      const rows = reserved.map(rowOf);
      await deadline.wait(DIRECTORY, this.write(endpoint, rows));
      await deadline.wait(FILTER, this.letIn(endpoint, rows));
    } catch (error) {
      // What cannot be undone now, the reconciler finds.
      await this.withdraw(endpoint, deadline).catch(() => undefined);
      throw error;
    }
  }

  /** Takes every published port of an endpoint away. Nothing to do where it has none. */
  async withdraw(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    await this.close(endpoint.id, deadline);
    await deadline.wait(DIRECTORY, this.write(endpoint, []));
  }

  /** Takes the effects of publishing away, and leaves the rows: for an endpoint whose rows are about to go. */
  async close(endpointId: string, deadline: Deadline): Promise<void> {
    const { firewall, ports, store } = this.parts;
    const rows = store.view.endpoint(endpointId as EndpointId)?.publishedPorts ?? [];
    // Most endpoints never had a port: they do not wait in the queue of the packet filter.
    if (rows.length === 0 && !this.letInIds.has(endpointId) && this.held(endpointId).length === 0) return;
    this.letInIds.delete(endpointId);
    await settleAll([
      () => deadline.wait(FILTER, firewall.withdraw(endpointId)),
      () => deadline.wait(SOCKETS, ports.release(endpointId)),
    ]);
  }

  /** Makes what is missing of the effects that the rows ask for, as after a restart. Throws what binding throws. */
  async restore(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    if (this.isOpen(endpoint)) return;
    const held = this.held(endpoint.id);
    for (const row of endpoint.publishedPorts) {
      const { protocol, hostIp, hostPort, containerPort } = publishedAt(row);
      const isHeld = held.some(
        (port) => port.protocol === protocol && port.hostPort === hostPort && port.hostIp === hostIp,
      );
      if (isHeld) continue;
      const range = { firstPort: hostPort, lastPort: hostPort, rebind: true };
      const request = { endpointId: endpoint.id, locator: endpoint.locator, protocol, hostIp, containerPort, ...range };
      await deadline.wait(SOCKETS, this.parts.ports.reserve(request));
    }
    await deadline.wait(FILTER, this.letIn(endpoint, endpoint.publishedPorts));
  }

  /** The endpoints of this host with published ports, as far as they fulfil `condition`. */
  publishing(condition: (endpoint: EndpointRow) => boolean): EndpointRow[] {
    const { view, host } = this.parts.store;
    const endpoints = new Set<EndpointRow>();
    for (const { endpoint } of view.publishedPorts()) {
      if (endpoint.host === host && condition(endpoint)) endpoints.add(endpoint);
    }
    return [...endpoints];
  }

  /** Tells the packet filter of an endpoint's ports again, since its tenant has other pools than before. */
  async refresh(id: EndpointId, deadline: Deadline): Promise<void> {
    const endpoint = this.parts.store.view.endpoint(id);
    if (endpoint === undefined || endpoint.publishedPorts.length === 0) return;
    await deadline.wait(FILTER, this.letIn(endpoint, endpoint.publishedPorts));
  }

  /**
   * Another endpoint of the same container may still have the ports: Docker 29 does not always revoke them. A container
   * has its ports on one endpoint only, so those of the other go.
   */
  private async takeOver(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    const { id, sandbox } = endpoint;
    if (sandbox === undefined) return;
    const others = this.publishing((other) => other.sandbox === sandbox && other.id !== id);
    for (const other of others) await this.withdraw(other, deadline);
  }

  private held(id: string): ReservedPort[] {
    return this.parts.ports.list().filter(({ endpointId }) => endpointId === id);
  }

  private async reserve(endpoint: EndpointRow, wishes: readonly PortWish[], deadline: Deadline) {
    const reserved: ReservedPort[] = [];
    for (const wish of wishes) {
      const request = { ...wish, endpointId: endpoint.id, locator: endpoint.locator };
      try {
        reserved.push(await deadline.wait(SOCKETS, this.parts.ports.reserve(request)));
      } catch (error) {
        throw this.explain(error, wish);
      }
    }
    return reserved;
  }

  /** The host knows endpoints by id; whoever reads the error knows containers by name. */
  private explain(error: unknown, { protocol, firstPort }: PortWish): Error {
    const holder = describePortHolder(this.parts, { protocol, hostPort: firstPort });
    if (error instanceof DaoliError && error.code === 'conflict' && holder !== undefined) {
      const text = `${firstPort}/${protocol}`;
      const message = `host port ${text} ${holder} already: choose another`;
      return new DaoliError('conflict', message, text, { cause: error });
    }
    return error instanceof Error ? error : new Error(String(error));
  }

  private write({ id }: EndpointRow, rows: readonly NewPublishedPort[]): Promise<void> {
    return this.parts.store.transact((context) => {
      if (context.view.endpoint(id) === undefined && rows.length === 0) return { ops: [], result: undefined };
      return { ops: publishPorts(context, id, rows), result: undefined };
    });
  }

  private async letIn({ id, locator, tenant }: EndpointRow, rows: readonly NewPublishedPort[]): Promise<void> {
    const tenantPools = [...this.parts.store.view.poolsOfTenant(tenant)].map((pool) => pool.cidr);
    await this.parts.firewall.publish({ endpointId: id, locator, ports: rows.map(filterPortOf), tenantPools });
    this.letInIds.add(id);
  }
}
