// Which devices, peers and routes a host gets, by what the directory says.
import * as fc from 'fast-check';
import { formatAddressPort } from '../../src/base/address-port';
import { cidrHolds, cidrsOverlap, formatCidr, parseCidr, type Cidr } from '../../src/base/addresses';
import type { NoL2 } from '../../src/directory/rows';
import { planTunnels, type PlanInput, type TunnelPlan } from '../../src/tunnel/plan';
import { keyOf, tunnelView, type HostSpec } from '../fakes/tunnel-view';

const RANGE = parseCidr('100.64.0.0/10');

function planOf(specs: readonly HostSpec[], own: string, more: Partial<PlanInput> = {}): TunnelPlan {
  const view = tunnelView(specs);
  const needed = new Set(specs.map(({ name }) => name));
  const rest = { locatorRange: RANGE, mtu: 1420, needed, isAlive: () => true, lastHub: () => undefined };
  return planTunnels({ view, own, ...rest, ...more });
}

/** A plan as lines: devices with their peers, and routes. */
function shown(plan: TunnelPlan): string[] {
  return [
    ...plan.devices.flatMap(({ name, listenPort, peers }) => [
      `${name} :${listenPort}`,
      ...peers.map(({ host, endpoint, allowed, keepaliveSeconds }) => {
        const at = endpoint === undefined ? 'dials' : formatAddressPort(endpoint);
        const kept = keepaliveSeconds === 0 ? '' : ` every ${keepaliveSeconds} s`;
        return `  ${host} ${at} ${allowed.map(formatCidr).join(',')}${kept}`;
      }),
    ]),
    ...plan.routes.map(({ destination, device }) => `${formatCidr(destination)} > ${device}`),
  ];
}

const DC = { name: 'dc1', site: 'dc', endpoint: '198.51.100.1:7471' };
const CLOUD = { name: 'cloud', site: 'cloud', endpoint: '198.51.100.2:7000' };
const HOME = { name: 'home', site: 'home' };
const CAFE = { name: 'cafe', site: 'cafe' };

describe('no tunnel', () => {
  test('of a host that is alone, or in one site with the others, or of which nobody knows a key', () => {
    expect(shown(planOf([DC], 'dc1'))).toEqual([]);
    expect(shown(planOf([DC, { name: 'dc2', site: 'dc' }], 'dc1'))).toEqual([]);
    expect(shown(planOf([DC, { ...CLOUD, hasTunnel: false }], 'dc1'))).toEqual([]);
    expect(shown(planOf([{ ...DC, hasTunnel: false }, CLOUD], 'dc1'))).toEqual([]);
    expect(shown(planOf([DC, CLOUD], 'nobody'))).toEqual([]);
  });

  test('to a host that was removed, or that nobody has to do with; the device is there for who comes', () => {
    expect(shown(planOf([DC, CLOUD], 'dc1', { needed: new Set() }))).toEqual(['daoli-wg :7471']);
    expect(shown(planOf([DC, CLOUD], 'dc1', { needed: new Set(['gone']) }))).toEqual(['daoli-wg :7471']);
  });
});

describe('direct', () => {
  test('two hosts that others reach', () => {
    expect(shown(planOf([DC, CLOUD], 'dc1'))).toEqual([
      'daoli-wg :7471',
      '  cloud 198.51.100.2:7000 100.64.2.0/24',
      '100.64.2.0/24 > daoli-wg',
    ]);
    expect(shown(planOf([DC, CLOUD], 'cloud'))).toEqual([
      'daoli-wg :7471',
      '  dc1 198.51.100.1:7471 100.64.1.0/24',
      '100.64.1.0/24 > daoli-wg',
    ]);
  });

  test('a host behind NAT dials and keeps its mapping; the other one waits for it', () => {
    expect(shown(planOf([DC, HOME], 'home'))).toEqual([
      'daoli-wg :7471',
      '  dc1 198.51.100.1:7471 100.64.1.0/24 every 25 s',
      '100.64.1.0/24 > daoli-wg',
    ]);
    expect(shown(planOf([DC, HOME], 'dc1'))).toEqual([
      'daoli-wg :7471',
      '  home dials 100.64.2.0/24',
      '100.64.2.0/24 > daoli-wg',
    ]);
  });

  test.each([{ encrypts: true }, { noL2: 'said' as const }])('inside a site by the server’s own address: %j', (how) => {
    const specs = [{ name: 'a', ...how }, { name: 'b' }, { name: 'c' }];
    expect(shown(planOf(specs, 'a'))).toEqual([
      'daoli-wg :7471',
      '  b 192.0.2.2:7471 100.64.2.0/24',
      '  c 192.0.2.3:7471 100.64.3.0/24',
      '100.64.2.0/24 > daoli-wg',
      '100.64.3.0/24 > daoli-wg',
    ]);
    expect(shown(planOf(specs, 'b'))).toEqual([
      'daoli-wg :7471',
      '  a 192.0.2.1:7471 100.64.1.0/24',
      '100.64.1.0/24 > daoli-wg',
    ]);
  });

  test('all blocks of a host that lie in the range, and none that is another host’s', () => {
    const blocks = ['100.64.9.0/24', '10.0.0.0/24', '100.64.7.0/24', '100.64.1.128/25'];
    expect(shown(planOf([DC, { ...CLOUD, blocks }], 'dc1'))).toEqual([
      'daoli-wg :7471',
      '  cloud 198.51.100.2:7000 100.64.7.0/24,100.64.9.0/24',
      '100.64.7.0/24 > daoli-wg',
      '100.64.9.0/24 > daoli-wg',
    ]);
    expect(shown(planOf([DC, { ...CLOUD, blocks: ['100.64.1.0/25'] }], 'dc1'))).toEqual([]);
  });
});

