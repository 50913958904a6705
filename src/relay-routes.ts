// The kernel's routes to endpoints on other hosts that this host's ports lead to: one for each locator, into the datapath. No
// other locator of another host is sent there.

import { cidrHolds, type Cidr, type Ipv4 } from './base/addresses';
import type { Links, RouteSpec } from './host/host';

export interface RelayRoutesParts {
  readonly links: Pick<Links, 'hostRoutes' | 'addRoute' | 'deleteRoute'>;
  readonly device: string;
  readonly locatorRange: Cidr;
}

/** What packets by these routes come from, and how large they may be: the kernel tells clients what is too large. */
export interface RelayWay {
  readonly source: Ipv4;
  readonly mtu: number | undefined;
  /** Locators of this host. */
  readonly isOwn: (locator: Ipv4) => boolean;
}

export class RelayRoutes {
  private wanted: readonly Ipv4[] = [];
  /** Whether there may be routes that are not wanted: of a former set, or of a former agent. */
  private mayHaveStale = true;

  constructor(private readonly parts: RelayRoutesParts) {}

  /** False: they are those already. */
  set(locators: readonly Ipv4[]): boolean {
    const wanted = [...new Set(locators)].sort((a, b) => a - b);
    if (wanted.join() === this.wanted.join()) return false;
    this.wanted = wanted;
    this.mayHaveStale = true;
    return true;
  }

  /** Brings the kernel's routes to what was set. Idempotent. */
  async ensure({ source, mtu, isOwn }: RelayWay): Promise<void> {
    const { links, device, locatorRange } = this.parts;
    if (this.mayHaveStale) {
      for (const { destination, type, ...route } of await links.hostRoutes()) {
        const { base, prefix } = destination;
        const isOurs = route.device === device && type === 'unicast' && prefix === 32 && cidrHolds(locatorRange, base);
        if (isOurs && !isOwn(base) && !this.wanted.includes(base)) await links.deleteRoute(this.routeTo(base));
      }
      this.mayHaveStale = false;
    }
    for (const locator of this.wanted) {
      await links.addRoute({ ...this.routeTo(locator), source, ...(mtu !== undefined && { mtu }) });
    }
  }

  private routeTo(base: Ipv4): RouteSpec {
    return { destination: { base, prefix: 32 }, device: this.parts.device };
  }
}
