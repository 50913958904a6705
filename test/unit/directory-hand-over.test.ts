// An address on its way from one host to another: who may have it meanwhile, and what is left of it in the end, where DaoliNet's IPAM
// gives it out and where Docker's does.
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { deleteEndpoint, insertEndpoint, releaseAddress } from '../../src/directory/endpoint-operations';
import { handOver, settleHandOver, takeBack, type HandOver } from '../../src/directory/hand-over';
import { insertNetwork, insertPool, poolIdOf } from '../../src/directory/operations';
import type { EndpointId, NetworkId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { AddressCursors, planAddress } from '../../src/ipam/addresses';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const RED = 'a'.repeat(64) as NetworkId;
const CIDR = parseCidr('10.1.0.0/24');
const POOL = poolIdOf('default', CIDR);
const ADDRESS = parseIpv4('10.1.0.5');
const MAC = parseMac('02:42:0a:01:00:05');
const OTHER_MAC = parseMac('02:42:0a:01:00:99');

let h1: MemoryDirectory;
let h2: MemoryDirectory;

const write = (store: MemoryDirectory, make: (context: PlanContext) => Ops) =>
  store.transact((context) => ({ ops: make(context), result: undefined }));
const row = () => h1.view.addressHolder('default', ADDRESS);
const going = (): HandOver => ({ networkId: RED, address: ADDRESS, from: 'h1', to: 'h2', mac: MAC });
const endpointOn = (store: MemoryDirectory) => (store === h1 ? 'c' : 'd').repeat(64) as EndpointId;

/** RequestAddress of `ipam`, and CreateEndpoint. */
async function appear(store: MemoryDirectory, ipam: 'daolinet' | 'docker', mac = MAC): Promise<void> {
  if (ipam === 'daolinet') {
    const request = { poolId: POOL, address: ADDRESS, use: 'endpoint', mac } as const;
    await store.transact((context) => planAddress(context, request, new AddressCursors()));
  }
  const endpoint = { id: endpointOn(store), networkId: RED, address: ADDRESS, mac, interfaceName: 'dl1' };
  await write(store, (context) => insertEndpoint(context, endpoint));
}

/** DeleteEndpoint, and ReleaseAddress. */
async function disappear(store: MemoryDirectory, ipam: 'daolinet' | 'docker'): Promise<void> {
  await write(store, (context) => deleteEndpoint(context, endpointOn(store)));
  if (ipam === 'daolinet') await write(store, (context) => releaseAddress(context, POOL, ADDRESS));
}

describe.each(['daolinet', 'docker'] as const)('a network that was made on h1, with the IPAM of %s', (ipam) => {
  /** On h2 it is DaoliNet's in any case. */
  const onH2 = 'daolinet';
  const before = ipam === 'daolinet' ? ['h1'] : [];

  beforeEach(async () => {
    const database = createMemoryDatabase();
    h1 = createMemoryDirectory({ host: 'h1', database });
    h2 = createMemoryDirectory({ host: 'h2', database });
    const network = { id: RED, tenant: 'default', internal: false, gateway: undefined, mtu: 1500, options: {}, ipam };
    if (ipam === 'daolinet') await write(h1, (c) => insertPool(c, { tenant: 'default', cidr: CIDR }));
    const pools = ipam === 'daolinet' ? { poolIds: [POOL] } : { newPools: [{ cidr: CIDR }] };
    await write(h1, (c) => insertNetwork(c, { ...network, ...pools }));
    await appear(h1, ipam);
  });

  test('it goes, with the MAC address that it has', async () => {
    await write(h1, (c) => handOver(c, going()));
    expect(row()?.holders).toEqual([...before, 'h2']);
    await disappear(h1, ipam);
    expect(row()?.holders).toEqual(['h2']);
    await expect(appear(h2, onH2, OTHER_MAC)).rejects.toThrow('10.1.0.5 is reserved in pool');
    await appear(h2, onH2);
    await write(h1, (c) => settleHandOver(c, going()));
    expect(row()).toMatchObject({ holders: ['h2'], mac: MAC });
  });

  test('or with any, where Docker chooses that', async () => {
    await write(h1, (c) => handOver(c, { ...going(), mac: undefined }));
    await disappear(h1, ipam);
    await appear(h2, onH2, OTHER_MAC);
    expect(row()).toMatchObject({ holders: ['h2'], mac: OTHER_MAC });
  });

  test('or it does not go: before it was free, and after', async () => {
    await write(h1, (c) => handOver(c, going()));
    await write(h1, (c) => takeBack(c, going()));
    expect(row()?.holders).toEqual(before);
    await write(h1, (c) => handOver(c, going()));
    await disappear(h1, ipam);
    await write(h1, (c) => takeBack(c, going()));
    // It starts again with another MAC address, as Docker has it.
    await appear(h1, ipam, OTHER_MAC);
    expect(row()).toMatchObject({ holders: before, mac: OTHER_MAC });
    await write(h1, (c) => takeBack(c, going()));
    expect(row()?.holders).toEqual(before);
  });

  test('what is there is not taken back', async () => {
    await write(h1, (c) => handOver(c, going()));
    await disappear(h1, ipam);
    await appear(h2, onH2);
    await write(h1, (c) => takeBack(c, going()));
    expect(row()?.holders).toEqual(['h2']);
    await expect(write(h1, (c) => handOver(c, going()))).rejects.toThrow('10.1.0.5 is no address of host h1 any more');
  });

  test('back to where it was made, nothing is kept that Docker would not give back', async () => {
    await write(h1, (c) => handOver(c, going()));
    await disappear(h1, ipam);
    await appear(h2, onH2);
    const back = { ...going(), from: 'h2', to: 'h1' };
    await write(h1, (c) => handOver(c, back));
    await disappear(h2, onH2);
    await appear(h1, ipam);
    await write(h1, (c) => settleHandOver(c, back));
    expect(row()?.holders).toEqual(before);
    await disappear(h1, ipam);
    expect(row()).toBeUndefined();
  });
});
