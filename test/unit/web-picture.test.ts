// What of the agent's stream becomes which things on the page.
import type { ShownEndpoint } from '../../src/api/operations/networks';
import type { Sight } from '../../src/api/operations/watch';
import { Colours } from '../../src/web/colours';
import { hostsInOrder, pictureOf } from '../../src/web/picture';
import { Placement } from '../../src/web/placement';
import { duration, size, traffic } from '../../src/web/words';
import { OUTSIDE, World, type LiveRoute } from '../../src/web/world';

type Lists = Record<string, Record<string, object>>;

function sight(host: string, set: Lists, gone: Record<string, string[]> = {}, isFirst = false): Sight {
  const names = new Set([...Object.keys(set), ...Object.keys(gone)]);
  const changes = Object.fromEntries(
    [...names].map((name) => [
      name,
      { set: (set[name] ?? {}) as Record<string, Record<string, unknown>>, gone: gone[name] ?? [] },
    ]),
  );
  return { host, isFirst, changes, problem: null };
}

const endpoint = (container: string, network: string, host = 'h1', more: Partial<ShownEndpoint> = {}) => ({
  ...{ id: `${container}@${network}`, container, containerId: `id-${container}`, network, tenant: 'default', host },
  ...{ state: 'joined', service: null, labels: {}, address: '10.1.0.2', ...more },
});

const ENDPOINTS = Object.fromEntries(
  [endpoint('ann', 'shop'), endpoint('ann', 'data'), endpoint('bob', 'shop', 'h2')].map((each) => [each.id, each]),
);
const route = (source: string | undefined, destination: string | undefined, more: Partial<LiveRoute> = {}) => ({
  ...{ kind: 'pair', source, destination, ageSeconds: 3, packets: 5, bytes: 500, ...more },
});

let world: World;
beforeEach(() => {
  world = new World();
  world.take(sight('h1', { hosts: { h1: { name: 'h1' }, h2: { name: 'h2' } }, endpoints: ENDPOINTS }, {}, true), 0);
});

describe('containers', () => {
  test('are one thing each, in whichever networks they are, in the order of those', () => {
    const { containers } = pictureOf(world);
    expect([...containers.keys()]).toEqual(['h1/id-ann', 'h2/id-bob']);
    expect(containers.get('h1/id-ann')).toMatchObject({
      ...{ name: 'ann', host: 'h1', isJoined: true },
      networks: ['default/data', 'default/shop'],
    });
  });

  test('are called by their ids until their names are known; endpoints of nobody are none', () => {
    const id = 'f'.repeat(64);
    const nameless = endpoint('x', 'shop', 'h1', { container: null, containerId: id });
    const nobodys = endpoint('y', 'shop', 'h1', { container: null, containerId: null });
    world.take(sight('h1', { endpoints: { x: nameless, y: nobodys } }), 1);
    const names = [...pictureOf(world).containers.values()].map(({ name }) => name);
    expect(names).toEqual(['ann', 'bob', 'f'.repeat(12)]);
  });

  test('go with their last endpoint', () => {
    world.take(sight('h1', {}, { endpoints: ['ann@shop'] }), 1);
    expect(pictureOf(world).containers.get('h1/id-ann')?.networks).toEqual(['default/data']);
    world.take(sight('h1', {}, { endpoints: ['ann@data'] }), 2);
    expect([...pictureOf(world).containers.keys()]).toEqual(['h2/id-bob']);
  });

  test('have the ports that they publish, and lead rules of the firewall to them', () => {
    const port = { endpoint: 'bob@shop', protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 8080, containerPort: 80 };
    const rule = { host: 'h1', protocol: 'tcp', hostPort: 20022, containerPort: 22 };
    const firewall = {
      r1: { ...rule, name: 'r1', container: 'bob' },
      r2: { ...rule, name: 'r2', container: 'h2/bob' },
      r3: { ...rule, name: 'r3', container: 'nobody' },
    };
    world.take(sight('h1', { ports: { p: port }, firewall }), 1);
    const { containers, doors } = pictureOf(world);
    expect(containers.get('h2/id-bob')?.ports).toEqual([port]);
    expect([...doors.values()].map(({ id, target }) => [id, target])).toEqual([
      ['rule/r1', 'h2/id-bob'],
      ['rule/r2', 'h2/id-bob'],
      ['rule/r3', undefined],
    ]);
  });
});

