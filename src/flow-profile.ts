// What a controller of a datapath must know that is in no row of the directory, as text: the host around the datapath, and the
// settings. Every host writes its own into its Switch row, for those that stand by for it.

import { z } from 'zod';
import type { Ipv4, Mac } from './base/addresses';
import { DaoliError } from './base/errors';
import { DEFAULT_FLOW_SETTINGS, type FlowHost, type FlowSettings } from './flowctl/model';

/** What people set; the rest is alike everywhere. */
export type ProfileSettings = Pick<
  FlowSettings,
  'idleTimeoutSeconds' | 'packetInRate' | 'packetInBurst' | 'maxRoutesPerEndpoint'
>;

export interface FlowProfile {
  readonly host: FlowHost;
  readonly settings: ProfileSettings;
}

const number = (min: number, max: number) => z.number().int().min(min).max(max);
const ipv4 = number(0, 0xffff_ffff).transform((value) => value as Ipv4);
const mac = number(0, 0xffff_ffff_ffff).transform((value) => value as Mac);
const portNo = number(1, 0xfeff);
const mtu = number(68, 65_535);
const isSet = z.boolean();

const PROFILE = z.strictObject({
  host: z.strictObject({
    routerMac: mac,
    hostPort: z.strictObject({ portNo, mac }).exactOptional(),
    hostAddress: ipv4,
    serverAddress: ipv4.exactOptional(),
    fabric: z.strictObject({ portNo, mtu, isNarrow: isSet }).exactOptional(),
    hasTunnels: isSet.exactOptional(),
    dnsAddress: ipv4.exactOptional(),
    locatorRange: z.strictObject({ base: ipv4, prefix: number(10, 32) }),
    kernelDatapath: isSet,
  }),
  settings: z.strictObject({
    idleTimeoutSeconds: number(1, 65_535),
    packetInRate: number(1, 1_000_000),
    packetInBurst: number(1, 1_000_000),
    maxRoutesPerEndpoint: number(1, DEFAULT_FLOW_SETTINGS.maxRoutesPerDatapath),
  }),
});

export function formatProfile(profile: FlowProfile): string {
  return JSON.stringify(profile);
}

/** Throws `invalid` where it is none: another host has written it. */
export function parseProfile(text: string): FlowProfile {
  try {
    return PROFILE.parse(JSON.parse(text));
  } catch (error) {
    throw new DaoliError('invalid', 'what a host says of its datapath cannot be read', undefined, { cause: error });
  }
}
