// The relays that there are, each with a number of its own as long as it is there.

import type { Ipv4 } from '../base/addresses';
import type { FlowMod } from '../openflow/flow-mod';
import type { FlowHost, FlowRelay, RelayHere } from './model';
import { relayFlows } from './relay-flows';

interface Numbered {
  readonly number: number;
  readonly relay: FlowRelay;
}

export class Relays {
  private lanes = new Map<string, Numbered>();

  /** Replaces all of them. Two of one lane are one mistake: the last one counts. */
  set(relays: Iterable<FlowRelay>): void {
    const lanes = new Map([...relays].map((relay) => [laneOf(relay), relay]));
    const kept = [...this.lanes].filter(([lane]) => lanes.has(lane));
    const taken = new Set(kept.map(([, { number }]) => number));
    const before = this.lanes;
    let next = 0;
    const free = (): number => {
      while (taken.has(next)) next += 1;
      taken.add(next);
      return next;
    };
    this.lanes = new Map(
      [...lanes].map(([lane, relay]) => [lane, { relay, number: before.get(lane)?.number ?? free() }]),
    );
  }

  flows(host: FlowHost): FlowMod[] {
    return [...this.lanes.values()].flatMap(({ relay, number }) => relayFlows(relay, number, host));
  }

  /** The relay from the ports of the host with that own locator to the endpoint here with that locator. */
  here(peer: Ipv4, endpoint: Ipv4): RelayHere | undefined {
    const relay = this.lanes.get(laneKey('here', peer, endpoint))?.relay;
    return relay?.kind === 'here' ? relay : undefined;
  }
}

function laneOf(relay: FlowRelay): string {
  if (relay.kind === 'away') return laneKey('away', 0 as Ipv4, relay.locator);
  return laneKey('here', relay.peer.locator, relay.endpoint.locator);
}

function laneKey(kind: FlowRelay['kind'], peer: Ipv4, endpoint: Ipv4): string {
  return `${kind} ${peer} ${endpoint}`;
}
