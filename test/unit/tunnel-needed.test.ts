// Whom a host has to do with: by its containers, by rules, and because it is a server; and that it goes both ways.
import * as fc from 'fast-check';
import { parseIpv4 } from '../../src/base/addresses';
import {
  addMember,
  deletePolicy,
  insertFirewallRule,
  insertGroup,
  insertPolicy,
  setPair,
} from '../../src/directory/control-operations';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointRow } from '../../src/directory/rows';
import { planOwnMaster, planSwitch, planTakeover } from '../../src/directory/switch-operations';
import { isRow, update } from '../../src/ovsdb/operations';
import { NeededHosts } from '../../src/tunnel/needed';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';
import { addContainer, addNetwork, change, networkIdOf } from '../fakes/small-cluster';

const NAMES = ['h1', 'h2', 'h3', 'h4'];

class World {
  readonly stores: readonly MemoryDirectory[];
  private readonly needed: readonly NeededHosts[];
  /** Whether the hosts were told that something may be different. */
  readonly told: string[] = [];

  constructor() {
    const database = createMemoryDatabase();
    this.stores = NAMES.map((host) => createMemoryDirectory({ host, database }));
    this.needed = this.stores.map((store) => new NeededHosts(store.view, store.host));
    for (const [index, store] of this.stores.entries()) {
      store.onChange((changes) => {
        if (this.needed[index]!.take(changes)) this.told.push(store.host);
      });
    }
  }

  store(name: string): MemoryDirectory {
    return this.stores[NAMES.indexOf(name)]!;
  }

  of(name: string): string {
    return [...this.needed[NAMES.indexOf(name)]!.hosts()].sort().join();
  }

  /** What each host needs, also when it finds it out from nothing. */
  all(): string[] {
    return NAMES.map((name) => {
      const fresh = [...new NeededHosts(this.store(name).view, name).hosts()].sort().join();
      expect(this.of(name)).toBe(fresh);
      return fresh;
    });
  }
}

let world: World;
let h1: MemoryDirectory;
beforeEach(async () => {
  world = new World();
  h1 = world.store('h1');
  await addNetwork(h1, 'red', '10.1.0.0/24');
  await addNetwork(h1, 'blue', '10.2.0.0/24');
  await addNetwork(h1, 'green', '10.1.0.0/24', { tenant: 'other' });
});

test('nobody, as long as there are no containers', () => {
  expect(world.all()).toEqual(['', '', '', '']);
});

test('the hosts of containers in the same network, until the last one is gone', async () => {
  const ann = await addContainer(h1, 'ann', 'red', '10.1.0.2');
  await addContainer(world.store('h2'), 'bob', 'red', '10.1.0.3');
  await addContainer(world.store('h3'), 'cat', 'blue', '10.2.0.4');
  await addContainer(world.store('h4'), 'dan', 'green', '10.1.0.5');
  expect(world.all()).toEqual(['h2', 'h1', '', '']);
  world.told.length = 0;
  const second = await addContainer(h1, 'eve', 'red', '10.1.0.6');
  await change(h1, (context) => deleteEndpoint(context, ann.id));
  expect(world.told).toEqual([]);
  expect(world.of('h2')).toBe('h1');
  await change(h1, (context) => deleteEndpoint(context, second.id));
  expect(world.told).toContain('h2');
  expect(world.all()).toEqual(['', '', '', '']);
});

test('the hosts of networks that a group connects, and of those that a pair or a policy may', async () => {
  await addContainer(h1, 'ann', 'red', '10.1.0.2');
  await addContainer(world.store('h2'), 'bob', 'blue', '10.2.0.3');
  expect(world.all()).toEqual(['', '', '', '']);
  await change(h1, (context) => insertGroup(context, 'g'));
  for (const name of ['red', 'blue']) {
    await change(h1, (context) => {
      const [group, network] = [context.view.group('g')!, context.view.network(networkIdOf(name))!];
      return addMember(context, group, network);
    });
  }
  expect(world.all()).toEqual(['h2', 'h1', '', '']);
  await addContainer(world.store('h4'), 'dan', 'green', '10.1.0.5');
  await change(h1, (context) => setPair(context, 'container:ann', 'container:dan', true));
  // They are of two tenants.
  expect(world.all()).toEqual(['h2', 'h1', '', '']);
});

test('whoever has a port that leads to a container, and whoever has that container', async () => {
  const rule = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), containerPort: 80, from: [] } as const;
  await addContainer(h1, 'web', 'red', '10.1.0.2');
  await change(h1, (context) =>
    insertFirewallRule(context, { ...rule, name: 'a', host: 'h3', hostPort: 80, container: 'container:web' }),
  );
  await change(h1, (context) =>
    insertFirewallRule(context, { ...rule, name: 'b', host: 'h4', hostPort: 80, container: 'container:h2/web' }),
  );
  expect(world.all()).toEqual(['h3', '', 'h1', '']);
});

