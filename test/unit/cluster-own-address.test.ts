// A host's own address in its cluster, as the kernel's addresses change: when it is another one, and which.
import { parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import type { ClusterFacts, Place } from '../../src/cluster/files';
import { AddressFollower, isElsewhere, nextAddress, placeOf, SETTLE_MS } from '../../src/cluster/own-address';
import type { HostAddress } from '../../src/host/host';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

/** "eth0 192.0.2.1/24 default". */
function there(...lines: readonly string[]): HostAddress[] {
  return lines.map((line) => {
    const [device = '', cidr = '', uplink] = line.split(' ');
    const [address = '', prefix = ''] = cidr.split('/');
    const network = parseCidr(`${address.replace(/\.\d+$/, '.0')}/${prefix}`);
    return { address: parseIpv4(address), network, device, isUplink: uplink === 'default' };
  });
}

const OLD = parseIpv4('192.0.2.1');
const UPLINK: Place = { network: parseCidr('192.0.2.0/24'), device: 'eth0', isUplink: true };
const STORAGE: Place = { ...UPLINK, isUplink: false };
const next = (place: Place | undefined, lines: readonly string[], isSettled = false, address: Ipv4 = OLD) =>
  nextAddress({ address, place }, there(...lines), isSettled);

test('where an address is', () => {
  expect(placeOf(OLD, there('eth0 192.0.2.1/24 default'))).toEqual(UPLINK);
  expect(placeOf(OLD, there('eth0 192.0.2.2/24 default'))).toBeUndefined();
});

test.each<[string, Place | undefined, readonly string[], string | undefined]>([
  ['it is there', UPLINK, ['eth0 192.0.2.1/24', 'wlan0 10.0.0.9/24 default'], undefined],
  ['another one of its network', UPLINK, ['eth0 10.0.0.9/24 default', 'eth0 192.0.2.7/24 default'], '192.0.2.7'],
  ['one of another network on its interface', UPLINK, ['eth0 10.0.0.9/24 default'], '10.0.0.9'],
  ['another interface is not taken at once', UPLINK, ['wlan0 10.0.0.9/24 default'], undefined],
  ['but where that is of its network', UPLINK, ['wlan0 192.0.2.9/24 default'], '192.0.2.9'],
  [
    'an interface that never had the default route',
    STORAGE,
    ['eth0 10.0.0.9/24', 'eth1 192.0.2.9/24 default'],
    '10.0.0.9',
  ],
  ['nothing', UPLINK, [], undefined],
  ['it was never seen', undefined, ['eth0 10.0.0.9/24'], undefined],
])('%s', (_, place, lines, expected) => {
  expect(next(place, lines)).toBe(expected === undefined ? undefined : parseIpv4(expected));
});

test('after a while the default route is followed to another interface, where the address had gone with that', () => {
  const wifi = ['eth1 10.9.9.9/24', 'wlan0 10.0.0.9/24 default'];
  expect(next(UPLINK, wifi, true)).toBe(parseIpv4('10.0.0.9'));
  expect(next(STORAGE, wifi, true)).toBeUndefined();
});

test('where it is not known in which network it was, no other is taken: it might be on a foreign L2', () => {
  expect(next(undefined, ['eth0 10.0.0.9/24 default'], true)).toBeUndefined();
  expect(next(undefined, ['eth0 192.0.2.7/24 default'], true)).toBeUndefined();
});

test('a host that was elsewhere goes back to its network', () => {
  const away = parseIpv4('10.0.0.9');
  expect([isElsewhere({ address: away, place: UPLINK }), isElsewhere({ address: OLD, place: UPLINK })]).toEqual([
    true,
    false,
  ]);
  expect(next(UPLINK, ['wlan0 10.0.0.9/24', 'eth0 192.0.2.5/24 default'], false, away)).toBe(parseIpv4('192.0.2.5'));
  expect(next(UPLINK, ['wlan0 10.0.0.9/24 default'], true, away)).toBeUndefined();
});

describe('the follower', () => {
  let store: MemoryDirectory;
  let facts: ClusterFacts | undefined;
  let has: HostAddress[];
  let noted: (Ipv4 | undefined)[];
  let said: string[];
  let clock: ManualClock;
  let follower: AddressFollower;

  beforeEach(() => {
    const database = createMemoryDatabase();
    store = createMemoryDirectory({ host: 'h1', database, address: OLD });
    createMemoryDirectory({ host: 'h2', database, address: parseIpv4('192.0.2.2') });
    const cluster = { address: OLD, site: 'default', servers: [{}], authority: { key: undefined } };
    facts = cluster as unknown as ClusterFacts;
    [has, noted, said] = [there('eth0 192.0.2.1/24 default'), [], []];
    clock = new ManualClock();
    const say = (message: string, { error = '' }: { error?: string } = {}) => void said.push(`${message}: ${error}`);
    follower = new AddressFollower({
      store,
      facts: () => facts,
      addresses: () => Promise.resolve(has),
      note: (standing) => {
        noted.push(standing.address);
        facts = { ...facts!, ...standing };
      },
      logger: { debug: say, info: say, warn: say, error: say },
      clock,
      random: () => 0.5,
    });
  });
  afterEach(() => follower.stop());

  test('notes where its address is, once; then the next one', async () => {
    await follower.look();
    await follower.look();
    expect([facts!.place, noted]).toEqual([UPLINK, [OLD]]);
    has = there('eth0 192.0.2.3/24 default');
    await follower.look();
    expect([noted, follower.problem]).toEqual([[OLD, parseIpv4('192.0.2.3')], '']);
    expect(said).toEqual(['this host has another address: ']);
  });

  test('says once that there is none, and takes the other interface’s when things have settled', async () => {
    await follower.look();
    has = there('wlan0 10.0.0.9/24 default');
    await follower.look();
    await follower.look();
    expect(follower.problem).toContain('its address 192.0.2.1 is on no interface');
    clock.advance(SETTLE_MS);
    await follower.look();
    expect([facts!.address, follower.problem]).toEqual([parseIpv4('10.0.0.9'), '']);
    expect(said.map((line) => line.slice(0, 30))).toEqual([
      'other hosts cannot be told of ',
      'this host has another address:',
      'it is outside of the network o',
    ]);
  });

  test('stays where it was never seen, and says what to do', async () => {
    has = there('wlan0 10.0.0.9/24 default');
    await follower.look();
    clock.advance(SETTLE_MS);
    await follower.look();
    expect([facts!.address, noted]).toEqual([OLD, []]);
    expect(follower.problem).toContain('give it that address back, or let it leave and join anew');
  });

  test('does not take the address of another host', async () => {
    await follower.look();
    has = there('eth0 192.0.2.2/24 default');
    await follower.look();
    expect([facts!.address, follower.problem]).toEqual([
      OLD,
      expect.stringContaining('192.0.2.2 is the address of host h2') as string,
    ]);
  });

  test('a server without others says what to do', async () => {
    facts = { ...facts!, authority: { certificate: '', key: 'secret' } };
    await follower.look();
    has = there('eth0 192.0.2.3/24 default');
    await follower.look();
    expect(said.at(-1)).toContain('the others look for it at 192.0.2.1: give it that address back');
  });

  test('in no cluster it does nothing', async () => {
    facts = undefined;
    await follower.look();
    expect([noted, said]).toEqual([[], []]);
  });
});
