// What has to change of tunnels: only what differs, no endpoint over one that was learned, nothing for the wrong peer.
import * as fc from 'fast-check';
import { formatCidr, parseCidr, parseIpv4 } from '../../src/base/addresses';
import type { TunnelDevice, TunnelPeer, TunnelPeerState } from '../../src/host/host';
import { checkKey, createTunnelKey, publicKeyOf } from '../../src/host/tunnel-keys';
import { parseTunnel, type TunnelListing } from '../../src/host/tunnel-listing';
import {
  callWords,
  checkTunnels,
  knownAfter,
  planTunnel,
  planTunnelRoutes,
  renewWords,
  type KnownPeers,
} from '../../src/host/tunnel-plan';

const NOW = 1_795_892_600_000;
const PRIVATE = 'QBdCtUYCKhHQ+/ny3nx4UMWNyN7PdXm9aSQjYTBFvFQ=';
const [KEY_A, KEY_B, KEY_C] = ['A', 'B', 'C'].map((letter) => `${letter.repeat(42)}A=`) as [string, string, string];
const at = (last: number) => ({ address: parseIpv4(`192.0.2.${last}`), port: 7471 });

const peer = (publicKey: string, rest: Partial<TunnelPeer> = {}): TunnelPeer => ({
  publicKey,
  allowed: [parseCidr('100.64.2.0/24')],
  keepaliveSeconds: 0,
  ...rest,
});
const shown = (publicKey: string, rest: Partial<TunnelPeerState> = {}): TunnelPeerState => ({
  ...peer(publicKey),
  lastHandshakeMs: NOW - 10_000,
  bytesReceived: 0,
  bytesSent: 0,
  ...rest,
});
const device = (...peers: TunnelPeer[]): TunnelDevice => ({ name: 'daoli-wg', listenPort: 7471, mtu: 1420, peers });
const listing = (...peers: TunnelPeerState[]): TunnelListing => ({
  ...{ name: 'daoli-wg', privateKey: PRIVATE, publicKey: KEY_A, listenPort: 7471, peers },
});

function plan(wanted: TunnelDevice, has: TunnelListing, known: KnownPeers = new Map()) {
  const { words, calls } = planTunnel({ device: wanted, privateKey: PRIVATE, listing: has, known, now: NOW });
  return { words: words.join(' '), calls: calls.map(({ publicKey }) => publicKey) };
}

describe('what wg says', () => {
  // wireguard-tools 1.0.20210914 and wireguard-go 0.0.20220316.
  const dump = [
    `${PRIVATE}\t${KEY_A}\t7471\toff`,
    `${KEY_B}\t(none)\t192.0.2.2:7471\t100.64.2.0/24,100.64.9.0/24\t1795892517\t436\t528\t25`,
    `${KEY_C}\t(none)\t(none)\t(none)\t0\t0\t0\toff`,
    '',
  ].join('\n');

  test('is read', () => {
    expect(parseTunnel('daoli-wg', dump)).toEqual({
      ...{ name: 'daoli-wg', privateKey: PRIVATE, publicKey: KEY_A, listenPort: 7471 },
      peers: [
        {
          ...{ publicKey: KEY_B, endpoint: at(2), keepaliveSeconds: 25, lastHandshakeMs: 1_795_892_517_000 },
          ...{ allowed: [parseCidr('100.64.2.0/24'), parseCidr('100.64.9.0/24')], bytesReceived: 436, bytesSent: 528 },
        },
        { publicKey: KEY_C, allowed: [], keepaliveSeconds: 0, bytesReceived: 0, bytesSent: 0 },
      ],
    });
  });

  test('a new device has no key, and what is no device is none', () => {
    expect(parseTunnel('daoli-wg', '(none)\t(none)\t41569\toff\n')).toEqual({
      ...{ name: 'daoli-wg', privateKey: undefined, listenPort: 41569, peers: [] },
    });
    expect(parseTunnel('daoli-wg', '')).toBeUndefined();
  });

  test('addresses of IPv6, which are none of ours, are passed over', () => {
    const line = `${KEY_B}\t(none)\t[2001:db8::2]:7471\tfd00::/64,100.64.2.0/24\t0\t0\t0\toff`;
    const [found] = parseTunnel('daoli-wg', `${PRIVATE}\t${KEY_A}\t7471\toff\n${line}\n`)?.peers ?? [];
    expect(found).toEqual({ ...peer(KEY_B), bytesReceived: 0, bytesSent: 0 });
  });
});

