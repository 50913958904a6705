// What a controller of a datapath must know of the host around it: what is in the directory, worked out from its rows, and what is
// in none, as text. Every host writes that into its Switch row, for those that stand by for it.

import { z } from 'zod';
import type { Cidr, Mac } from './base/addresses';
import { DaoliError } from './base/errors';
import { dnsAddressOf, hostLocator } from './directory/allocation';
import { reachOf } from './directory/reach';
import type { DirectoryView } from './directory/view';
import { DEFAULT_FLOW_SETTINGS, type FlowHost, type FlowSettings } from './flowctl/model';
import { LAYOUT } from './flowctl/pipeline';

/** What people set; the rest is alike everywhere. */
export type ProfileSettings = Pick<
  FlowSettings,
  'idleTimeoutSeconds' | 'packetInRate' | 'packetInBurst' | 'maxRoutesPerEndpoint'
>;

/** The ports and the datapath, as the host itself has found them. */
export interface OwnFacts {
  readonly hostPort?: FlowHost['hostPort'] | undefined;
  readonly fabric?: FlowHost['fabric'] | undefined;
  readonly kernelDatapath: boolean;
}

export interface FlowProfile extends OwnFacts {
  readonly settings: ProfileSettings;
}

const number = (min: number, max: number) => z.number().int().min(min).max(max);
const mac = number(0, 0xffff_ffff_ffff).transform((value) => value as Mac);
const portNo = number(1, 0xfeff);
const mtu = number(68, 65_535);

/** Hosts of later versions may say more. Where flows mean something else to them, they are not to be served from here. */
const PROFILE = z.object({
  layout: z.literal(Number(LAYOUT)),
  hostPort: z.object({ portNo, mac }).exactOptional(),
  fabric: z.object({ portNo, mtu, isNarrow: z.boolean() }).exactOptional(),
  kernelDatapath: z.boolean(),
  settings: z.object({
    idleTimeoutSeconds: number(1, 65_535),
    packetInRate: number(1, 1_000_000),
    packetInBurst: number(1, 1_000_000),
    maxRoutesPerEndpoint: number(1, DEFAULT_FLOW_SETTINGS.maxRoutesPerDatapath),
  }),
});

export function formatProfile({ hostPort, fabric, kernelDatapath, settings }: FlowProfile): string {
  return JSON.stringify({ layout: Number(LAYOUT), hostPort, fabric, kernelDatapath, settings });
}

/** Throws `invalid` where it is none: another host has written it. */
export function parseProfile(text: string): FlowProfile {
  try {
    const { layout: _, ...profile } = PROFILE.parse(JSON.parse(text));
    return profile;
  } catch (error) {
    throw new DaoliError('invalid', 'what a host says of its datapath cannot be read', undefined, { cause: error });
  }
}

/** What a controller is told of the host; undefined while it has no row, or no locator of its own. */
export function flowHostOf(
  view: Pick<DirectoryView, 'host' | 'hosts' | 'tunnel'>,
  name: string,
  { hostPort, fabric, kernelDatapath, locatorRange }: OwnFacts & { readonly locatorRange: Cidr },
): FlowHost | undefined {
  const row = view.host(name);
  const hostAddress = row && hostLocator(row, locatorRange);
  if (row === undefined || hostAddress === undefined) return undefined;
  const { routerMac, address: serverAddress } = row;
  return {
    routerMac,
    ...(hostPort === undefined ? {} : { hostPort }),
    hostAddress,
    // Only hosts of a cluster have an address, and answer for names.
    ...(serverAddress === undefined ? {} : { serverAddress, dnsAddress: dnsAddressOf(locatorRange) }),
    ...(fabric === undefined ? {} : { fabric }),
    hasTunnels: [...view.hosts()].some((other) => reachOf(view, name, other) === 'tunnel'),
    locatorRange,
    kernelDatapath,
  };
}
