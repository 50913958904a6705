// Networks apart, and tenants apart though they use the same addresses: with NET_ADMIN and NET_RAW inside its container, an
// attacker forges what can be forged. Each forged packet carries a word of its own; the tests say who got to see that word.

import { HOST_ADDRESS, INTERNET_ADDRESS, OUTSIDE_ADDRESS, waitFor, type Host } from '../../lab/host';
import { Capture } from './support/capture';
import {
  arp,
  BROADCAST,
  ETH_TYPE,
  ethernet,
  ipv4,
  sendDatagram,
  sendFrames,
  type Arp,
  type Datagram,
} from './support/frames';
import {
  answers,
  ask,
  getApi,
  ON_HOST,
  OUTSIDE,
  ping,
  serveAt,
  startClient,
  startHostWithPeers,
  startServer,
} from './support/peers';

jest.setTimeout(120_000);

/** Every container and its network: two tenants with the same addresses, and a second network of the first tenant. */
const CONTAINERS = {
  mallory: ['red', '10.1.0.66'],
  red1: ['red', '10.1.0.10'],
  red2: ['red', '10.1.0.11'],
  blue1: ['blue', '10.1.0.10'],
  blue2: ['blue', '10.1.0.11'],
  side1: ['red-side', '10.2.0.10'],
  side2: ['red-side', '10.2.0.11'],
} as const;
type Name = keyof typeof CONTAINERS;
const WATCHED = ['red1', 'red2', 'blue1', 'blue2', 'side1'] as const;
const PUBLISHED = 8080;
const SILENT = { timeoutMs: 1500 };

interface Endpoint {
  readonly container: string;
  readonly address: string;
  readonly mac: string;
  readonly locator: string;
  readonly interface: string;
}
type Counters = Record<string, number>;

let host: Host;
let routerMac: string;
let endpoints: Record<string, Endpoint>;
const captures = new Map<string, Capture>();
let words = 0;

beforeAll(async () => {
  host = await startHostWithPeers();
  await serveAt(host, OUTSIDE, ['80/tcp']);
  for (const [name, tenant, subnet] of [
    ['red', 'red', '10.1.0.0/24'],
    ['red-side', 'red', '10.2.0.0/24'],
    ['blue', 'blue', '10.1.0.0/24'],
  ] as const) {
    const ipam = ['--ipam-driver', 'daolinet', '--ipam-opt', `tenant=${tenant}`, '--subnet', subnet];
    await host.docker('network', 'create', '-d', 'daolinet', ...ipam, name);
  }
  for (const [name, [network, ip]] of Object.entries(CONTAINERS)) {
    const publish = name === 'blue1' ? ['-p', `${PUBLISHED}:80`] : [];
    await startServer(host, name, ['80/tcp', '53/udp'], ['--network', network, '--ip', ip, ...publish]);
  }
  await learnEndpoints();
  for (const name of WATCHED) captures.set(name, await Capture.start(host, name));
  captures.set(ON_HOST, await Capture.start(host, ON_HOST, 'daoli0'));
  captures.set(OUTSIDE, await Capture.start(host, OUTSIDE, 'uplink'));
}, 900_000);

afterAll(() => host?.stop(), 60_000);

async function learnEndpoints(): Promise<void> {
  await waitFor('the names of all containers', async () => {
    const rows = await getApi<Endpoint[]>(host, '/v1/endpoints');
    endpoints = Object.fromEntries(rows.map((row) => [row.container, row]));
    return Object.keys(CONTAINERS).every((name) => endpoints[name] !== undefined);
  });
  await ping(host, 'mallory', CONTAINERS.red1[1]);
  const neighbours = await host.inNetworkOf('mallory', 'ip', 'neigh', 'show', CONTAINERS.red1[1]);
  routerMac = /lladdr (\S+)/.exec(neighbours)?.[1] ?? '';
}

function of(name: Name): Endpoint {
  const endpoint = endpoints[name];
  if (endpoint === undefined) throw new Error(`there is no endpoint of ${name}`);
  return endpoint;
}

const counters = (): Promise<Counters> => getApi<Counters>(host, '/v1/counters');

/** Packets that a named counter of the packet filter has seen. */
async function filtered(name: string): Promise<number> {
  const text = await host.exec('nft', ['list', 'counter', 'inet', 'daolinet', name]);
  return Number(/packets (\d+)/.exec(text)?.[1] ?? NaN);
}

