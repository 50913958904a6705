// A network of Docker's swarm mode over the hosts of a cluster: which hosts it needs, and what is written of it. Pure;
// swarm-networks.ts acts.

import { cidrHolds, formatCidr, formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { insertNetwork } from '../directory/operations';
import { DEFAULT_TENANT, NETWORK_OPTION, type HostRow, type NetworkId, type NetworkRow } from '../directory/rows';
import type { Ops, PlanContext } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import type { SwarmNode, SwarmState } from '../docker/swarm';
import { checkPool, interfaceAddresses, nextDefaultPool, type DefaultPools } from '../ipam/pools';
import { readNetworkOptions } from './network-options';

/** What the user asks for. */
export interface WantedSwarmNetwork {
  readonly name: string;
  /** Undefined: any free one. */
  readonly subnet: Cidr | undefined;
  /** Undefined: the first address of the subnet. */
  readonly gateway: Ipv4 | undefined;
  readonly internal: boolean;
  /** Whether `docker run --network` may use it, and not services alone. */
  readonly attachable: boolean;
  /** As with `docker network create -o`. */
  readonly options: Readonly<Record<string, string>>;
}

/** Docker's own rule (moby, daemon/names). */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** Throws `invalid` for what could never be, and `conflict` for a name that the cluster has for something else. */
export function checkWanted(view: DirectoryView, wanted: WantedSwarmNetwork): void {
  const { name, options } = wanted;
  if (!NAME.test(name)) {
    throw new DaoliError(
      'invalid',
      `"${name.slice(0, 100)}" is no name of a network: letters, digits, "_", "." and "-"`,
    );
  }
  readNetworkOptions(options);
  if (NETWORK_OPTION in options)
    throw new DaoliError('invalid', `-o ${NETWORK_OPTION} is for agents of DaoliNet alone`);
  const other = [...view.networks()].find((network) => network.name === name);
  if (other === undefined) return;
  const what = other.isRemoved
    ? 'is being removed, and a host has it still: wait until nothing uses it there'
    : 'is there already: choose another name, or remove it';
  throw new DaoliError('conflict', `network ${other.name} ${what}`, name);
}

/**
 * A name for what each host has of a network. It is another each time: an engine may keep that of a network which was
 * removed (see Replicator). `random` is 0 (included) to 1 (excluded).
 */
export function nameConfiguration(name: string, random: number): string {
  const suffix = Math.floor(random * 0x10000);
  return `${name}-config-${suffix.toString(16).padStart(4, '0')}`;
}

/** The swarm whose manager this host is. Throws `conflict`, saying where to go. */
export function managedSwarm({ isNode, managed, managers }: SwarmState): string {
  if (managed !== undefined) return managed;
  if (!isNode) {
    throw new DaoliError('conflict', 'Docker of this host is in no swarm: `docker swarm init` begins one');
  }
  const where = managers.length === 0 ? '' : ` (${managers.join(', ')})`;
  throw new DaoliError('conflict', `this host is no manager of its swarm: run it on one that is${where}`);
}

/**
 * The hosts that a network of these nodes needs, those first whose Docker is in touch. A node where no task is placed needs
 * none. Throws `conflict` for a node that is no host of the cluster.
 */
export function hostsOfNodes(
  view: DirectoryView,
  nodes: readonly SwarmNode[],
): { readonly ready: readonly string[]; readonly away: readonly string[] } {
  const used = nodes.filter(({ isDrained }) => !isDrained).map((node) => ({ node, host: hostOf(view, node) }));
  const strangers = used.filter(({ host }) => host === undefined).map(({ node }) => `${node.name} (${node.address})`);
  if (strangers.length > 0) {
    const [what, remedy] = ['no host of this DaoliNet cluster', 'let it join (`daolictl cluster token`), or drain it'];
    throw new DaoliError('conflict', `swarm node ${strangers.join(', ')} is ${what}: ${remedy}`);
  }
  const namesOf = (isReady: boolean) =>
    [...new Set(used.filter(({ node }) => node.isReady === isReady).map(({ host }) => host?.name ?? ''))].sort();
  return { ready: namesOf(true), away: namesOf(false) };
}

/** By address, which is one host's alone; a node with several may be known to its swarm by another than to the cluster. */
function hostOf(view: DirectoryView, { name, address }: SwarmNode): HostRow | undefined {
  const hosts = [...view.hosts()];
  const isThere = (host: HostRow): boolean => host.address !== undefined && formatIpv4(host.address) === address;
  return hosts.find(isThere) ?? hosts.find((host) => host.name === name);
}

export interface SwarmNetworkRow {
  /** Swarm's id of the network. */
  readonly id: NetworkId;
  readonly swarmId: string;
  readonly configuration: string;
  readonly mtu: number;
  readonly defaults: DefaultPools;
}

/** Writes the network down; each host then makes its configuration. Throws as IPAM and driver do for other networks. */
export function planSwarmNetwork(context: PlanContext, wanted: WantedSwarmNetwork, row: SwarmNetworkRow): Ops {
  checkWanted(context.view, wanted);
  const { name, options, internal } = wanted;
  const { tenant = DEFAULT_TENANT, mtu = row.mtu } = readNetworkOptions(options);
  const cidr = wanted.subnet ?? nextDefaultPool(context, tenant, row.defaults);
  checkPool(cidr, undefined, row.defaults.locators);
  const gateway = wanted.gateway ?? interfaceAddresses(cidr).first;
  checkGateway(cidr, gateway);
  const { id, swarmId, configuration } = row;
  const network = { id, tenant, internal, gateway, ipam: 'daolinet', mtu, options } as const;
  return insertNetwork(context, { ...network, newPools: [{ cidr }], swarm: { id: swarmId, name, configuration } });
}

function checkGateway(cidr: Cidr, gateway: Ipv4): void {
  const { first, last } = interfaceAddresses(cidr);
  if (gateway >= first && gateway <= last) return;
  const text = formatIpv4(gateway);
  const where = cidrHolds(cidr, gateway) ? 'the first or last address of' : 'not in';
  throw new DaoliError('invalid', `--gateway ${text} is ${where} ${formatCidr(cidr)}`, text);
}

/** What stands in the way on hosts that the network waits for, in their words; undefined where nothing does. */
export function problemsOn(network: NetworkRow, hosts: readonly string[]): string | undefined {
  const told = hosts.flatMap((host) => {
    const problem = network.problems.get(host);
    return problem === undefined ? [] : [`host ${host} says: ${problem}`];
  });
  return told.length === 0 ? undefined : told.join('; ');
}
