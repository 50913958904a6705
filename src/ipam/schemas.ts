// The bodies of IpamDriver.* as Docker 20.10 to 29 sends them, checked and turned from the wire's spelling into ours.
// Keys that we do not know are let through, as newer versions of Docker add some; a wrong value is refused by its place.

import { z } from 'zod';
import { type Cidr, type Ipv4, type Mac, parseCidr, parseIpv4, parseMac } from '../base/addresses';
import { parsed, parsedUnlessEmpty, parserOf } from '../base/body-schema';
import { DaoliError } from '../base/errors';
import { DEFAULT_TENANT, NETWORK_OPTION, type NetworkId, type PoolId, TENANT_NAME } from '../directory/rows';

/** The one address space: of both scopes, so that a pool has the same id on every node of a swarm. */
export const ADDRESS_SPACE = 'daolinet';

/** The keys and values of Docker's Options maps (moby, daemon/libnetwork/ipamapi and netlabel). */
const REQUEST_TYPE = 'RequestAddressType';
const GATEWAY_TYPE = 'com.docker.network.gateway';
const MAC_OPTION = 'com.docker.network.endpoint.macaddress';
/** Set by a swarm manager, which requests addresses for tasks without a MAC address. */
const SERIAL_OPTION = 'com.docker.network.ipam.serial';
const TENANT_OPTION = 'tenant';

export interface PoolRequest {
  readonly tenant: string;
  /** Undefined: any free one. */
  readonly cidr: Cidr | undefined;
  readonly range: Cidr | undefined;
  /** The network that it is a pool of already: on another host, whose network this host's Docker is to have too. */
  readonly networkId: NetworkId | undefined;
}

export interface AddressRequest {
  readonly poolId: PoolId;
  /** Undefined: any free one. */
  readonly address: Ipv4 | undefined;
  readonly use: 'gateway' | 'auxiliary' | 'endpoint';
  readonly mac: Mac | undefined;
}

const text = z.string({ error: 'is not text' });
const options = z.record(z.string(), text, { error: 'is not an object' }).nullish();
const poolId = text.min(1, 'is empty').transform((id) => id as PoolId);

const REQUEST_POOL = z
  .object({
    AddressSpace: text.nullish(),
    Pool: parsedUnlessEmpty(parseCidr).nullish(),
    SubPool: parsedUnlessEmpty(parseCidr).nullish(),
    Options: options,
  })
  .transform((body): PoolRequest => {
    const space = body.AddressSpace ?? '';
    if (space !== '' && space !== ADDRESS_SPACE) {
      throw new DaoliError('invalid', `there is no address space "${space}": it is "${ADDRESS_SPACE}"`, space);
    }
    const cidr = body.Pool ?? undefined;
    const range = body.SubPool ?? undefined;
    if (range !== undefined && cidr === undefined) {
      throw new DaoliError('invalid', '--ip-range needs a --subnet around it');
    }
    const given = body.Options ?? {};
    const networkId = given[NETWORK_OPTION] as NetworkId | undefined;
    return { tenant: readTenant(given), cidr, range, networkId };
  });

/** Reads what the user gave with --ipam-opt. A mistyped option that is ignored would be found out much later. */
function readTenant(given: Readonly<Record<string, string>>): string {
  const unknown = Object.keys(given).find((name) => name !== TENANT_OPTION && name !== NETWORK_OPTION);
  if (unknown !== undefined) {
    const message = `DaoliNet has no option --ipam-opt ${unknown.slice(0, 100)}; it has ${TENANT_OPTION} (the address space)`;
    throw new DaoliError('invalid', message, unknown);
  }
  const tenant = given[TENANT_OPTION] ?? DEFAULT_TENANT;
  if (TENANT_NAME.test(tenant)) return tenant;
  const expected = 'is not a name of up to 63 letters, digits, "_", "." and "-"';
  throw new DaoliError('invalid', `--ipam-opt ${TENANT_OPTION}=${tenant.slice(0, 100)}: ${expected}`, tenant);
}

const REQUEST_ADDRESS = z
  .object({
    PoolID: poolId,
    Address: parsedUnlessEmpty(parseIpv4).nullish(),
    Options: z
      .looseObject(
        {
          [REQUEST_TYPE]: z.literal(GATEWAY_TYPE, { error: `is not "${GATEWAY_TYPE}"` }).nullish(),
          [MAC_OPTION]: parsedUnlessEmpty(parseMac).nullish(),
        },
        { error: 'is not an object' },
      )
      .nullish(),
  })
  .transform((body): AddressRequest => {
    const given = body.Options ?? {};
    const address = body.Address ?? undefined;
    const mac = given[MAC_OPTION] ?? undefined;
    const isGateway = given[REQUEST_TYPE] === GATEWAY_TYPE;
    // Only for --aux-address does Docker ask for a certain address without saying for what.
    const isAuxiliary = address !== undefined && mac === undefined && !(SERIAL_OPTION in given);
    const use = isGateway ? 'gateway' : isAuxiliary ? 'auxiliary' : 'endpoint';
    return { poolId: body.PoolID, address, use, mac };
  });

const RELEASE_POOL = z.object({ PoolID: poolId }).transform((body) => ({ poolId: body.PoolID }));
const RELEASE_ADDRESS = z
  .object({ PoolID: poolId, Address: parsed(parseIpv4) })
  .transform((body) => ({ poolId: body.PoolID, address: body.Address }));

const parsePoolRequest = parserOf(REQUEST_POOL);

/** By IpamDriver method: body → request. Each throws `invalid`, naming the first wrong field and its value. */
export const parseRequest = {
  /** Throws `unsupported` for IPv6, whose prefixes would otherwise be told to be no IPv4 ones. */
  requestPool(this: void, body: unknown): PoolRequest {
    if ((body as { V6?: unknown } | null | undefined)?.V6 === true) {
      throw new DaoliError(
        'unsupported',
        'IPv6 is not supported yet: create the network without --ipv6 and IPv6 subnets',
      );
    }
    return parsePoolRequest(body);
  },
  releasePool: parserOf(RELEASE_POOL),
  requestAddress: parserOf(REQUEST_ADDRESS),
  releaseAddress: parserOf(RELEASE_ADDRESS),
} as const;