/** A word that no packet has had yet. */
const newWord = (): string => `secret-word-${String(++words).padStart(4, '0')}.`;

/** Who has seen a word by now, and how often. What is under way arrives first. */
async function seenBy(word: string): Promise<Record<string, number>> {
  // What mallory caused is behind: its port and the agent have done with it when these have come through.
  await ping(host, 'mallory', '10.1.0.1');
  await getApi(host, '/v1/routes');
  const pattern = (words % 255) + 1;
  const mark = Buffer.alloc(24, pattern);
  const before = new Map([...captures].map(([name, capture]) => [name, capture.count(mark)]));
  const args = ['-p', pattern.toString(16).padStart(2, '0')];
  await Promise.all([
    ...WATCHED.map((name) => ping(host, name, CONTAINERS[name][0] === 'red-side' ? '10.2.0.1' : '10.1.0.1', ...args)),
    ping(host, 'red1', OUTSIDE_ADDRESS, ...args),
  ]);
  for (const [name, capture] of captures) {
    await waitFor(`the last packet to ${name}`, () => capture.count(mark) > (before.get(name) ?? 0));
  }
  const seen = [...captures].map(([name, capture]) => [name, capture.count(word)] as const);
  return Object.fromEntries(seen.filter(([, count]) => count > 0));
}

/** From mallory, by the router, unless `link` says otherwise. */
function packet(
  fields: Partial<Datagram> & { dst: string },
  text: string | Buffer,
  link: { dst?: string; src?: string } = {},
) {
  const { address, mac } = of('mallory');
  const frame = { dst: routerMac, src: mac, type: ETH_TYPE.IPV4, ...link };
  return ethernet(frame, ipv4({ src: address, ...fields }, text));
}

function arpFrame(dst: string, fields: Partial<Arp> & Pick<Arp, 'op' | 'tpa'>, text: string) {
  const { address, mac } = of('mallory');
  return ethernet({ dst, src: mac, type: ETH_TYPE.ARP }, arp({ sha: mac, spa: address, ...fields }, text));
}

describe('two tenants with the same addresses', () => {
  test('reach their own, at the same time', async () => {
    const asked = {
      red: ask(host, 'red2', '10.1.0.10:80'),
      blue: ask(host, 'blue2', '10.1.0.10:80'),
      'red by udp': ask(host, 'red2', '10.1.0.10:53', { protocol: 'udp' }),
      'blue by udp': ask(host, 'blue2', '10.1.0.10:53', { protocol: 'udp' }),
      'red, the other way': ask(host, 'red1', '10.1.0.11:80'),
      'blue, the other way': ask(host, 'blue1', '10.1.0.11:80'),
    };
    expect(await answers(asked)).toEqual({
      red: 'red1 10.1.0.11',
      blue: 'blue1 10.1.0.11',
      'red by udp': 'red1 10.1.0.11',
      'blue by udp': 'blue1 10.1.0.11',
      'red, the other way': 'red2 10.1.0.10',
      'blue, the other way': 'blue2 10.1.0.10',
    });
  });

  test('never see packets of one another', async () => {
    const word = newWord();
    const frames = ['10.1.0.10', '10.1.0.11', '10.2.0.10'].map((dst) => packet({ dst }, word));
    await sendFrames(host, 'mallory', frames);
    expect(await seenBy(word)).toEqual({ red1: 1, red2: 1 });
  });
});

test('networks of one tenant do not reach one another', async () => {
  const before = await counters();
  expect(
    await answers({
      tcp: ask(host, 'red1', '10.2.0.10:80', SILENT),
      udp: ask(host, 'red1', '10.2.0.10:53', { ...SILENT, protocol: 'udp' }),
      back: ask(host, 'side1', '10.1.0.10:80', SILENT),
    }),
  ).toEqual({ tcp: 'timeout', udp: 'timeout', back: 'timeout' });
  expect(await ping(host, 'red1', '10.2.0.10', '-W', '1')).toBe(0);
  expect((await counters())['denied']).toBeGreaterThan(before['denied'] ?? NaN);
});

/** What is sent, and the counter that rises by as many. */
type Attack = [what: string, counter: string, frames: (word: string) => Buffer[]];