describe('a device', () => {
  test('that is right is left alone', () => {
    const wanted = device(peer(KEY_B, { endpoint: at(2) }), peer(KEY_C, { allowed: [], keepaliveSeconds: 25 }));
    const has = listing(shown(KEY_C, { allowed: [], keepaliveSeconds: 25 }), shown(KEY_B, { endpoint: at(2) }));
    expect(plan(wanted, has)).toEqual({ words: '', calls: [] });
  });

  test('that is new gets key, port and peers, and calls those whom it can', () => {
    const wanted = device(peer(KEY_B, { endpoint: at(2), keepaliveSeconds: 25 }), peer(KEY_C, { allowed: [] }));
    expect(plan(wanted, { name: 'daoli-wg', privateKey: undefined, listenPort: 41569, peers: [] })).toEqual({
      words:
        'private-key /dev/stdin listen-port 7471' +
        ` peer ${KEY_B} endpoint 192.0.2.2:7471 persistent-keepalive 25 allowed-ips 100.64.2.0/24` +
        ` peer ${KEY_C} allowed-ips `,
      calls: [KEY_B],
    });
  });

  test('whose port does not matter keeps what it has', () => {
    expect(plan({ ...device(), listenPort: 0 }, listing()).words).toBe('');
    expect(plan({ ...device(), listenPort: 7472 }, listing()).words).toBe('listen-port 7472');
  });

  test('with another key calls everybody', () => {
    const has = { ...listing(shown(KEY_B, { endpoint: at(2) }), shown(KEY_C, { allowed: [] })), privateKey: KEY_A };
    const wanted = device(peer(KEY_B), peer(KEY_C, { allowed: [] }));
    expect(plan(wanted, has)).toEqual({ words: 'private-key /dev/stdin', calls: [KEY_B] });
  });

  test('a peer that comes in the place of another takes its block before that one goes', () => {
    expect(plan(device(peer(KEY_C, { endpoint: at(2) })), listing(shown(KEY_B, { endpoint: at(2) })))).toEqual({
      words: `peer ${KEY_C} endpoint 192.0.2.2:7471 allowed-ips 100.64.2.0/24 peer ${KEY_B} remove`,
      calls: [KEY_C],
    });
  });

  test('the order of blocks means nothing', () => {
    const blocks = ['100.64.2.0/24', '100.64.3.0/24'].map(parseCidr);
    const has = listing(shown(KEY_B, { allowed: [...blocks].reverse() }));
    expect(plan(device(peer(KEY_B, { allowed: blocks })), has).words).toBe('');
    expect(plan(device(peer(KEY_B, { allowed: blocks.slice(1) })), has).words).toBe(
      `peer ${KEY_B} allowed-ips 100.64.3.0/24`,
    );
  });
});

describe('the endpoint', () => {
  const told = peer(KEY_B, { endpoint: at(2) });
  const learned = listing(shown(KEY_B, { endpoint: at(9) }));
  const stale = listing(shown(KEY_B, { endpoint: at(9), lastHandshakeMs: NOW - 200_000 }));
  const SET = `peer ${KEY_B} endpoint 192.0.2.2:7471`;
  const cases: [string, TunnelPeer, TunnelListing, KnownPeers, string][] = [
    ['learned stays where none is told', peer(KEY_B), learned, new Map(), ''],
    ['learned stays where the same is told as before', told, learned, new Map([[KEY_B, { told: at(2) }]]), ''],
    ['learned stays for an agent that starts', told, learned, new Map(), ''],
    ['another told goes before one learned', told, learned, new Map([[KEY_B, { told: at(3) }]]), SET],
    ['one that is told for the first time, too', told, learned, new Map([[KEY_B, {}]]), SET],
    ['learned long ago is worth nothing', told, stale, new Map([[KEY_B, { told: at(2) }]]), SET],
    ['learned long ago stays where none is told', peer(KEY_B), stale, new Map(), ''],
    ['of a peer without any is what is told', told, listing(shown(KEY_B)), new Map([[KEY_B, { told: at(2) }]]), SET],
  ];
  test.each(cases)('%s', (_, wanted, has, known, words) => {
    expect(plan(device(wanted), has, known).words).toBe(words);
  });

  test('learned in a device that has gone goes into the next, before the one told, but not when it was long ago', () => {
    const empty = { ...listing(), privateKey: undefined };
    const endpointAfter = (wanted: TunnelPeer, seen: TunnelPeerState | undefined): string | undefined =>
      / endpoint (\S+)/.exec(
        plan(device(wanted), empty, new Map([[KEY_B, { told: at(2), ...(seen && { seen }) }]])).words,
      )?.[1];
    expect(endpointAfter(told, learned.peers[0])).toBe('192.0.2.9:7471');
    expect(endpointAfter(told, stale.peers[0])).toBe('192.0.2.2:7471');
    expect(endpointAfter(peer(KEY_B), stale.peers[0])).toBe('192.0.2.9:7471');
    expect(endpointAfter(peer(KEY_B), undefined)).toBeUndefined();
  });

  test('is remembered as told and as seen, of those that are there to stay', () => {
    const has = listing(shown(KEY_B, { endpoint: at(9) }), shown(KEY_C, { endpoint: at(3) }));
    const known = knownAfter(device(told), has, new Map());
    expect([...known]).toEqual([[KEY_B, { told: at(2), seen: has.peers[0] }]]);
    expect(knownAfter(device(told), listing(), known).get(KEY_B)?.seen?.endpoint).toEqual(at(9));
  });
});