describe('through hubs', () => {
  const hub = (name: string, more: Partial<HostSpec> = {}) => ({
    name,
    site: 'dc',
    endpoint: `203.0.113.${name.charCodeAt(0)}:7471`,
    isHub: true,
    ...more,
  });

  test('two hosts behind NAT at two sites; on the hub both are peers of one device', () => {
    const specs = [HOME, CAFE, hub('h')];
    expect(shown(planOf(specs, 'home'))).toEqual([
      'daoli-wg :7471',
      'daoli-wg1 :7472',
      '  h 203.0.113.104:7471 100.64.2.0/24,100.64.3.0/24 every 25 s',
      '100.64.2.0/24 > daoli-wg1',
      '100.64.3.0/24 > daoli-wg1',
    ]);
    expect(shown(planOf(specs, 'h', { needed: new Set() }))).toEqual([
      'daoli-wg :7471',
      '  cafe dials 100.64.2.0/24',
      '  home dials 100.64.1.0/24',
      '100.64.1.0/24 > daoli-wg',
      '100.64.2.0/24 > daoli-wg',
    ]);
  });

  test('what comes through a hub is taken also from a host that is not needed yet; routes are for those that are', () => {
    const specs = [HOME, CAFE, { name: 'train', site: 'train' }, hub('h')];
    const plan = planOf(specs, 'home', { needed: new Set(['train']) });
    expect(shown(plan).slice(2)).toEqual([
      '  h 203.0.113.104:7471 100.64.2.0/24,100.64.3.0/24,100.64.4.0/24 every 25 s',
      '100.64.3.0/24 > daoli-wg1',
      '100.64.4.0/24 > daoli-wg1',
    ]);
    expect(plan.relayed).toEqual([{ host: 'train', hub: 'h' }]);
  });

  test('three of four, by name; the first that answers has the routes, else the last one, else the first', () => {
    const specs = [HOME, CAFE, hub('d'), hub('b'), hub('c'), hub('a'), hub('e', { endpoint: undefined as never })];
    const routed = (alive: readonly string[], lastHub?: string) => {
      const plan = planOf(specs, 'home', { isAlive: (name) => alive.includes(name), lastHub: () => lastHub });
      const { device } = plan.routes.find(({ destination }) => formatCidr(destination) === '100.64.2.0/24')!;
      const [through] = plan.relayed;
      expect(plan.hubs.find((one) => one.host === through?.hub)?.device).toBe(device);
      return [through?.hub, device];
    };
    expect(planOf(specs, 'home').hubs.map(({ host, device }) => `${device} ${host}`)).toEqual([
      'daoli-wg1 a',
      'daoli-wg2 b',
      'daoli-wg3 c',
    ]);
    expect(routed(['a', 'b', 'c'], 'b')).toEqual(['a', 'daoli-wg1']);
    expect(routed(['b', 'c'])).toEqual(['b', 'daoli-wg2']);
    expect(routed(['d'], 'c')).toEqual(['c', 'daoli-wg3']);
    expect(routed([], 'gone')).toEqual(['a', 'daoli-wg1']);
    // The fourth is a host like others: direct, with containers of its own.
    expect(planOf(specs, 'home').devices[0]!.peers.map(({ host }) => host)).toEqual(['d']);
    expect(planOf(specs, 'd', { needed: new Set() }).devices[0]!.peers).toEqual([]);
  });

  describe('of which some do not answer the other host', () => {
    const hubs = [hub('a'), hub('b'), hub('c')];
    /** By which hub home sends to the cafe, with what the cafe has told. */
    const chosen = (unheard: readonly string[], alive = ['a', 'b', 'c'], lastHub?: string) =>
      planOf([HOME, { ...CAFE, unheard }, ...hubs], 'home', {
        isAlive: (name) => alive.includes(name),
        lastHub: () => lastHub,
      }).relayed.find(({ host }) => host === 'cafe')?.hub;

    test('the first that answers both; without one, this host’s first', () => {
      expect(chosen([])).toBe('a');
      expect(chosen(['a'])).toBe('b');
      expect(chosen(['a', 'b'])).toBe('c');
      expect(chosen(['a'], ['a', 'c'])).toBe('c');
      expect(chosen(['b'], ['b'])).toBe('b');
      expect(chosen(['a', 'b', 'c'], ['b', 'c'])).toBe('b');
      expect(chosen(['a'], [], 'b')).toBe('b');
      expect(chosen(['gone'])).toBe('a');
    });

    test('each destination by its own', () => {
      const specs = [HOME, { ...CAFE, unheard: ['a'] }, { name: 'train', site: 'train' }, ...hubs];
      const plan = planOf(specs, 'home');
      expect(plan.relayed).toEqual([
        { host: 'cafe', hub: 'b' },
        { host: 'train', hub: 'a' },
      ]);
      expect(shown(plan).slice(-5)).toEqual([
        '100.64.2.0/24 > daoli-wg2',
        '100.64.3.0/24 > daoli-wg1',
        '100.64.4.0/24 > daoli-wg1',
        '100.64.5.0/24 > daoli-wg2',
        '100.64.6.0/24 > daoli-wg3',
      ]);
    });

    test('both take the same one, whatever each hears, as soon as both have told', () => {
      const some = fc.subarray(['a', 'b', 'c']);
      fc.assert(
        fc.property(some, some, (deafHome, deafCafe) => {
          const specs = [{ ...HOME, unheard: deafHome }, { ...CAFE, unheard: deafCafe }, ...hubs];
          const hubOf = (own: string, deaf: readonly string[]) =>
            planOf(specs, own, { isAlive: (name) => !deaf.includes(name) }).relayed[0]?.hub;
          const common = ['a', 'b', 'c'].find((name) => ![...deafHome, ...deafCafe].includes(name));
          fc.pre(common !== undefined);
          expect([hubOf('home', deafHome), hubOf('cafe', deafCafe)]).toEqual([common, common]);
        }),
      );
    });
  });

  test('without a hub there is no way, and nothing that would go another', () => {
    expect(shown(planOf([HOME, CAFE], 'home'))).toEqual(['daoli-wg :7471']);
  });

  test('a hub needs none: whoever has an endpoint is spoken to', () => {
    const specs = [hub('h'), CLOUD, HOME];
    expect(planOf(specs, 'cloud').devices.map(({ name, peers }) => [name, peers.length])).toEqual([['daoli-wg', 2]]);
  });

  test('a hub of this host’s own site: its address, no keepalive; the fabric stays the way to its containers', () => {
    const specs = [HOME, CAFE, hub('h', { site: 'home' })];
    expect(shown(planOf(specs, 'home')).slice(1, 3)).toEqual([
      'daoli-wg1 :7472',
      '  h 192.0.2.3:7471 100.64.2.0/24,100.64.3.0/24',
    ]);
    expect(shown(planOf(specs, 'h'))).toContain('  home 192.0.2.1:7472 100.64.1.0/24');
    // Nobody else is behind NAT: nothing has to go by the hub.
    expect(shown(planOf([HOME, hub('h', { site: 'home' })], 'home'))).toEqual([]);
  });
});

