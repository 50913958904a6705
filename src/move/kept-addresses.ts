// The addresses that go along with a container: written in the directory as what the two hosts hold, and looked for there.

import { formatIpv4, formatMac, parseMac, tryParseIpv4, type Ipv4 } from '../base/addresses';
import { isDockers, type HandOver } from '../directory/hand-over';
import type { EndpointRow, NetworkId } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type { MadeContainer, MoveHost, MovingContainer } from './move-host';

export type PlanHandOver = (context: PlanContext, change: HandOver) => Ops;

interface KeptAddress {
  readonly network: string;
  readonly networkId: NetworkId;
  readonly address: Ipv4;
  readonly mac: string | undefined;
}

export class KeptAddresses {
  constructor(private readonly store: Pick<DirectoryStore, 'view' | 'transact'>) {}

  /** The names of the networks in which it keeps its address. */
  networksOf(moving: MovingContainer): string[] {
    return keptOf(moving).map(({ network }) => network);
  }

  /** Those of its addresses that this host has not (yet). */
  notAt(host: string, moving: MovingContainer): string[] {
    return keptOf(moving)
      .filter((kept) => this.endpointOf(kept)?.host !== host)
      .map(({ address }) => formatIpv4(address));
  }

  /** What happens where its host's Docker gives out addresses without asking us: it takes this one for free when it has gone. */
  unknownTo(host: string, moving: MovingContainer): string[] {
    return keptOf(moving)
      .filter(({ networkId }) => isDockers(this.store.view, networkId, host))
      .map(({ network, address }) => {
        const effect = `may refuse a docker run without --ip there, as it does not know that ${formatIpv4(address)} is taken`;
        const remedy = '(networks with --ipam-driver daolinet do not have this)';
        return `Docker of host ${host} gives out the addresses of network ${network} by itself, and ${effect} ${remedy}`;
      });
  }

  /** All of them in one transaction. */
  write(
    { moving, source, target }: { moving: MovingContainer; source: MoveHost; target: MoveHost },
    { networksWithMac }: MadeContainer,
    plan: PlanHandOver,
  ): Promise<void> {
    const changes = keptOf(moving).map(({ network, networkId, address, mac }): HandOver => {
      const isKnown = mac !== undefined && networksWithMac.includes(network);
      return { networkId, address, from: source.name, to: target.name, mac: isKnown ? parseMac(mac) : undefined };
    });
    return this.store.transact((context) => ({
      ops: changes.flatMap((change) => plan(context, change)),
      result: undefined,
    }));
  }

  /** As they are now; of a container that does not run, as it will have them. */
  shown(moving: MovingContainer, isRunning: boolean): { network: string; address: string; mac: string }[] {
    return keptOf(moving).map((kept) => {
      const endpoint = isRunning ? this.endpointOf(kept) : undefined;
      const mac = endpoint === undefined ? (kept.mac ?? '') : formatMac(endpoint.mac);
      return { network: kept.network, address: formatIpv4(kept.address), mac };
    });
  }

  private endpointOf({ networkId, address }: KeptAddress): EndpointRow | undefined {
    const { view } = this.store;
    return view.endpointAt(view.network(networkId)?.tenant ?? '', address);
  }
}

function keptOf({ container, networks }: MovingContainer): KeptAddress[] {
  return container.attachments.flatMap(({ network, address, mac }) => {
    const networkId = networks[network] as NetworkId | undefined;
    const parsed = tryParseIpv4(address ?? '');
    return networkId === undefined || parsed === undefined ? [] : [{ network, networkId, address: parsed, mac }];
  });
}