test('a call is a keepalive, switched on and back', () => {
  expect(callWords([peer(KEY_B, { keepaliveSeconds: 25 })]).join(' ')).toBe(
    [0, 1, 25].map((seconds) => `peer ${KEY_B} persistent-keepalive ${seconds}`).join(' '),
  );
});

test('a peer that is begun anew is told and has all that it had', () => {
  expect(renewWords(peer(KEY_B, { keepaliveSeconds: 25 }), shown(KEY_B, { endpoint: at(9) })).join(' ')).toBe(
    `peer ${KEY_B} remove peer ${KEY_B} endpoint 192.0.2.9:7471 persistent-keepalive 25 allowed-ips 100.64.2.0/24`,
  );
});

/** A device that does what `wg set` is told, as far as the plan uses it. */
function obey(has: TunnelListing, words: readonly string[]): TunnelListing {
  const peers = new Map(has.peers.map((each) => [each.publicKey, { ...each }]));
  let now: TunnelPeerState | undefined;
  const queue = [...words];
  const next = (): string => queue.shift() ?? '';
  while (queue.length > 0) {
    const word = next();
    if (word === 'peer') {
      const key = next();
      if (queue[0] === 'remove') {
        next();
        peers.delete(key);
        continue;
      }
      now = peers.get(key) ?? { publicKey: key, allowed: [], keepaliveSeconds: 0, bytesReceived: 0, bytesSent: 0 };
      peers.set(key, now);
    } else if (word === 'allowed-ips') {
      const allowed = next().split(',').filter(Boolean).map(parseCidr);
      const taken = new Set(allowed.map(formatCidr));
      for (const [key, other] of peers) {
        if (other !== now)
          peers.set(key, { ...other, allowed: other.allowed.filter((cidr) => !taken.has(formatCidr(cidr))) });
      }
      Object.assign(now ?? {}, { allowed });
    } else if (word === 'persistent-keepalive') {
      Object.assign(now ?? {}, { keepaliveSeconds: Number(next()) });
    } else if (word === 'endpoint') {
      const [address = '', port] = next().split(':');
      Object.assign(now ?? {}, { endpoint: { address: parseIpv4(address), port: Number(port) } });
    }
  }
  return { ...has, peers: [...peers.values()] };
}

const anyPeers: fc.Arbitrary<TunnelPeer[]> = fc
  .array(
    fc.tuple(fc.constantFrom(KEY_A, KEY_B, KEY_C), fc.constantFrom(0, 25), fc.option(fc.integer({ min: 1, max: 3 }))),
    {
      maxLength: 3,
    },
  )
  .chain((heads) =>
    fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }).map((owners) =>
      [...new Map(heads.map((head) => [head[0], head])).values()].map(([key, keepaliveSeconds, endpoint], index) => ({
        publicKey: key,
        keepaliveSeconds,
        ...(endpoint === null ? {} : { endpoint: at(endpoint) }),
        // Each block is one peer's at most.
        allowed: owners.flatMap((owner, block) => (owner === index ? [parseCidr(`100.64.${block}.0/24`)] : [])),
      })),
    ),
  );

test('whatever was there, the plan leads to what is wanted, and then says nothing more', () => {
  fc.assert(
    fc.property(fc.array(anyPeers, { minLength: 1, maxLength: 5 }), (states) => {
      let has = listing();
      let known: KnownPeers = new Map();
      for (const peers of states) {
        const wanted = device(...peers);
        const input = { device: wanted, privateKey: PRIVATE, known, now: NOW };
        has = obey(has, planTunnel({ ...input, listing: has }).words);
        known = knownAfter(wanted, has, known);
        const facts = ({ publicKey, allowed, keepaliveSeconds }: TunnelPeer) =>
          `${publicKey} ${allowed.map(formatCidr).sort().join()} ${keepaliveSeconds}`;
        expect(has.peers.map(facts).sort()).toEqual(peers.map(facts).sort());
        expect(planTunnel({ ...input, known, listing: has }).words).toEqual([]);
      }
    }),
  );
});