describe('of any two hosts', () => {
  const spec = fc.record({
    site: fc.constantFrom('dc', 'cloud', 'home'),
    isPublic: fc.boolean(),
    isHub: fc.boolean(),
    encrypts: fc.boolean(),
    noL2: fc.constantFrom<NoL2>(false, 'said', 'detected'),
    hasTunnel: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
    blocks: fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { minLength: 1, maxLength: 3 }),
  });
  const directory = fc.array(spec, { minLength: 2, maxLength: 9 }).map((specs) =>
    specs.map(({ isPublic, blocks, ...rest }, index): HostSpec => ({
      ...rest,
      name: `h${index}`,
      ...(isPublic ? { endpoint: `198.51.100.${index}:7471` } : {}),
      // Some overlap with one of the next host, which has precedence.
      blocks: blocks.map((n) => (n > 12 ? `100.64.${(index + 1) * 15}.0/25` : `100.64.${index * 15 + n}.0/24`)),
    })),
  );
  const plansOf = (specs: readonly HostSpec[], dead: ReadonlySet<string>) =>
    new Map(specs.map(({ name }) => [name, planOf(specs, name, { isAlive: (hub) => !dead.has(hub) })]));
  const holds = (wide: readonly Cidr[], one: Cidr) =>
    wide.some((cidr) => cidr.prefix <= one.prefix && cidrHolds(cidr, one.base));
  const deviceOf = (plan: TunnelPlan, name: string) => plan.devices.find((device) => device.name === name)!;

  test('plans agree: who is routed to by one is a peer there, and takes what the other sends', () => {
    fc.assert(
      fc.property(directory, fc.subarray(['h0', 'h1', 'h2', 'h3']), (specs, dead) => {
        const plans = plansOf(specs, new Set(dead));
        for (const [a, plan] of plans) {
          const peers = plan.devices.flatMap(({ peers }) => peers);
          for (const { host: b } of peers) {
            const back = plans
              .get(b)!
              .devices.flatMap((device) => device.peers)
              .filter(({ host }) => host === a);
            expect(back).toHaveLength(1);
            expect(back[0]!.publicKey).toBe(keyOf(a));
          }
          for (const { host: b, hub: name } of plan.relayed) {
            const hub = plans.get(name)!;
            const [first, last] = [a, b].map((end) => deviceOf(hub, 'daoli-wg').peers.find(({ host }) => host === end));
            // What a sends is taken by the hub as a's, and goes on to b, which takes it from this hub.
            const fromHub = plans
              .get(b)!
              .devices.flatMap(({ peers }) => peers)
              .find(({ host }) => host === name)!;
            expect(first!.allowed.every((block) => holds(fromHub.allowed, block))).toBe(true);
            for (const block of last!.allowed) {
              expect(hub.routes).toContainEqual({ destination: block, device: 'daoli-wg' });
              expect(plan.routes.filter(({ destination }) => cidrsOverlap(destination, block))).toHaveLength(1);
            }
            expect(plans.get(b)!.relayed.map(({ host }) => host)).toContain(a);
          }
        }
      }),
    );
  });

  test('routes lead into devices that have a peer for them; no two peers of one device share an address', () => {
    fc.assert(
      fc.property(directory, (specs) => {
        for (const [, plan] of plansOf(specs, new Set())) {
          for (const { destination, device } of plan.routes) {
            const takers = deviceOf(plan, device).peers.filter(({ allowed }) => holds(allowed, destination));
            expect(takers).toHaveLength(1);
          }
          for (const { peers } of plan.devices) {
            const all = peers.flatMap(({ allowed }) => allowed);
            for (const [at, one] of all.entries()) {
              expect(all.slice(at + 1).some((other) => cidrsOverlap(one, other))).toBe(false);
            }
          }
          const destinations = plan.routes.map(({ destination }) => formatCidr(destination));
          expect(new Set(destinations).size).toBe(destinations.length);
        }
      }),
    );
  });

  test('one speaks to the other, and what lies behind NAT does it again and again where it is another site', () => {
    fc.assert(
      fc.property(directory, (specs) => {
        const plans = plansOf(specs, new Set());
        const siteOf = new Map(specs.map(({ name, site }) => [name, site]));
        for (const [a, plan] of plans) {
          for (const peer of plan.devices.flatMap(({ peers }) => peers)) {
            const back = plans
              .get(peer.host)!
              .devices.flatMap(({ peers }) => peers)
              .find(({ host }) => host === a)!;
            expect(peer.endpoint ?? back.endpoint).toBeDefined();
            const isKept = back.endpoint === undefined && siteOf.get(a) !== siteOf.get(peer.host);
            expect(peer.keepaliveSeconds).toBe(isKept ? 25 : 0);
          }
        }
      }),
    );
  });

  test('the same directory in another order is the same plan', () => {
    fc.assert(
      fc.property(directory, fc.integer(), (specs, seed) => {
        const full = specs.map((each, index) => ({ ...each, address: `192.0.2.${index}` }));
        const turned = [...full.slice(Math.abs(seed) % full.length), ...full.slice(0, Math.abs(seed) % full.length)];
        for (const { name } of full) expect(planOf(turned.reverse(), name)).toEqual(planOf(full, name));
      }),
    );
  });
});

test('what a plan costs grows with the hosts, and not with their pairs', () => {
  const asked = (count: number) => {
    const specs = Array.from({ length: count }, (_, index): HostSpec => ({
      name: `h${index}`,
      site: `s${index % 20}`,
      ...(index % 3 === 0 ? { endpoint: `198.51.100.1:${index + 1}`, isHub: index < 5 } : {}),
    }));
    const view = tunnelView(specs);
    let looks = 0;
    const counting = { ...view, tunnel: (name: string) => ((looks += 1), view.tunnel(name)) };
    planOf(specs, 'h1', { view: counting });
    return looks;
  };
  expect(asked(1_000)).toBeLessThan(11 * asked(100));
});
