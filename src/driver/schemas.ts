// The bodies of NetworkDriver.* as Docker 20.10 to 29 sends them, checked and turned from the wire's spelling into ours.
// Keys that we do not know are let through, as newer versions of Docker add some; a wrong value is refused by its place.
// Which -o options exist is network-options.ts; what a port map means is port-map.ts.

import { z } from 'zod';
import {
  type Cidr,
  cidrHolds,
  formatCidr,
  type Ipv4,
  type Mac,
  parseCidr,
  parseInterfaceAddress,
  parseMac,
} from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import type { EndpointId, NetworkId } from '../directory/rows';
import { isInterfaceAddress } from './network-pools';

/** The keys of Docker's Options maps (moby, daemon/libnetwork/netlabel). */
const LABEL = {
  generic: 'com.docker.network.generic',
  enableIpv4: 'com.docker.network.enable_ipv4',
  enableIpv6: 'com.docker.network.enable_ipv6',
  internal: 'com.docker.network.internal',
  portMap: 'com.docker.network.portmap',
  mac: 'com.docker.network.endpoint.macaddress',
} as const;

const MAX_POOLS = 64;
const MAX_PORTS = 65_535;

function issueOf(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

/** Text that `parse` understands; what it throws becomes the message. */
function parsed<T>(parse: (text: string) => T) {
  return z.string({ error: 'is not text' }).transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      return issueOf(context, messageOf(error));
    }
  });
}

/** An object whose absence, or Go's null, is an empty one. */
function mapOf<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.preprocess((value) => value ?? {}, z.object(shape, { error: 'is not an object' }));
}

function listOf<T extends z.ZodType>(item: T, max: number) {
  return z.preprocess(
    (value) => value ?? [],
    z.array(item, { error: 'is not a list' }).max(max, `has more than ${max} entries`),
  );
}

const flag = z.boolean({ error: 'is not true or false' }).nullish();
const wholeNumber = (max: number) =>
  z
    .int({ error: `is not a whole number from 0 to ${max}` })
    .min(0, `is not a whole number from 0 to ${max}`)
    .max(max, `is not a whole number from 0 to ${max}`);

const networkId = z
  .string({ error: 'is not a network id' })
  .regex(/^([0-9a-f]{64}|[0-9a-z]{25})$/, 'is not a network id (64 hex digits, or 25 letters and digits in swarm mode)')
  .transform((text) => text as NetworkId);
const endpointId = z
  .string({ error: 'is not an endpoint id' })
  .regex(/^[0-9a-f]{64}$/, 'is not an endpoint id (64 hex digits)')
  .transform((text) => text as EndpointId);

const NETWORK = z.object({ NetworkID: networkId }).transform((body) => ({ networkId: body.NetworkID }));
const ENDPOINT = z
  .object({ NetworkID: networkId, EndpointID: endpointId })
  .transform((body) => ({ networkId: body.NetworkID, endpointId: body.EndpointID }));

/** One entry of IPv4Data. The gateway may carry a prefix length, which must be the pool's. */
const POOL = z
  .object({
    AddressSpace: z.string({ error: 'is not text' }).nullish(),
    Pool: parsed(parseCidr),
    Gateway: parsed(parseInterfaceAddress).nullish(),
    AuxAddresses: z.record(z.string(), parsed(parseInterfaceAddress), { error: 'is not an object' }).nullish(),
  })
  .transform((body, context) => {
    const cidr = body.Pool;
    const gateway = body.Gateway?.address;
    const auxiliary = Object.entries(body.AuxAddresses ?? {}).map(([name, { address }]) => ({ name, address }));
    const refuse = (path: string[], message: string): never => {
      context.addIssue({ code: 'custom', path, message });
      return z.NEVER;
    };
    if (gateway !== undefined && !isInterfaceAddress(cidr, gateway)) {
      return refuse(['Gateway'], `is not an address of an interface in ${formatCidr(cidr)}`);
    }
    for (const { name, address } of auxiliary) {
      if (!cidrHolds(cidr, address)) return refuse(['AuxAddresses', name], `lies outside ${formatCidr(cidr)}`);
      if (address === gateway) return refuse(['AuxAddresses', name], 'is the gateway’s address');
    }
    return { addressSpace: body.AddressSpace ?? '', cidr, gateway, auxiliary };
  });

const CREATE_NETWORK = z
  .object({
    NetworkID: networkId,
    Options: mapOf({
      [LABEL.generic]: z
        .record(z.string(), z.string({ error: 'is not text' }), { error: 'is not an object' })
        .nullish(),
      [LABEL.enableIpv4]: flag,
      [LABEL.enableIpv6]: flag,
      [LABEL.internal]: flag,
    }),
    IPv4Data: listOf(POOL, MAX_POOLS),
    IPv6Data: listOf(z.unknown(), MAX_POOLS),
  })
  .transform((body) => ({
    networkId: body.NetworkID,
    options: body.Options[LABEL.generic] ?? {},
    internal: body.Options[LABEL.internal] ?? false,
    ipv4: body.Options[LABEL.enableIpv4] ?? true,
    ipv6: (body.Options[LABEL.enableIpv6] ?? false) || body.IPv6Data.length > 0,
    pools: body.IPv4Data,
  }));

