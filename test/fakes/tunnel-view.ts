// A directory of hosts and tunnels alone, as plain objects: what plans of tunnels are tested with.

import { parseAddressPort } from '../../src/base/address-port';
import { parseCidr, parseIpv4, type Mac } from '../../src/base/addresses';
import type { HostRow, NoL2, TunnelRow } from '../../src/directory/rows';
import type { Uuid } from '../../src/ovsdb/notation';
import type { LinkView } from '../../src/tunnel/links';

export interface HostSpec {
  readonly name: string;
  readonly site?: string;
  /** Default: the nth host has 192.0.2.n. */
  readonly address?: string;
  /** Where other sites reach it; without one it is behind NAT. */
  readonly endpoint?: string;
  readonly isHub?: boolean;
  readonly isServer?: boolean;
  readonly encrypts?: boolean;
  readonly noL2?: NoL2;
  /** Hubs that it does not hear. */
  readonly unheard?: readonly string[];
  /** Default: the nth host has 100.64.n.0/24. */
  readonly blocks?: readonly string[];
  readonly key?: string;
  /** False: it has told nothing of its tunnel. */
  readonly hasTunnel?: boolean;
}

/** A key that is none, but looks like one, and names its host. */
export function keyOf(name: string): string {
  return `${Buffer.from(name).toString('hex')}`.padEnd(42, '0').slice(-42) + 'A=';
}

export function tunnelView(specs: readonly HostSpec[]): LinkView {
  const hosts = new Map(specs.map((spec, index) => [spec.name, hostRow(spec, index + 1)]));
  const tunnels = new Map(
    specs.filter(({ hasTunnel }) => hasTunnel !== false).map((spec) => [spec.name, tunnelRow(spec)]),
  );
  return {
    host: (name) => hosts.get(name),
    hosts: () => hosts.values(),
    tunnel: (name) => tunnels.get(name),
    tunnels: () => tunnels.values(),
  };
}

function hostRow(spec: HostSpec, number: number): HostRow {
  const blocks = spec.blocks ?? [`100.${64 + (number >> 8)}.${number & 255}.0/24`];
  return {
    uuid: `host-${spec.name}` as Uuid,
    name: spec.name,
    routerMac: number as Mac,
    datapathId: number.toString(16).padStart(16, '0'),
    address: parseIpv4(spec.address ?? `192.0.${2 + (number >> 8)}.${number & 255}`),
    certificates: [],
    isServer: spec.isServer === true,
    site: spec.site ?? 'default',
    isHub: spec.isHub === true,
    encrypts: spec.encrypts === true,
    version: undefined,
    locatorBlocks: blocks.map((text, index) => ({ ...parseCidr(text), uuid: `${spec.name}-${index}` as Uuid })),
  };
}

function tunnelRow(spec: HostSpec): TunnelRow {
  return {
    uuid: `tunnel-${spec.name}` as Uuid,
    host: spec.name,
    key: spec.key ?? keyOf(spec.name),
    port: 7471,
    endpoint: spec.endpoint === undefined ? undefined : parseAddressPort(spec.endpoint),
    noL2: spec.noL2 ?? false,
    unheard: spec.unheard ?? [],
  };
}
