// Which options `docker network create -o` has with this driver, and what they mean. Anything else is refused by name,
// because a mistyped option that is silently ignored would be found out much later.

import { DaoliError } from '../base/errors';
import { NETWORK_OPTION, type NetworkId, TENANT_NAME } from '../directory/rows';

export interface NetworkOptions {
  /** Undefined: the pool's tenant. */
  readonly tenant: string | undefined;
  /** Undefined: the agent's setting. */
  readonly mtu: number | undefined;
  /** The network of another host that this one is; undefined for one of its own. */
  readonly networkId: NetworkId | undefined;
}

interface Option {
  readonly name: string;
  /** Shown where a wrong option is refused. */
  readonly meaning: string;
}

const TENANT: Option = { name: 'tenant', meaning: 'the address space, as in --ipam-opt tenant' };
const MTU: Option = { name: 'mtu', meaning: 'bytes, 576 to 65535' };
const PREFIX: Option = {
  name: 'com.docker.network.container_iface_prefix',
  meaning: 'of interface names, default eth',
};
/** Docker's name for the same thing with its own drivers. */
const MTU_ALIAS = 'com.docker.network.driver.mtu';
/** Docker passes these on, and acts on them by itself. */
const DOCKERS_OWN: ReadonlySet<string> = new Set([
  'com.docker.network.enable_ipv4',
  'com.docker.network.enable_ipv6',
  'com.docker.network.advertise_addr_nmsgs',
  'com.docker.network.advertise_addr_ms',
]);

const MIN_MTU = 576; // RFC 791: what every host must be able to take
const MAX_MTU = 65_535;
/** IFNAMSIZ leaves 15 characters, and Docker adds a number. */
const PREFIX_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,9}$/;

function refuse(name: string, value: string, expected: string): never {
  throw new DaoliError('invalid', `-o ${name}=${value}: ${expected}`, name);
}

function parseMtu(name: string, value: string): number {
  const mtu = /^\d{1,6}$/.test(value) ? Number(value) : NaN;
  if (!(mtu >= MIN_MTU && mtu <= MAX_MTU)) refuse(name, value, `is not an MTU from ${MIN_MTU} to ${MAX_MTU} bytes`);
  return mtu;
}

function readMtu(options: ReadonlyMap<string, string>): number | undefined {
  const given = [MTU.name, MTU_ALIAS].flatMap((name) => {
    const value = options.get(name);
    return value === undefined ? [] : [{ name, value, mtu: parseMtu(name, value) }];
  });
  const [first, second] = given;
  if (first !== undefined && second !== undefined && first.mtu !== second.mtu) {
    refuse(second.name, second.value, `differs from -o ${first.name}=${first.value}: give one of them`);
  }
  return first?.mtu;
}

/**
 * Reads what the user gave with -o. Throws `invalid`, naming the option and, where it does not exist, all that do.
 */
export function readNetworkOptions(given: Readonly<Record<string, string>>): NetworkOptions {
  const options = new Map(Object.entries(given));
  for (const name of options.keys()) {
    if ([TENANT.name, MTU.name, PREFIX.name, MTU_ALIAS, NETWORK_OPTION].includes(name)) continue;
    if (DOCKERS_OWN.has(name)) continue;
    const known = [TENANT, MTU, PREFIX].map((option) => `${option.name} (${option.meaning})`).join(', ');
    throw new DaoliError('invalid', `DaoliNet has no option -o ${name.slice(0, 100)}; it has ${known}`, name);
  }
  const tenant = options.get(TENANT.name);
  if (tenant !== undefined && !TENANT_NAME.test(tenant)) {
    refuse(TENANT.name, tenant.slice(0, 100), 'is not a name of up to 63 letters, digits, "_", "." and "-"');
  }
  const interfacePrefix = interfacePrefixOf(given);
  if (!PREFIX_NAME.test(interfacePrefix)) {
    refuse(PREFIX.name, interfacePrefix.slice(0, 100), 'is not a prefix of up to 10 letters, digits, "_" and "-"');
  }
  return { tenant, mtu: readMtu(options), networkId: options.get(NETWORK_OPTION) as NetworkId | undefined };
}

/** The container's interfaces are called this and a number. */
export function interfacePrefixOf(options: Readonly<Record<string, string>>): string {
  return options[PREFIX.name] ?? 'eth';
}