const FORGED: Attack[] = [
  ["another's address", 'droppedSpoofed', (word) => [packet({ src: '10.1.0.11', dst: '10.1.0.10' }, word)]],
  ["another's MAC", 'droppedSpoofed', (word) => [packet({ dst: '10.1.0.10' }, word, { src: of('red2').mac })]],
  [
    "another's address and MAC",
    'droppedSpoofed',
    (word) => [packet({ src: '10.1.0.11', dst: '10.1.0.10' }, word, { src: of('red2').mac })],
  ],
  [
    "another tenant's MAC",
    'droppedSpoofed',
    (word) => [packet({ src: '10.1.0.11', dst: '10.1.0.10' }, word, { src: of('blue2').mac })],
  ],
  [
    "the router's MAC and the gateway's address",
    'droppedSpoofed',
    (word) => [packet({ src: '10.1.0.1', dst: '10.1.0.10' }, word, { src: routerMac })],
  ],
  [
    'no address, a broadcast one, loopback, its own locator',
    'droppedSpoofed',
    (word) =>
      ['0.0.0.0', '255.255.255.255', '127.0.0.1', of('mallory').locator].map((src) =>
        packet({ src, dst: '10.1.0.10' }, word),
      ),
  ],
  [
    "frames straight to a victim's MAC",
    'droppedSpoofed',
    (word) =>
      WATCHED.flatMap((name) => {
        const { address, mac, locator } = of(name);
        return [packet({ dst: address }, word, { dst: mac }), packet({ dst: locator }, word, { dst: mac })];
      }),
  ],
  [
    "frames straight to the MAC of the host's port",
    'droppedSpoofed',
    (word) => {
      const own = parseInt(routerMac.slice(-2), 16);
      const near = [own ^ 1, own + 1, own - 1].map((last) => (last & 0xff).toString(16).padStart(2, '0'));
      return near.map((last) =>
        packet({ dst: of('blue1').locator }, word, { dst: `${routerMac.slice(0, -2)}${last}` }),
      );
    },
  ],
];

const FORGED_ARP: Attack[] = [
  [
    'an ARP answer that it is the gateway, to each victim',
    'droppedArp',
    (word) =>
      WATCHED.map((name) => {
        const { mac, address } = of(name);
        return arpFrame(mac, { op: 'reply', spa: '10.1.0.1', tha: mac, tpa: address }, word);
      }),
  ],
  [
    'a gratuitous ARP for the gateway and for a victim, as question and as answer',
    'droppedArp',
    (word) =>
      ['10.1.0.1', '10.1.0.10'].flatMap((address) =>
        (['request', 'reply'] as const).map((op) => arpFrame(BROADCAST, { op, spa: address, tpa: address }, word)),
      ),
  ],
  [
    "an ARP question with another's address, or MAC",
    'droppedArp',
    (word) => [
      arpFrame(BROADCAST, { op: 'request', spa: '10.1.0.10', tpa: '10.1.0.11' }, word),
      arpFrame(BROADCAST, { op: 'request', sha: of('red2').mac, tpa: '10.1.0.11' }, word),
      arpFrame(BROADCAST, { op: 'request', sha: routerMac, spa: '10.1.0.1', tpa: '10.1.0.11' }, word),
    ],
  ],
];

const ODD_FRAMES: Attack[] = [
  [
    'broadcast and multicast',
    'droppedMulticast',
    (word) => [
      packet({ dst: '255.255.255.255' }, word, { dst: BROADCAST }),
      packet({ dst: '10.1.0.255' }, word, { dst: BROADCAST }),
      packet({ dst: '10.1.0.10' }, word, { dst: BROADCAST }),
      packet({ dst: '224.0.0.251' }, word, { dst: '01:00:5e:00:00:fb' }),
      packet({ dst: '10.1.0.10' }, word, { dst: '01:80:c2:00:00:00' }),
      ethernet({ dst: '01:80:c2:00:00:0e', src: of('mallory').mac, type: 0x88cc }, Buffer.from(word)),
      ethernet({ dst: '33:33:00:00:00:01', src: of('mallory').mac, type: ETH_TYPE.IPV6 }, Buffer.from(word)),
    ],
  ],
  [
    'VLAN tags: of a VLAN, of none, of a provider, doubled',
    'droppedTagged',
    (word) => {
      const { mac: src, address } = of('mallory');
      const inner = ipv4({ src: address, dst: '10.1.0.10' }, word);
      const { VLAN, PROVIDER_VLAN, IPV4 } = ETH_TYPE;
      const stacks = [[[VLAN, 5]], [[VLAN, 0]], [[PROVIDER_VLAN, 5]], [[PROVIDER_VLAN, 5], [VLAN, 5]]] as const; // prettier-ignore
      return stacks.flatMap((tags) =>
        [routerMac, of('red1').mac].map((dst) => ethernet({ dst, src, type: IPV4, tags }, inner)),
      );
    },
  ],
  [
    'IPv6, MPLS, PPPoE, EAPOL',
    'droppedSpoofed',
    (word) =>
      [ETH_TYPE.IPV6, 0x8847, 0x8864, 0x888e].flatMap((type) =>
        [routerMac, of('red1').mac].map((dst) => ethernet({ dst, src: of('mallory').mac, type }, Buffer.from(word))),
      ),
  ],
];