test('servers, which need everybody', async () => {
  await change(h1, ({ view }) => [update('Host', isRow(view.host('h2')!.uuid), { is_server: true })]);
  expect(world.all()).toEqual(['h2', 'h1,h3,h4', 'h2', 'h2']);
});

test('hosts that stand by for one another, or for the same one, whoever of them is in charge', async () => {
  const h3 = world.store('h3');
  const standBy = (...backups: string[]) =>
    change(h3, (context) => planSwitch(context, { generation: 1, backups, profile: '' }));
  await standBy('h1', 'h2');
  expect(world.all()).toEqual(['h2,h3', 'h1,h3', 'h1,h2', '']);
  world.told.length = 0;
  await change(h1, (context) => planTakeover(context, 'h3', 1));
  await change(h3, (context) => planOwnMaster(context, 3));
  expect(world.told).toEqual([]);
  await standBy('h1', 'h4');
  expect([...new Set(world.told)].sort()).toEqual(NAMES);
  expect(world.all()).toEqual(['h3,h4', '', 'h1,h4', 'h1,h3']);
});

test('whoever needs another is needed by it, whatever there is', async () => {
  const networks = ['red', 'blue', 'green'] as const;
  const selectors = ['any', 'network:red', 'network:blue', 'group:g', 'container:c1', 'label:a=b'];
  const selector = fc.constantFrom(...selectors);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ host: fc.constantFrom(...NAMES), network: fc.constantFrom(...networks) }) },
    fc.record({ gone: fc.nat({ max: 20 }) }),
    fc.record({ from: selector, to: selector }),
    fc.record({ a: fc.constantFrom('container:c1', 'container:c3'), b: fc.constant('container:c2') }),
    fc.record({ member: fc.constantFrom('red', 'blue') }),
    fc.record({ port: fc.constantFrom(...NAMES), container: fc.constantFrom('c1', 'c2', 'c3') }),
    fc.constant({ noPolicy: true }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const world = new World();
      const first = world.store('h1');
      const there: EndpointRow[] = [];
      await addNetwork(first, 'red', '10.1.0.0/24');
      await addNetwork(first, 'blue', '10.2.0.0/24');
      await addNetwork(first, 'green', '10.1.0.0/24', { tenant: 'other' });
      await change(first, (context) => insertGroup(context, 'g'));
      for (const [at, each] of steps.entries()) {
        if ('host' in each) {
          const address = `10.${each.network === 'blue' ? 2 : 1}.0.${at + 2}`;
          const [name, networkId] = [`c${at % 4}`, networkIdOf(each.network)];
          // A container is in a network once.
          const isSame = (row: EndpointRow) => row.containerName === name && row.networkId === networkId;
          if (there.some((row) => row.host === each.host && isSame(row))) continue;
          there.push(await addContainer(world.store(each.host), name, each.network, address));
        } else if ('gone' in each) {
          const [row] = there.splice(each.gone, 1);
          if (row !== undefined) await change(world.store(row.host), (context) => deleteEndpoint(context, row.id));
        } else if ('from' in each) {
          const policy = { name: `p${at}`, action: 'allow', protocol: undefined, ports: [], ...each } as const;
          await change(first, (context) => insertPolicy(context, policy, undefined));
        } else if ('a' in each) {
          await change(first, (context) => setPair(context, each.a, each.b, true));
        } else if ('member' in each) {
          await change(first, (context) => {
            const [group, network] = [context.view.group('g')!, context.view.network(networkIdOf(each.member))!];
            return group.networkIds.includes(network.id) ? [] : addMember(context, group, network);
          });
        } else if ('port' in each) {
          const rule = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: at + 1, containerPort: 80 } as const;
          const { port: host, container } = each;
          await change(first, (context) =>
            insertFirewallRule(context, {
              ...rule,
              name: `r${at}`,
              host,
              container: `container:${container}`,
              from: [],
            }),
          );
        } else {
          await change(first, ({ view }) => view.policies().slice(0, 1).flatMap(deletePolicy));
        }
      }
      const all = world.all().map((names) => names.split(','));
      for (const [at, name] of NAMES.entries()) {
        for (const [other, names] of all.entries()) {
          expect([name, NAMES[other], names.includes(name)]).toEqual([
            name,
            NAMES[other],
            all[at]!.includes(NAMES[other]!),
          ]);
        }
      }
    }),
    { numRuns: 40 },
  );
});
