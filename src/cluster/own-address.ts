// This host's own address in its cluster, as the kernel's addresses change (DHCP, another Wi-Fi): whether it is still there, and
// which one takes its place. Pure but for AddressFollower, which looks whenever it is asked to.

import { cidrHolds, formatCidr, formatIpv4, type Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import { RetriedWork } from '../base/retried-work';
import type { DirectoryStore } from '../directory/store';
import type { HostAddress } from '../host/host';
import type { ClusterFacts, Place } from './files';
import { checkAddress, type TunnelFacts } from './sites';

/** Another interface may be followed only so long after the address has gone: the same one may be getting its next. */
export const SETTLE_MS = 5_000;

type Standing = Pick<ClusterFacts, 'address' | 'place'>;

/** Where an address is; undefined where it is on no interface. */
export function placeOf(address: Ipv4, there: readonly HostAddress[]): Place | undefined {
  const found = there.find((each) => each.address === address);
  return found && { network: found.network, device: found.device, isUplink: found.isUplink };
}

/**
 * Whether the address is of another network than the one that this host came into the cluster with. Then it shares no L2 with its
 * site, as far as anybody knows.
 */
export function isElsewhere({ address, place }: Standing): boolean {
  return place !== undefined && !cidrHolds(place.network, address);
}

/** What this host is to tell of its tunnel: away from the network of its site, that it shares no L2 with that. */
export function toldTunnel(facts: ClusterFacts): TunnelFacts {
  return { ...facts.tunnel, ...(isElsewhere(facts) && { l2: 'no' }) };
}

/**
 * The address that is to take the place of a host's own; undefined where it stays as it is, or there is none yet. First those of
 * the network that it came with, then others on the interface that it had then. Where that was the one with the default route,
 * whatever has it now is followed, too, once it `isSettled`. Where it is not known in which network it was, nothing is followed.
 */
export function nextAddress(
  { address, place }: Standing,
  there: readonly HostAddress[],
  isSettled: boolean,
): Ipv4 | undefined {
  const isThere = there.some((each) => each.address === address);
  if (isThere && !isElsewhere({ address, place })) return undefined;
  // Nobody could tell whether another one is elsewhere, and the fabric would be there on a foreign L2.
  if (place === undefined) return undefined;
  const followed = there.filter(({ device, isUplink }) => device === place.device || (place.isUplink && isUplink));
  const ofNetwork = followed.find((each) => cidrHolds(place.network, each.address));
  if (ofNetwork !== undefined) return ofNetwork.address;
  if (isThere) return undefined;
  const sameDevice = followed.find(({ device }) => device === place.device);
  return (sameDevice ?? (isSettled ? followed.find(({ isUplink }) => isUplink) : undefined))?.address;
}

export interface AddressFollowerParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  /** Undefined where this host is in no cluster. */
  readonly facts: () => ClusterFacts | undefined;
  readonly addresses: () => Promise<readonly HostAddress[]>;
  /** It has been found, or has changed. */
  readonly note: (standing: Standing) => void;
  readonly logger: Logger;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class AddressFollower {
  private readonly looking: RetriedWork;
  /** When the address was found to be gone; undefined while it is there. */
  private goneSince: number | undefined;
  /** What keeps this host from following; '' where nothing does. */
  problem = '';

  constructor(private readonly parts: AddressFollowerParts) {
    const { clock, random, logger } = parts;
    this.looking = new RetriedWork({
      clock,
      random,
      work: () => this.follow(),
      onProblem: (problem) => {
        this.problem = problem;
        logger.error('other hosts cannot be told of this host’s address', { error: problem });
      },
      onMended: () => (this.problem = ''),
    });
  }

  /** Resolves when it has been looked at. */
  look(): Promise<void> {
    this.looking.ask();
    return this.looking.idle();
  }

  /** For good. Idempotent. */
  stop(): void {
    this.looking.stop();
  }

  private async follow(): Promise<void> {
    const { facts: read, addresses, note, store, clock } = this.parts;
    const there = await addresses();
    const facts = read();
    if (facts === undefined) return;
    const { address, site } = facts;
    const place = placeOf(address, there);
    const now = clock.now();
    this.goneSince = place === undefined ? (this.goneSince ?? now) : undefined;
    if (facts.place === undefined && place !== undefined) return note({ address, place });
    const next = nextAddress(facts, there, now - (this.goneSince ?? now) >= SETTLE_MS);
    if (next === undefined) {
      if (place !== undefined) return;
      const text = formatIpv4(address);
      const remedy = 'in which network it was is not known: give it that address back, or let it leave and join anew';
      const why = facts.place === undefined ? remedy : 'no other has come yet';
      throw new DaoliError('not-found', `its address ${text} is on no interface, and ${why}`, text);
    }
    checkAddress(store.view, { name: store.host, site, address: next });
    this.goneSince = undefined;
    note({ address: next, place: facts.place });
    this.report(facts, next);
  }

  private report(before: ClusterFacts, address: Ipv4): void {
    const { logger } = this.parts;
    logger.warn('this host has another address', { before: formatIpv4(before.address), address: formatIpv4(address) });
    const { place, authority, servers } = before;
    if (place !== undefined && isElsewhere({ address, place })) {
      const network = formatCidr(place.network);
      logger.warn('it is outside of the network of its site: what it sends others of the site is encrypted', {
        network,
      });
    }
    if (authority.key !== undefined && servers.length === 1) logger.warn(lonelyServer(before.address));
  }
}

/** What is to be done where a server is not found any more. */
export function lonelyServer(before: Ipv4): string {
  const text = formatIpv4(before);
  return `this host alone serves the directory, and the others look for it at ${text}: give it that address back, beside the new one, or let them leave and join anew`;
}