describe('routes', () => {
  const source = parseIpv4('100.64.1.1');
  const listed = (destination: string, name: string, rest = {}) => ({
    ...{
      destination: parseCidr(destination),
      device: name,
      type: 'unicast',
      table: 'main',
      metric: 0,
      source,
      ...rest,
    },
  });
  const block = parseCidr('100.64.2.0/24');

  test('are added, moved to another device in one step, and taken away', () => {
    const wanted = [
      { destination: block, device: 'daoli-wg2' },
      { destination: parseCidr('100.64.3.0/24'), device: 'daoli-wg' },
    ];
    const has = [
      listed('100.64.2.0/24', 'daoli-wg1'),
      listed('100.64.4.0/24', 'daoli-wg'),
      listed('10.0.0.0/8', 'eth0'),
    ];
    expect(planTunnelRoutes(wanted, source, has)).toEqual([
      'route replace 100.64.2.0/24 via 100.64.2.0 dev daoli-wg2 onlink src 100.64.1.1',
      'route replace 100.64.3.0/24 via 100.64.3.0 dev daoli-wg onlink src 100.64.1.1',
      'route delete 100.64.4.0/24 dev daoli-wg metric 0',
    ]);
  });

  test('that are right are left alone; another source is put right; others than ours are not touched', () => {
    const wanted = [{ destination: block, device: 'daoli-wg' }];
    expect(
      planTunnelRoutes(wanted, source, [listed('100.64.2.0/24', 'daoli-wg'), listed('100.64.9.9/32', 'daoli0')]),
    ).toEqual([]);
    const other = listed('100.64.2.0/24', 'daoli-wg', { source: parseIpv4('192.0.2.1') });
    expect(planTunnelRoutes(wanted, source, [other])).toHaveLength(1);
    const local = listed('100.64.1.1/32', 'daoli-wg', { type: 'local', table: 'local' });
    expect(planTunnelRoutes([], source, [local])).toEqual([]);
  });
});

describe('keys', () => {
  test('are those of WireGuard: `wg pubkey` says the same', () => {
    expect(publicKeyOf(PRIVATE)).toBe('ig8XijxKcRzP6d+GHxm73wx2beuYDqKvc7Ic2+KHGVw=');
  });

  test('are new each time, and no longer or shorter', () => {
    const keys = Array.from({ length: 8 }, createTunnelKey);
    expect(new Set(keys).size).toBe(8);
    for (const key of keys) expect(checkKey(publicKeyOf(key), 'public')).toHaveLength(44);
  });

  test('what is none is refused, a private one without a word of it', () => {
    for (const text of ['', 'short', `${PRIVATE} `, `${PRIVATE}\npeer`, `${'A'.repeat(43)}B=`]) {
      expect(() => checkKey(text, 'public')).toThrow('is no public key');
      expect(() => publicKeyOf(text)).toThrow('the private key of the tunnels is none');
    }
  });
});

test.each<[string, TunnelDevice[], string]>([
  ['a name of others', [{ ...device(), name: 'eth0' }], '"eth0" cannot be the name'],
  ['a name for a shell', [{ ...device(), name: 'daoli-wg; rm' }], 'cannot be the name'],
  ['one name twice', [device(), device()], 'cannot be the name'],
  ['a port', [{ ...device(), listenPort: 70_000 }], '70000 is no UDP port'],
  ['an MTU', [{ ...device(), mtu: 100 }], '100 is no MTU'],
  ['one key twice', [device(peer(KEY_B), peer(KEY_B, { allowed: [] }))], `two peers of daoli-wg have ${KEY_B}`],
  ['one block twice', [device(peer(KEY_B), peer(KEY_C))], 'two peers of daoli-wg have 100.64.2.0/24'],
  ['no key', [device(peer('x; reboot'))], '"x; reboot" is no public key'],
  ['a keepalive', [device(peer(KEY_B, { keepaliveSeconds: -1 }))], '-1 is no keepalive'],
  [
    'an endpoint',
    [device(peer(KEY_B, { endpoint: { address: at(2).address, port: 0 } }))],
    '192.0.2.2:0 is no endpoint',
  ],
])('refused is %s', (_, devices, message) => {
  expect(() => checkTunnels(devices, [])).toThrow(message);
});

test('refused is a route by a device that is not there', () => {
  const route = { destination: parseCidr('100.64.2.0/24'), device: 'daoli-wg1' };
  expect(() => checkTunnels([device()], [route])).toThrow('there is no device daoli-wg1');
});
