// Two hosts of one cluster with a few networks and containers, in a directory in memory: what commands that look at things are
// tested with.

import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import * as endpoints from '../../src/directory/endpoint-operations';
import * as networks from '../../src/directory/operations';
import type { EndpointId, EndpointRow, NetworkId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from './memory-directory';

export interface SmallCluster {
  readonly h1: MemoryDirectory;
  readonly h2: MemoryDirectory;
}

export function change(store: MemoryDirectory, make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

/** Docker's id of a network in these tests. */
export const networkIdOf = (name: string) => Buffer.from(name).toString('hex').padEnd(64, '0') as NetworkId;

export async function addNetwork(
  store: MemoryDirectory,
  name: string,
  subnet: string,
  options: { tenant?: string; internal?: boolean } = {},
): Promise<NetworkId> {
  const id = networkIdOf(name);
  const cidr = parseCidr(subnet);
  const gateway = parseIpv4(subnet.replace(/\d+\/.*/, '1'));
  const { tenant = 'default', internal = false } = options;
  const rest = { ipam: 'docker', mtu: 1500, options: {}, newPools: [{ cidr }] } as const;
  await change(store, (context) => networks.insertNetwork(context, { id, tenant, internal, gateway, ...rest }));
  await change(store, (context) => networks.renameNetwork(context, id, name));
  return id;
}

/** A container of one network that runs on the host of `store`; its id is filled up with zeros. */
export async function addContainer(
  store: MemoryDirectory,
  name: string,
  network: string,
  address: string,
  containerId = Buffer.from(`${store.host}${name}`).toString('hex'),
): Promise<EndpointRow> {
  const networkId = networkIdOf(network);
  const last = address.split('.').map(Number);
  const hex = last.map((octet) => octet.toString(16).padStart(2, '0'));
  const id = Buffer.from(`${network}/${name}/${store.host}`).toString('hex').padEnd(64, '0').slice(0, 64) as EndpointId;
  const mac = parseMac(['02', '42', ...hex].join(':'));
  const interfaceName = `dl${hex.join('')}`;
  await change(store, (context) =>
    endpoints.insertEndpoint(context, { id, networkId, address: parseIpv4(address), mac, interfaceName }),
  );
  const joined = { sandbox: '/x', containerId: containerId.padEnd(64, '0').slice(0, 64), containerName: name };
  await change(store, (context) => endpoints.updateEndpoint(context, id, { ...joined, aliases: [] }));
  const row = store.view.endpoint(id);
  if (row === undefined) throw new Error(`${name} is not there`);
  return row;
}

/** Networks `red` and `blue` of one tenant, `green` of another: ann and bob in red, cat in blue, dan in red on h2. */
export async function createSmallCluster(): Promise<SmallCluster> {
  const database = createMemoryDatabase();
  const h1 = createMemoryDirectory({ host: 'h1', database, address: parseIpv4('192.0.2.1') });
  const h2 = createMemoryDirectory({ host: 'h2', database, address: parseIpv4('192.0.2.2') });
  await addNetwork(h1, 'red', '10.1.0.0/24');
  await addNetwork(h1, 'blue', '10.2.0.0/24');
  await addNetwork(h1, 'green', '10.1.0.0/24', { tenant: 'other' });
  await addContainer(h1, 'ann', 'red', '10.1.0.2');
  await addContainer(h1, 'bob', 'red', '10.1.0.3');
  await addContainer(h1, 'cat', 'blue', '10.2.0.2');
  await addContainer(h2, 'dan', 'red', '10.1.0.4');
  return { h1, h2 };
}
