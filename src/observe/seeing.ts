// What this host sees: drops, packets on interfaces, and what would become of others. One object, which the management API asks.

import type { Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { EndpointId, EndpointRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { DropFlow } from '../flowctl/drop-report';
import type { Denial, FlowHost } from '../flowctl/model';
import type { FilterCounts, Host, RunningCapture } from '../host/host';
import type { Vswitchd } from '../switch/vswitchd';
import { openingOf, type ExplainPolicy } from './explain';
import type { TracedTransport } from './packet';
import { predictArrival, predictDeparture, type TraceSite } from './prediction';
import { traceOn, type HostTrace } from './trace';

/** The controller, as far as it is looked at. */
export interface SeenController {
  readonly flowHost: FlowHost | undefined;
  dropFlows(): Promise<DropFlow[]>;
  denials(): readonly Denial[];
}

export interface SeeingParts {
  readonly store: DirectoryStore;
  readonly host: Host;
  /** Undefined until Open vSwitch is there. */
  readonly controller: () => SeenController | undefined;
  readonly vswitchd: Vswitchd;
  readonly bridge: string;
  readonly idleTimeoutSeconds: number;
  readonly explain: ExplainPolicy;
  /** The clock of the controller's denials. */
  readonly now: () => number;
}

export interface SeenDenial extends Omit<Denial, 'lastMs'> {
  readonly secondsAgo: number;
}

export interface SeenDrops {
  readonly flows: readonly DropFlow[];
  readonly denials: readonly SeenDenial[];
  readonly filter: FilterCounts;
}

/** What is to be recorded, of which endpoint. */
export interface WantedCapture {
  readonly filter: string;
  readonly count: number | undefined;
  readonly seconds: number;
}

/** A packet on its way out of the source's host, or into the destination's. */
export interface WantedHalf {
  readonly half: 'departure' | 'arrival';
  readonly source: string;
  /** An endpoint; undefined: whatever has the address, as the source's tenant sees it. */
  readonly destination: string | undefined;
  readonly address: Ipv4 | undefined;
  readonly transport: TracedTransport;
}

export class Seeing {
  constructor(private readonly parts: SeeingParts) {}

  /** Most packets first, the latest denials first. Throws `unavailable` where Open vSwitch is away. */
  async drops(): Promise<SeenDrops> {
    const { host, now } = this.parts;
    const controller = this.controller();
    const [flows, filter] = await Promise.all([controller.dropFlows(), host.firewall.counters()]);
    const denials = controller.denials().map(({ lastMs, ...denial }) => ({
      ...denial,
      secondsAgo: Math.max(0, Math.floor((now() - lastMs) / 1000)),
    }));
    return { flows, denials, filter };
  }

  /** Records what passes an endpoint of this host. Throws `conflict` where it is not here, and what Captures throw. */
  capture(endpoint: EndpointRow, { filter, count, seconds }: WantedCapture): Promise<RunningCapture> {
    const { host, store } = this.parts;
    if (endpoint.host !== store.host) {
      throw new DaoliError('conflict', `endpoint ${endpoint.id} is on host ${endpoint.host}`, endpoint.id);
    }
    const spec = { interfaceName: endpoint.interfaceName, filter, seconds };
    return host.captures.start(count === undefined ? spec : { ...spec, count });
  }

  /**
   * What this host does with a packet that it only imagines. Throws `not-found` where the endpoints are not known here, and
   * `unavailable` where Open vSwitch is away.
   */
  async trace(wanted: WantedHalf): Promise<HostTrace> {
    const { store, explain, vswitchd, bridge } = this.parts;
    const ovs = {
      trace: (flow: string) => vswitchd.trace(bridge, flow),
      traceActions: (flow: string, actions: string) => vswitchd.traceActions(bridge, flow, actions),
    };
    const source = this.endpoint(wanted.source);
    const destination = wanted.destination === undefined ? undefined : this.endpoint(wanted.destination);
    const opening = openingOf(wanted.transport);
    if (wanted.half === 'arrival') {
      if (destination === undefined) throw new DaoliError('invalid', 'an arrival has an endpoint that it is for');
      const explained = explain.between(source, destination, opening);
      const prediction = predictArrival(this.site(), { source, destination }, wanted.transport, explained);
      return traceOn(store.host, ovs, prediction, explained.reason);
    }
    const address = destination?.address ?? wanted.address;
    if (address === undefined) throw new DaoliError('invalid', 'a departure has an address that it is for');
    // What is at that address for the source, whatever was meant.
    const endpoint = store.view.endpointAt(source.tenant, address);
    const explained =
      endpoint === undefined ? explain.outward(source, address, opening) : explain.between(source, endpoint, opening);
    const prediction = predictDeparture(this.site(), source, { address, endpoint }, wanted.transport, explained);
    return traceOn(store.host, ovs, prediction, explained.reason);
  }

  private endpoint(id: string): EndpointRow {
    const { view, host } = this.parts.store;
    const row = view.endpoint(id as EndpointId);
    if (row !== undefined) return row;
    throw new DaoliError('not-found', `host ${host} does not know endpoint ${id.slice(0, 12)}`, id);
  }

  private site(): TraceSite {
    const { store, idleTimeoutSeconds } = this.parts;
    const { flowHost } = this.controller();
    if (flowHost === undefined) throw new DaoliError('unavailable', 'the bridge of this host is not there yet');
    return { view: store.view, flowHost, idleTimeoutSeconds };
  }

  private controller(): SeenController {
    const controller = this.parts.controller();
    if (controller !== undefined) return controller;
    throw new DaoliError('unavailable', 'Open vSwitch is away, or not there yet: try again');
  }
}
