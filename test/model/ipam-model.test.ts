// Random lives of pools, addresses and endpoints, with lost calls, lost answers, restarts and two hosts, against the
// promises of the IPAM: no address is given twice, what is in use stays, and what was released comes back.
import * as fc from 'fast-check';
import { formatIpv4, parseCidr, parseIpv4, type Ipv4, type Mac } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { deleteEndpoint, insertEndpoint } from '../../src/directory/endpoint-operations';
import { deleteNetwork, insertNetwork } from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import { Ipam } from '../../src/ipam/ipam';
import { run } from '../fakes/directory-contract';
import {
  createMemoryDatabase,
  createMemoryDirectory,
  type Accident,
  type MemoryDirectory,
} from '../fakes/memory-directory';

const CIDR = parseCidr('10.1.0.0/28');
const GATEWAY = parseIpv4('10.1.0.1');
const USABLE = 13; // of 16: not the network's, the broadcast and the gateway's address

/** What Docker holds: one container's address, and its endpoint while there is one. */
interface Held {
  readonly host: number;
  readonly tenant: string;
  readonly address: Ipv4;
  readonly mac: Mac;
  endpointId: EndpointId | undefined;
  isReleased: boolean;
}

class World {
  readonly database = createMemoryDatabase();
  readonly directories: MemoryDirectory[] = ['host1', 'host2'].map((host) =>
    createMemoryDirectory({ database: this.database, host, wallClock: () => this.now }),
  );
  ipams = this.directories.map((store) => this.newIpam(store));
  held: Held[] = [];
  now = 1_700_000_000_000;
  private made = 0;

  newIpam(store: MemoryDirectory): Ipam {
    const host = { hostRoutes: () => Promise.resolve([]) };
    return new Ipam({ store, host, defaultPools: parseCidr('10.128.0.0/9'), locatorRange: parseCidr('100.64.0.0/10') });
  }

  next(): number {
    return (this.made += 1);
  }

  /** Both hosts' Dockers hold the pool of each tenant; the first one made the network. */
  async createNetworks(): Promise<void> {
    const [first, second] = this.directories as [MemoryDirectory, MemoryDirectory];
    for (const tenant of ['red', 'blue']) {
      const { poolId } = await this.ipam(0).requestPool({ tenant, cidr: CIDR, range: undefined, networkId: undefined });
      await this.ipam(0).requestAddress({ poolId, address: undefined, use: 'gateway', mac: undefined });
      const id = tenant as NetworkId;
      const network = {
        id,
        tenant,
        internal: false,
        gateway: GATEWAY,
        mtu: 1500,
        options: {},
        ipam: 'daolinet',
      } as const;
      await run(first, (c) => insertNetwork(c, { ...network, poolIds: [poolId] }));
      const host = second.view.host('host2')?.uuid;
      const where = [['_uuid', '==', second.view.pool(poolId)?.uuid]] as const;
      await second.commit([
        { op: 'mutate', table: 'Pool', where, mutations: [['holders', 'insert', [host as string]]] },
      ]);
    }
  }

  ipam(host: number): Ipam {
    return this.ipams[host] as Ipam;
  }

  directory(host: number): MemoryDirectory {
    return this.directories[host] as MemoryDirectory;
  }
}

const poolOf = (tenant: string) => `${tenant}/10.1.0.0/28` as PoolId;
type Step = (world: World) => Promise<void>;

/** Runs what may be refused; a refusal must say what it is. */
async function tolerate(codes: readonly string[], act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof DaoliError) || !codes.includes(error.code)) throw error;
  }
}

async function request(world: World, host: number, tenant: string, asked: Ipv4 | undefined): Promise<void> {
  const mac = world.next() as Mac;
  const wanted = { poolId: poolOf(tenant), address: asked, use: 'endpoint', mac } as const;
  await tolerate(['conflict', 'exhausted', 'invalid'], async () => {
    const { address } = await world.ipam(host).requestAddress(wanted);
    // A reservation that was given up on may be taken over: then Docker has it no more.
    world.held = world.held.filter((one) => one.tenant !== tenant || one.address !== address || one.endpointId);
    const again = await world.ipam(host).requestAddress({ ...wanted, address: undefined });
    expect(again.address).toBe(address);
    world.held.push({ host, tenant, address, mac, endpointId: undefined, isReleased: false });
  });
}

const hosts = fc.nat({ max: 1 });
const tenants = fc.constantFrom('red', 'blue');
const anyone = fc.nat({ max: 30 });
const pick = (world: World, n: number): Held | undefined => world.held[n % Math.max(1, world.held.length)];