describe('sites', () => {
  const host = (name: string, site: string, more: object = {}) => ({
    ...{ name, site, encrypts: false, way: null, isThis: name === 'h1' },
    ...more,
  });
  const withHosts = (...hosts: { name: string }[]) => {
    const routes = { r: route('ann@shop', 'bob@shop') };
    world.take(sight('h1', { hosts: Object.fromEntries(hosts.map((each) => [each.name, each])), routes }), 1);
    return [...pictureOf(world).connections.values()].map(({ isTunnelled }) => isTunnelled);
  };

  test('stand side by side, and are named where there are several', () => {
    withHosts(host('h1', 'home'), host('h2', 'dc'), host('h10', 'home'), host('h3', 'home'));
    expect(hostsInOrder(world).map(({ label }) => label)).toEqual(['h2 · dc', 'h1 · home', 'h3 · home', 'h10 · home']);
    world.take(sight('h1', { hosts: { h1: host('h1', 'a'), h2: host('h2', 'a') } }, { hosts: ['h3', 'h10'] }), 2);
    expect(hostsInOrder(world).map(({ label }) => label)).toEqual(['h1', 'h2']);
  });

  test('what goes between two of them is marked, and what is encrypted inside of one', () => {
    expect(withHosts(host('h1', 'dc'), host('h2', 'dc', { way: 'fabric' }))).toEqual([false]);
    expect(withHosts(host('h1', 'dc'), host('h2', 'dc', { way: 'tunnel' }))).toEqual([true]);
    const away = { isThis: false };
    expect(withHosts(host('h1', 'dc', away), host('h2', 'dc'))).toEqual([false]);
    expect(withHosts(host('h1', 'dc', away), host('h2', 'home'))).toEqual([true]);
    expect(withHosts(host('h1', 'dc', away), host('h2', 'dc', { encrypts: true }))).toEqual([true]);
  });
});

describe('routes', () => {
  const there = route('ann@shop', 'bob@shop');
  const back = route('bob@shop', 'ann@shop', { packets: 4, bytes: 400 });

  test('of two containers are one connection, both ways, counted once though two hosts see them', () => {
    world.take(sight('h1', { routes: { there, back } }), 10_000);
    world.take(sight('h2', { routes: { there: { ...there, packets: 6, bytes: 600 }, back } }, {}, true), 10_000);
    const { connections, talks } = pictureOf(world);
    const [connection] = connections.values();
    expect(connections.size).toBe(1);
    expect(connection).toMatchObject({ one: 'h1/id-ann', other: 'h2/id-bob', packets: 10, bytes: 1000 });
    expect(connection).toMatchObject({ network: 'default/shop', bornAt: 7000 });
    expect(talks.get('h2/id-bob')).toEqual([connection]);
  });

  test('are active when packets have passed, and as fast as those were', () => {
    world.take(sight('h1', { routes: { there } }), 10_000);
    world.take(sight('h1', { routes: { there: { ...there, packets: 25 } } }), 12_000);
    const once = [...pictureOf(world).connections.values()];
    expect(once).toMatchObject([{ activeAt: 12_000, packetsPerSecond: 10, bornAt: 7000 }]);
    world.take(sight('h1', { routes: { there: { ...there, packets: 25 } } }), 13_000);
    expect([...pictureOf(world).connections.values()]).toMatchObject([{ activeAt: 12_000, packetsPerSecond: 0 }]);
  });

  test('that have counted less than before are other ones', () => {
    world.take(sight('h1', { routes: { there } }), 10_000);
    world.take(sight('h1', { routes: { there: { ...there, packets: 1, ageSeconds: 0 } } }), 20_000);
    expect([...pictureOf(world).connections.values()]).toMatchObject([{ bornAt: 20_000, packets: 1 }]);
  });

  test('to what is no container lead outside; those of endpoints that are not known here are left out', () => {
    const out = route('ann@shop', undefined, { kind: 'egress' });
    world.take(sight('h1', { routes: { out, unknown: route('ann@shop', 'gone') } }), 1);
    const { connections } = pictureOf(world);
    expect([...connections.values()].map(({ one, other }) => [one, other])).toEqual([['h1/id-ann', OUTSIDE]]);
  });

  test('go one by one, and all with the host that has seen them', () => {
    world.take(sight('h1', { routes: { there, back } }), 1);
    world.take(sight('h1', {}, { routes: ['there'] }), 2);
    expect([...pictureOf(world).connections.values()]).toMatchObject([{ packets: 4 }]);
    world.take({ host: 'h2', isFirst: true, changes: {}, problem: 'it is away' }, 3);
    world.take({ host: 'h1', isFirst: true, changes: {}, problem: null }, 4);
    expect(pictureOf(world).connections.size).toBe(0);
    expect(world.sights.get('h2')?.problem).toBe('it is away');
  });

  test('other hosts say nothing of the directory', () => {
    world.take(sight('h2', { endpoints: { evil: endpoint('evil', 'shop') } }), 1);
    expect(world.endpoints.size).toBe(3);
  });
});