/** types.PortBinding of libnetwork. HostPort and HostPortEnd of 0 leave the choice to the driver. */
const PORT_BINDING = z
  .object({
    Proto: wholeNumber(255),
    Port: wholeNumber(65_535),
    HostIP: z.string({ error: 'is not text' }).nullish(),
    HostPort: wholeNumber(65_535).nullish(),
    HostPortEnd: wholeNumber(65_535).nullish(),
  })
  .transform((body) => ({
    protocolNumber: body.Proto,
    containerPort: body.Port,
    hostIp: body.HostIP ?? '',
    hostPort: body.HostPort ?? 0,
    hostPortEnd: body.HostPortEnd ?? 0,
  }));

/** Go encodes a []byte as base64. */
function parseBase64Mac(text: string): Mac {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 6) throw new DaoliError('invalid', 'is not base64 of a six-octet MAC address', text);
  return bytes.readUIntBE(0, 6) as Mac;
}

function checkMac(mac: Mac): Mac {
  const first = Math.floor(mac / 2 ** 40);
  if (mac === 0) throw new DaoliError('invalid', 'is the zero MAC address');
  if ((first & 1) === 1) throw new DaoliError('invalid', 'is a multicast MAC address: an interface cannot have it');
  return mac;
}

const unlessEmpty = <T>(parse: (text: string) => T) => parsed((text) => (text === '' ? undefined : parse(text)));

const CREATE_ENDPOINT = z
  .object({
    NetworkID: networkId,
    EndpointID: endpointId,
    Interface: mapOf({
      Address: unlessEmpty(parseInterfaceAddress).nullish(),
      AddressIPv6: z.string({ error: 'is not text' }).nullish(),
      MacAddress: unlessEmpty((text) => checkMac(parseMac(text))).nullish(),
    }),
    Options: mapOf({ [LABEL.mac]: unlessEmpty((text) => checkMac(parseBase64Mac(text))).nullish() }),
  })
  .transform((body) => ({
    networkId: body.NetworkID,
    endpointId: body.EndpointID,
    address: body.Interface.Address ?? undefined,
    hasIpv6: (body.Interface.AddressIPv6 ?? '') !== '',
    /** What Docker has chosen already, and must not be told again. */
    mac: body.Interface.MacAddress ?? undefined,
    wantedMac: body.Options[LABEL.mac] ?? undefined,
  }));

const JOIN = z
  .object({
    NetworkID: networkId,
    EndpointID: endpointId,
    SandboxKey: z.string({ error: 'is not text' }).min(1, 'is empty').max(4096, 'is too long'),
  })
  .transform((body) => ({ networkId: body.NetworkID, endpointId: body.EndpointID, sandbox: body.SandboxKey }));

const PROGRAM = z
  .object({
    NetworkID: networkId,
    EndpointID: endpointId,
    Options: mapOf({ [LABEL.portMap]: listOf(PORT_BINDING, MAX_PORTS) }),
  })
  .transform((body) => ({
    networkId: body.NetworkID,
    endpointId: body.EndpointID,
    portMap: body.Options[LABEL.portMap],
  }));

const ALLOCATE_NETWORK = z
  .object({
    NetworkID: networkId,
    Options: z.record(z.string(), z.string({ error: 'is not text' }), { error: 'is not an object' }).nullish(),
  })
  .transform((body) => ({ networkId: body.NetworkID, options: body.Options ?? {} }));

export type NetworkRequest = z.output<typeof NETWORK>;
export type EndpointRequest = z.output<typeof ENDPOINT>;
export type CreateNetworkRequest = z.output<typeof CREATE_NETWORK>;
export type CreateEndpointRequest = z.output<typeof CREATE_ENDPOINT>;
export type JoinRequest = z.output<typeof JOIN>;
export type ProgramRequest = z.output<typeof PROGRAM>;
export type PortBinding = ProgramRequest['portMap'][number];
/** One pool of a CreateNetwork request. */
export interface RequestedPool {
  readonly addressSpace: string;
  readonly cidr: Cidr;
  readonly gateway: Ipv4 | undefined;
  readonly auxiliary: readonly { readonly name: string; readonly address: Ipv4 }[];
}

/** `IPv4Data[0].Pool`, `Options["com.docker.network.portmap"][0].Proto`. */
function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    if (!/^\w+$/.test(String(key))) return `${text}[${JSON.stringify(String(key))}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], body);
}

function describe(issue: z.core.$ZodIssue, body: unknown): string {
  const value = valueAt(body, issue.path);
  const place = formatPath(issue.path);
  if (place === '') return 'the request is not a JSON object';
  if (value === undefined) return `${place} is missing`;
  const text = JSON.stringify(value);
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  // A parser's message names the text already.
  return issue.message.startsWith('"') ? `${place}: ${issue.message}` : `${place}: ${shown} ${issue.message}`;
}

function parserOf<T>(schema: z.ZodType<T>): (body: unknown) => T {
  return (body) => {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw new DaoliError('invalid', issue === undefined ? 'the request is wrong' : describe(issue, body));
  };
}

/** By NetworkDriver method: body → request. Each throws `invalid`, naming the first wrong field and its value. */
export const parseRequest = {
  allocateNetwork: parserOf(ALLOCATE_NETWORK),
  network: parserOf(NETWORK),
  createNetwork: parserOf(CREATE_NETWORK),
  createEndpoint: parserOf(CREATE_ENDPOINT),
  endpoint: parserOf(ENDPOINT),
  join: parserOf(JOIN),
  program: parserOf(PROGRAM),
} as const;