const steps: ReadonlyArray<{ weight: number; arbitrary: fc.Arbitrary<Step> }> = [
  {
    weight: 6,
    arbitrary: fc.tuple(hosts, tenants).map(
      ([host, tenant]): Step =>
        (world) =>
          request(world, host, tenant, undefined),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(hosts, tenants, fc.nat({ max: 16 })).map(
      ([host, tenant, n]): Step =>
        (world) =>
          request(world, host, tenant, (CIDR.base + n) as Ipv4),
    ),
  },
  {
    weight: 5, // CreateEndpoint
    arbitrary: anyone.map((n): Step => async (world) => {
      const one = pick(world, n);
      if (one === undefined || one.endpointId !== undefined) return;
      const id = `e${world.next()}` as EndpointId;
      const endpoint = {
        id,
        networkId: one.tenant as NetworkId,
        address: one.address,
        mac: one.mac,
        interfaceName: id,
      };
      await run(world.directory(one.host), (c) => insertEndpoint(c, endpoint));
      one.endpointId = id;
    }),
  },
  {
    weight: 4, // DeleteEndpoint and ReleaseAddress, each of which may be lost
    arbitrary: fc.tuple(anyone, fc.boolean(), fc.boolean()).map(([n, isDeleted, isReleased]): Step => async (world) => {
      const one = pick(world, n);
      if (one === undefined) return;
      const { endpointId } = one;
      if (isDeleted && endpointId) await run(world.directory(one.host), (c) => deleteEndpoint(c, endpointId));
      if (isDeleted) one.endpointId = undefined;
      if (isReleased) await world.ipam(one.host).releaseAddress(poolOf(one.tenant), one.address);
      one.isReleased ||= isReleased;
      if (one.isReleased && one.endpointId === undefined) world.held = world.held.filter((other) => other !== one);
    }),
  },
  {
    weight: 1, // the agent of a host starts anew
    arbitrary: hosts.map((host): Step => (world) => {
      world.directories[host] = createMemoryDirectory({
        database: world.database,
        host: `host${host + 1}`,
        wallClock: () => world.now,
      });
      world.ipams[host] = world.newIpam(world.directory(host));
      return Promise.resolve();
    }),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(hosts, fc.constantFrom<Accident>('lost-before', 'lost-after')).map(
      ([host, accident]): Step =>
        (world) =>
          Promise.resolve(world.directory(host).schedule(accident)),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.nat({ max: 20_000 }).map((ms): Step => (world) => {
      world.now += ms;
      return Promise.resolve();
    }),
  },
];

/** No address twice, none that must not be given, and every one that is in use is in the directory. */
function check(world: World): void {
  const keys = world.held.map(({ tenant, address }) => `${tenant} ${formatIpv4(address)}`);
  expect(new Set(keys).size).toBe(keys.length);
  for (const { tenant, address, endpointId } of world.held) {
    expect(address).toBeGreaterThan(GATEWAY);
    expect(address).toBeLessThan(CIDR.base + 15);
    const { view } = world.directory(0);
    expect(view.addressHolder(tenant, address)).toBeDefined();
    expect(view.endpointAt(tenant, address)?.id).toBe(endpointId);
  }
}

/** Everything is given back, what was lost as well, as the reconciler would. */
async function end(world: World): Promise<void> {
  world.now += 20_000;
  const directory = world.directory(0);
  for (const { id } of [...directory.view.endpoints()]) await run(directory, (c) => deleteEndpoint(c, id));
  for (const tenant of ['red', 'blue']) {
    const poolId = poolOf(tenant);
    for (const { address } of [...directory.view.reservedOf(poolId)]) {
      for (const ipam of world.ipams) await ipam.releaseAddress(poolId, address);
    }
    expect(directory.view.addressCount(poolId)).toBe(1);
    const given = new Set<number>();
    for (let n = 0; n < USABLE; n += 1) {
      const wanted = { poolId, address: undefined, use: 'endpoint', mac: world.next() as Mac } as const;
      given.add((await world.ipam(n % 2).requestAddress(wanted)).address);
    }
    expect(given.size).toBe(USABLE);
    await expect(
      world.ipam(0).requestAddress({ poolId, address: undefined, use: 'endpoint', mac: world.next() as Mac }),
    ).rejects.toMatchObject({ code: 'exhausted' });
    await world.ipam(0).releasePool(poolId);
    await world.ipam(1).releasePool(poolId);
    await run(directory, (c) => deleteNetwork(c, tenant as NetworkId));
  }
  for (const table of ['Tenant', 'Network', 'Pool', 'Address', 'Endpoint']) {
    expect(world.database.table(table).size).toBe(0);
  }
}

test('no address is given twice, what is in use stays, and what was released comes back', async () => {
  const lives = fc.array(fc.oneof(...steps), { minLength: 1, maxLength: 60, size: 'max' });
  await fc.assert(
    fc.asyncProperty(lives, async (life) => {
      const world = new World();
      await world.createNetworks();
      for (const step of life) {
        await step(world);
        check(world);
      }
      await end(world);
    }),
    { numRuns: 60 },
  );
}, 60_000);