test('what the policy refuses is news once, and not when the page begins', () => {
  const denial = { from: { endpoint: 'ann@shop' }, to: { endpoint: null }, protocol: 'tcp/80', packets: 1 };
  const denials = { a: { ...denial, secondsAgo: 1 }, b: { ...denial, secondsAgo: 60 } };
  expect(world.take(sight('h2', { denials }, {}, true), 1)).toEqual([]);
  expect(world.take(sight('h2', { denials }), 1)).toEqual([{ from: 'ann@shop', to: OUTSIDE, protocol: 'tcp/80' }]);
});

test('policies have their order whatever comes first', () => {
  world.take(sight('h1', { policies: { b: { name: 'b', place: 1 }, a: { name: 'a', place: 0 } } }), 1);
  expect(world.orderedPolicies().map(({ name }) => name)).toEqual(['a', 'b']);
});

describe('the place of a container', () => {
  const things = (...ids: string[]) => ids.map((id) => ({ id, host: id.startsWith('z') ? 'h2' : 'h1' }));
  const placed = (placement: Placement) => Object.fromEntries(placement.points);

  test('stays while others come and go', () => {
    const placement = new Placement();
    placement.place(['h1', 'h2'], things('a', 'b', 'c', 'z1'), [], 1.3);
    const before = placed(placement);
    placement.place(['h1', 'h2'], things('d', 'b', 'c', 'z1'), [], 1.3);
    const after = placed(placement);
    expect(after).toMatchObject({ b: before['b'], c: before['c'], z1: before['z1'] });
    // The first that is free.
    expect(after['d']).toEqual(before['a']);
  });

  test('is nobody else’s, and in the box of its host, however many there are', () => {
    const placement = new Placement();
    const many = Array.from({ length: 150 }, (_, index) => ({ id: `c${index}`, host: `h${index % 4}` }));
    placement.place(['h0', 'h1', 'h2', 'h3'], many, [], 1.6);
    const points = [...placement.points.values()].map(({ x, y }) => `${x} ${y}`);
    expect(new Set(points).size).toBe(150);
    for (const { id, host } of many) {
      const [point, box] = [placement.points.get(id)!, placement.boxes.get(host)!];
      expect(Math.abs(point.x - box.x)).toBeLessThan(box.width / 2);
      expect(Math.abs(point.y - box.y)).toBeLessThan(box.height / 2);
    }
  });

  test('is in a box that touches no other one', () => {
    const placement = new Placement();
    placement.place(['h1', 'h2', 'h3', 'h4', 'h5'], things('a', 'b', 'z1'), [], 1.3);
    const boxes = [...placement.boxes.values()];
    const overlaps = boxes.flatMap((one, index) =>
      boxes.slice(index + 1).filter((other) => {
        const isBeside = Math.abs(one.x - other.x) >= (one.width + other.width) / 2;
        return !isBeside && Math.abs(one.y - other.y) < (one.height + other.height) / 2;
      }),
    );
    expect(overlaps).toEqual([]);
  });

  test('of a port is on the edge of the host that has it', () => {
    const placement = new Placement();
    placement.place(['h1'], things('a'), [{ id: 'rule/r', host: 'h1' }], 1.3);
    const box = placement.boxes.get('h1')!;
    expect(placement.points.get('rule/r')).toEqual({ x: box.x, y: box.y + box.height / 2 });
  });
});

test('networks have colours of their own', () => {
  const colours = new Colours();
  const names = Array.from({ length: 40 }, (_, index) => `default/n${index}`);
  const given = names.map((name) => colours.of(name));
  expect(new Set(given).size).toBe(40);
  expect(names.map((name) => colours.of(name))).toEqual(given);
});

test('numbers and routes are said as people read them', () => {
  expect([400, 99_000, 600_000, 2 * 3_600_000, 72 * 3_600_000].map(duration)).toEqual([
    ...['0 s', '99 s', '10 min', '2 h', '3 d'],
  ]);
  expect([0, 812, 3_400, 12_300_000].map(size)).toEqual(['0 B', '812 B', '3.4 kB', '12 MB']);
  const conversation = { isOpening: false, protocol: 6, sourcePort: 80, destinationPort: 40_000 };
  expect(traffic({ conversation } as LiveRoute)).toBe('tcp/80');
  expect(traffic({} as LiveRoute)).toBe('all');
});