const BACK_DOORS: Attack[] = [
  [
    "other containers' locators",
    'droppedLocators',
    (word) => [...WATCHED, 'mallory' as const].map((name) => packet({ dst: of(name).locator }, word)),
  ],
  [
    'locators that nobody has',
    'droppedLocators',
    (word) => ['100.64.0.0', '100.64.0.200', '100.127.255.255'].map((dst) => packet({ dst }, word)),
  ],
  [
    'loopback, link-local, this network, multicast and broadcast addresses',
    'droppedGuarded',
    (word) =>
      ['127.0.0.1', '127.255.255.255', '169.254.169.254', '0.0.0.0', '0.1.2.3', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255'] // prettier-ignore
        .map((dst) => packet({ dst }, word)),
  ],
];

describe.each([
  ['from a forged sender', FORGED],
  ['forged ARP', FORGED_ARP],
  ['frames that are not for a router', ODD_FRAMES],
  ['packets to back doors', BACK_DOORS],
])('%s', (_, attacks) => {
  test.each(attacks)('%s: nobody sees them, and each is counted', async (_what, counter, frames) => {
    const word = newWord();
    const sent = frames(word);
    const before = await counters();
    await sendFrames(host, 'mallory', sent);
    expect(await seenBy(word)).toEqual({});
    await waitFor('the counter', async () => {
      const risen = ((await counters())[counter] ?? NaN) - (before[counter] ?? NaN);
      return risen >= sent.length;
    });
  });
});

describe('through the host', () => {
  test("another tenant's published port answers as published, and no other port of it does", async () => {
    const blue = of('blue1').locator;
    const heard = await answers({
      published: ask(host, 'mallory', `${HOST_ADDRESS}:${PUBLISHED}`),
      'not published': ask(host, 'mallory', `${HOST_ADDRESS}:80`, SILENT),
      'by its locator': ask(host, 'mallory', `${blue}:80`, SILENT),
      'published, by its locator': ask(host, 'mallory', `${blue}:${PUBLISHED}`, SILENT),
      'the published port of the host by its locator': ask(host, 'mallory', `100.64.0.1:${PUBLISHED}`),
    });
    expect(heard).toEqual({
      published: expect.stringMatching(/^blue1 /),
      'not published': 'ECONNREFUSED',
      'by its locator': expect.stringMatching(/timeout|UNREACH/),
      'published, by its locator': expect.stringMatching(/timeout|UNREACH/),
      'the published port of the host by its locator': expect.stringMatching(/^blue1 /),
    });
    // The server must not take the attacker for a container of its own tenant.
    expect(heard['published']).not.toMatch(/ 10\.1\./);
  });

  test("no way leads around the datapath, by the MAC of a container's own veth pair", async () => {
    const word = newWord();
    const veth = await host.exec('sh', ['-c', `cat /sys/class/net/${of('mallory').interface}/address`]);
    const before = await filtered('around_datapath');
    const targets = [HOST_ADDRESS, '100.64.0.1', of('blue1').locator, OUTSIDE_ADDRESS];
    await sendFrames(
      host,
      'mallory',
      targets.map((dst) => packet({ dst }, word, { dst: veth })),
    );
    await waitFor(
      'the packets to be dropped',
      async () => (await filtered('around_datapath')) >= before + targets.length,
    );
    expect(await seenBy(word)).toEqual({});
    // Nor does the host answer for its own addresses, where the container thinks that they are near.
    await host.inNetworkOf('mallory', 'ip', 'route', 'add', `${HOST_ADDRESS}/32`, 'dev', 'eth0');
    await ping(host, 'mallory', HOST_ADDRESS);
    const neighbour = await host.inNetworkOf('mallory', 'ip', 'neigh', 'show', HOST_ADDRESS);
    await host.inNetworkOf('mallory', 'ip', 'route', 'del', `${HOST_ADDRESS}/32`, 'dev', 'eth0');
    expect(neighbour).toContain(routerMac);
  });

  test('a source route to a victim ends at the host', async () => {
    const word = newWord();
    const frames = [131, 137].flatMap((type) =>
      // Loose and strict source routing (RFC 791): type, length, pointer, one address, end of options.
      (['blue1', 'side1'] as const).map((name) => {
        const hops = [...of(name).locator.split('.').map(Number)];
        return packet({ dst: HOST_ADDRESS, options: Buffer.from([type, 7, 4, ...hops, 0]) }, word);
      }),
    );
    await sendFrames(host, 'mallory', frames);
    expect(Object.keys(await seenBy(word)).filter((name) => name !== ON_HOST)).toEqual([]);
  });

  test('a packet inside a packet is not unpacked', async () => {
    const word = newWord();
    const inner = ipv4({ src: '10.1.0.11', dst: of('blue1').locator }, word);
    const [IP_IN_IP, GRE] = [4, 47];
    const frames = [
      packet({ dst: HOST_ADDRESS, protocol: IP_IN_IP }, inner),
      packet({ dst: HOST_ADDRESS, protocol: GRE }, Buffer.concat([Buffer.from([0, 0, 8, 0]), inner])),
    ];
    await sendFrames(host, 'mallory', frames);
    const seen = await seenBy(word);
    expect(WATCHED.filter((name) => seen[name] !== undefined)).toEqual([]);
  });

  test("a container on Docker's own bridge does not reach locators, nor addresses of tenants", async () => {
    await startClient(host, 'bridged', []);
    const [word, before] = [newWord(), await filtered('locator_back_door')];
    for (const name of ['blue1', 'red1'] as const) {
      for (const to of [of(name).locator, of(name).address]) await sendDatagram(host, 'bridged', to, word);
    }
    expect(await ask(host, 'bridged', `${of('blue1').locator}:80`, SILENT)).toMatch(/timeout|UNREACH/);
    const seen = await seenBy(word); // outside may: the host knows no 10.1.0.10, and sends that on
    expect([...WATCHED, ON_HOST].filter((name) => seen[name] !== undefined)).toEqual([]);
    expect(await filtered('locator_back_door')).toBeGreaterThanOrEqual(before + 2);
    await host.docker('rm', '-f', 'bridged');
  });
});

describe('from outside', () => {
  beforeAll(async () => {
    for (const range of ['100.64.0.0/10', '10.1.0.0/24', '10.2.0.0/24', '127.0.0.0/8']) {
      await host.tryOutside('ip', 'route', 'add', range, 'via', HOST_ADDRESS);
    }
  });

  test('what is routed at the host towards a locator is dropped there, and counted', async () => {
    const [word, before] = [newWord(), await filtered('locator_back_door')];
    for (const name of WATCHED) await sendDatagram(host, OUTSIDE, of(name).locator, word);
    expect(await ask(host, OUTSIDE, `${of('blue1').locator}:80`, SILENT)).toMatch(/timeout|UNREACH/);
    expect(await ping(host, OUTSIDE, of('blue1').locator, '-W', '1')).toBe(0);
    expect(await seenBy(word)).toEqual({});
    expect(await filtered('locator_back_door')).toBeGreaterThanOrEqual(before + WATCHED.length + 2);
  });

  test("what is routed at the host towards a container's own address reaches nobody", async () => {
    const word = newWord();
    for (const name of WATCHED) await sendDatagram(host, OUTSIDE, of(name).address, word);
    const seen = await seenBy(word);
    expect([...WATCHED, ON_HOST].filter((name) => seen[name] !== undefined)).toEqual([]);
  });

  test('a published port is open, and no other port of that container is', async () => {
    expect(
      await answers({
        published: ask(host, OUTSIDE, `${HOST_ADDRESS}:${PUBLISHED}`),
        'not published': ask(host, OUTSIDE, `${HOST_ADDRESS}:80`, SILENT),
      }),
    ).toEqual({ published: `blue1 ${OUTSIDE_ADDRESS}`, 'not published': 'ECONNREFUSED' });
  });
});

describe('with NET_ADMIN a container may change itself, and reaches nobody by it', () => {
  const shifty = ['--network', 'red', '--ip', '10.1.0.77', '--cap-add', 'NET_ADMIN'];
  const inside = (...args: string[]) => host.inNetworkOf('shifty', 'ip', ...args);

  beforeEach(() => startClient(host, 'shifty', shifty));
  afterEach(() => host.docker('rm', '-f', 'shifty'));

  test.each<[what: string, to: string, commands: string[][]]>([
    ["another container's address", '10.1.0.10', becoming('10.1.0.11', '10.1.0.10')],
    ["another tenant's locator", '10.1.0.10', becoming('100.64.0.5', '10.1.0.10')],
    ['an address in another network of its tenant', '10.2.0.10', becoming('10.2.0.77', '10.2.0.10')],
    ['another MAC', '10.1.0.10', [['link', 'set', 'eth0', 'address', '02:42:ac:11:00:99']]],
  ])('%s', async (_, to, commands) => {
    const [word, before] = [newWord(), await counters()];
    for (const command of commands) await inside(...command);
    // It does not even have to ask who the router is.
    await inside('neigh', 'replace', to, 'lladdr', routerMac, 'dev', 'eth0');
    await sendDatagram(host, 'shifty', to, word);
    expect(await seenBy(word)).toEqual({});
    await waitFor('the count of it', async () => (await counters())['droppedSpoofed']! > before['droppedSpoofed']!);
  });

  function becoming(address: string, to: string): string[][] {
    return [
      ['addr', 'add', `${address}/24`, 'dev', 'eth0'],
      ['route', 'replace', to, 'dev', 'eth0', 'src', address],
    ];
  }
});

test('packets with broken headers reach no stranger and end nothing', async () => {
  const word = newWord();
  const agent = host.agentPid();
  const good = ipv4({ src: of('mallory').address, dst: '10.1.0.99' }, word);
  const broken = [
    [0, 0x40], // no header length
    [0, 0x44], // shorter than a header
    [0, 0x4f], // longer than the packet's own header
    [0, 0x65], // version 6
    [2, 0xff], // longer than the frame
    [3, 0x01], // shorter than its header
    [6, 0x3f], // a fragment far behind
    [8, 0x00], // no life left
    [9, 0x00], // no protocol
  ] as const;
  const frames = broken.flatMap(([at, value]) =>
    ['10.1.0.99', '10.1.0.10', OUTSIDE_ADDRESS].map((dst) => {
      const header = ipv4({ src: of('mallory').address, dst }, word);
      header[at] = value;
      return ethernet({ dst: routerMac, src: of('mallory').mac, type: ETH_TYPE.IPV4 }, header);
    }),
  );
  const cut = [0, 1, 10, 19].map((length) =>
    ethernet({ dst: routerMac, src: of('mallory').mac, type: ETH_TYPE.IPV4 }, good.subarray(0, length)),
  );
  await sendFrames(host, 'mallory', [...frames, ...cut]);
  const strangers = Object.keys(await seenBy(word)).filter((name) => /blue|side/.test(name));
  expect(strangers).toEqual([]);
  expect(host.agentPid()).toBe(agent);
  expect(await getApi(host, '/v1/status')).toMatchObject({ state: 'ready' });
});

test('after all that, everybody reaches their own', async () => {
  const asked = {
    red: ask(host, 'red2', '10.1.0.10:80'),
    blue: ask(host, 'blue2', '10.1.0.10:80'),
    side: ask(host, 'side2', '10.2.0.10:80'),
    attacker: ask(host, 'mallory', '10.1.0.10:80'),
    outward: ask(host, 'mallory', `${INTERNET_ADDRESS}:80`),
  };
  expect(await answers(asked)).toEqual({
    red: 'red1 10.1.0.11',
    blue: 'blue1 10.1.0.11',
    side: 'side1 10.2.0.11',
    attacker: 'red1 10.1.0.66',
    outward: `outside ${HOST_ADDRESS}`,
  });
});
