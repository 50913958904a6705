// The operations that show what is seen: names in the place of ids, hosts that are asked for their part, and what is refused.
import { Readable } from 'node:stream';
import { parseIpv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { formatEnd } from '../../src/api/ends';
import type { Operation } from '../../src/api/operation';
import { captureOperations } from '../../src/api/operations/capture';
import { dropsOperations, type ShownDrops } from '../../src/api/operations/drops';
import { routeOperations, type ShownRoute, type ShownRouteChange } from '../../src/api/operations/routes';
import { traceOperations, type ShownTrace } from '../../src/api/operations/trace';
import type { EndpointRow } from '../../src/directory/rows';
import type { LiveRoute } from '../../src/flowctl/model';
import type { SeenDrops, WantedCapture, WantedHalf } from '../../src/observe/seeing';
import type { HostTrace } from '../../src/observe/trace';
import { addContainer, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

let cluster: SmallCluster;
let routes: LiveRoute[];
let drops: SeenDrops;
let halves: WantedHalf[];
let asked: string[];
let captured: { endpoint: EndpointRow; wanted: WantedCapture }[];

const half = (host: string, rest: Partial<HostTrace> = {}): HostTrace => ({
  ...{ host, packet: 'icmp', steps: [], route: [], policy: null, differences: [] },
  ...{ fate: `delivered on ${host}`, outcome: 'here' as const },
  ...rest,
});
let answerHalf: (wanted: WantedHalf) => HostTrace;
let remoteAnswers: boolean;

const agent = {
  get view() {
    return cluster.h1.view;
  },
  settled: () => Promise.resolve(),
  status: () => ({ state: 'ready', host: 'h1' }),
  routes: () => Promise.resolve(routes),
  seeing: {
    drops: () => Promise.resolve(drops),
    capture: (endpoint: EndpointRow, wanted: WantedCapture) => {
      captured.push({ endpoint, wanted });
      const output = Readable.from([Buffer.from('pcap')]);
      return Promise.resolve({ output, stop: () => undefined, ended: Promise.resolve({ packets: 0, dropped: 0 }) });
    },
    trace: (wanted: WantedHalf) => {
      halves.push(wanted);
      return Promise.resolve(answerHalf(wanted));
    },
  },
  remote: (host: string) => {
    if (!remoteAnswers) throw new DaoliError('conflict', 'only servers may: do it on 192.0.2.1');
    return {
      get: (path: string) => {
        asked.push(`${host} ${path}`);
        return Promise.resolve(half(host) as never);
      },
      content: (path: string) => {
        asked.push(`${host} ${path}`);
        return Promise.resolve(Readable.from([Buffer.from('theirs')]));
      },
    };
  },
};

beforeEach(async () => {
  cluster = await createSmallCluster();
  routes = [];
  drops = { flows: [], denials: [], filter: {} };
  [halves, asked, captured] = [[], [], []];
  answerHalf = () => half('h1');
  remoteAnswers = true;
});

async function call<T>(operations: readonly unknown[], id: string, query: object, signal?: AbortSignal): Promise<T> {
  const found = (operations as Operation<typeof agent>[]).find((each) => each.id === id)!;
  const incoming = { parameters: {}, query, body: {}, signal: signal ?? new AbortController().signal };
  const outgoing = await found.run(agent, incoming);
  if (outgoing.kind === 'json') return outgoing.value as T;
  return (outgoing.kind === 'stream' ? outgoing.items : outgoing.content) as T;
}

const idOf = (name: string) => [...cluster.h1.view.endpoints()].find((row) => row.containerName === name)!.id;
const pair = (source: string, destination: string, rest: Partial<LiveRoute> = {}): LiveRoute => ({
  ...{ kind: 'pair', source: idOf(source), destination: idOf(destination), ageSeconds: 5, packets: 3, bytes: 294 },
  ...rest,
});

describe('routes', () => {
  const list = (query = {}) => call<ShownRoute[]>(routeOperations, 'listRoutes', query);
  const ends = (shown: ShownRoute[]) => shown.map(({ from, to }) => `${formatEnd(from)} > ${formatEnd(to)}`);

  test('have both ends by name, the outside among them, and those of one container alone', async () => {
    routes = [
      pair('ann', 'bob', { idleSeconds: 2 }),
      pair('ann', 'dan'),
      { kind: 'egress', source: idOf('bob'), ageSeconds: 1 },
      { kind: 'pair', source: 'f'.repeat(64), destination: idOf('ann'), ageSeconds: 1 },
    ];
    expect(ends(await list())).toEqual([
      ...['h1/ann > h1/bob', 'h1/ann > h2/dan', 'h1/bob > *', 'endpoint ffffffffffff > h1/ann'],
    ]);
    expect((await list())[0]).toMatchObject({ seenOn: 'h1', idleSeconds: 2, packets: 3 });
    expect(ends(await list({ from: 'ann' }))).toEqual(['h1/ann > h1/bob', 'h1/ann > h2/dan']);
    expect(ends(await list({ to: 'h2/dan' }))).toEqual(['h1/ann > h2/dan']);
    await expect(list({ from: 'nobody' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(list({ form: 'ann' })).rejects.toMatchObject({ code: 'invalid' });
  });

  test('are told as they come and go, until nobody listens', async () => {
    routes = [pair('ann', 'bob')];
    const gone = new AbortController();
    const changes = await call<AsyncIterable<ShownRouteChange>>(routeOperations, 'watchRoutes', {}, gone.signal);
    const seen: string[] = [];
    for await (const { event, route } of changes) {
      seen.push(`${event} ${formatEnd(route.from)} > ${formatEnd(route.to)}`);
      if (seen.length === 1) routes = [pair('ann', 'bob', { ageSeconds: 6 }), pair('ann', 'dan', { ageSeconds: 0 })];
      // The one that is younger than before went, and came again.
      if (seen.length === 2) routes = [pair('ann', 'dan', { ageSeconds: 9 })];
      if (seen.length === 3) gone.abort();
    }
    expect(seen).toEqual(['is h1/ann > h1/bob', 'came h1/ann > h2/dan', 'went h1/ann > h1/bob']);
  });
});

test('drops have names, meanings, and those of the packet filter', async () => {
  drops = {
    flows: [
      {
        table: 'ROUTE',
        reason: 'denied',
        packets: 7,
        bytes: 700,
        source: idOf('ann'),
        destination: idOf('cat'),
        ageSeconds: 3,
      },
      {
        table: 'ROUTE',
        reason: 'nobody',
        packets: 2,
        bytes: 200,
        source: idOf('ann'),
        address: parseIpv4('10.1.0.99'),
      },
      { table: 'PUNT', reason: 'metered', packets: 5, bytes: 500, source: idOf('bob') },
      { table: 'CLASSIFY', reason: 'spoofed', packets: 1, bytes: 60 },
    ],
    denials: [
      { source: idOf('ann'), destination: idOf('cat'), protocol: 6, port: 80, packets: 2, secondsAgo: 4 },
      { source: '198.51.100.7', destination: idOf('ann'), protocol: 47, port: 0, packets: 1, secondsAgo: 9 },
    ],
    filter: { locator_back_door: { packets: 4, bytes: 240 }, loopback_forged: { packets: 0, bytes: 0 } },
  };
  const shown = await call<ShownDrops>(dropsOperations, 'listDrops', {});
  const line = ({ where, why, packets, from, to }: ShownDrops['drops'][number]) =>
    `${where} ${why} ${packets} ${from && formatEnd(from)} ${to && formatEnd(to)}`;
  expect(shown.drops.map(line)).toEqual([
    'ROUTE denied 7 h1/ann h1/cat',
    'ROUTE nobody 2 h1/ann 10.1.0.99',
    'meter metered 5 h1/bob null',
    'CLASSIFY spoofed 1 null null',
    'firewall locator-back-door 4 null null',
  ]);
  expect(shown.drops.every(({ meaning }) => meaning.length > 10)).toBe(true);
  expect(shown.denials.map(({ from, to, protocol }) => `${formatEnd(from)} ${formatEnd(to)} ${protocol}`)).toEqual([
    'h1/ann h1/cat tcp/80',
    '198.51.100.7 h1/ann 47',
  ]);
});

describe('a capture', () => {
  const capture = (query: object) => call<Readable>(captureOperations, 'captureEndpoint', query);

  test('of a container here, bounded where nothing is said', async () => {
    expect(Buffer.concat(await (await capture({ container: 'ann' })).toArray()).toString()).toBe('pcap');
    await capture({ container: 'h1/bob', count: '5', seconds: '3600', filter: 'tcp port 80' });
    expect(captured.map(({ endpoint, wanted }) => [endpoint.containerName, wanted])).toEqual([
      ['ann', { filter: '', count: undefined, seconds: 60 }],
      ['bob', { filter: 'tcp port 80', count: 5, seconds: 3600 }],
    ]);
  });

  test('of one on another host, from there; a client is refused', async () => {
    expect(Buffer.concat(await (await capture({ container: 'dan', count: '1' })).toArray()).toString()).toBe('theirs');
    expect(asked[0]).toMatch(
      /^h2 \/v1\/capture\?container=h2%2F[0-9a-f]{64}&network=[0-9a-f]+&filter=&seconds=60&count=1$/,
    );
    remoteAnswers = false;
    await expect(capture({ container: 'dan' })).rejects.toThrow('only servers may');
  });

  test.each([
    {},
    { container: '' },
    { container: 'ann', seconds: '3601' },
    { container: 'ann', count: '0' },
    { container: 'ann', count: '1.5' },
    { container: 'ann', file: 'x' },
  ])('%j is wrong', async (query) => {
    await expect(capture(query)).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('a trace', () => {
  const trace = (query: object) => call<ShownTrace>(traceOperations, 'tracePacket', query);

  test('on one host is asked there alone', async () => {
    const shown = await trace({ from: 'ann', to: 'bob', transport: 'tcp/80' });
    expect(shown).toMatchObject({ transport: 'tcp/80', isDelivered: true, agrees: true, unknown: [] });
    expect(halves).toMatchObject([{ half: 'departure', source: idOf('ann'), destination: idOf('bob') }]);
    expect(halves[0]?.transport).toEqual({ protocol: 'tcp', port: 80 });
  });

  test('between hosts has a half of each', async () => {
    answerHalf = () => half('h1', { outcome: 'other-host' });
    const shown = await trace({ from: 'ann', to: 'dan' });
    expect(shown.hosts.map(({ host }) => host)).toEqual(['h1', 'h2']);
    expect(asked).toEqual([
      `h2 /v1/trace/half?half=arrival&source=${idOf('ann')}&transport=icmp&destination=${idOf('dan')}`,
    ]);
    expect(shown).toMatchObject({ fate: 'delivered on h2', isDelivered: true });
  });

  test('from another host begins there', async () => {
    await trace({ from: 'dan', to: 'ann' });
    expect(asked[0]).toContain(`h2 /v1/trace/half?half=departure&source=${idOf('dan')}`);
  });

  test('on a client says what it cannot know', async () => {
    remoteAnswers = false;
    answerHalf = () => half('h1', { outcome: 'other-host', fate: 'sent to host h2, for dan' });
    const shown = await trace({ from: 'ann', to: 'dan' });
    expect(shown).toMatchObject({ isDelivered: null, fate: 'sent to host h2, for dan' });
    expect(shown.unknown).toEqual(['h2: only servers may: do it on 192.0.2.1']);
  });

  test('says where a datapath differs', async () => {
    answerHalf = () => half('h1', { differences: ['it is to leave by port 2, and OVS drops it'] });
    expect((await trace({ from: 'ann', to: 'bob' })).agrees).toBe(false);
  });

  test('to an address, and to a container whose tenant is another', async () => {
    answerHalf = () => half('h1', { outcome: 'outside' });
    expect(await trace({ from: 'ann', to: '198.51.100.7' })).toMatchObject({
      isDelivered: true,
      to: { address: '198.51.100.7' },
    });
    expect(halves[0]).toMatchObject({ destination: undefined, address: parseIpv4('198.51.100.7') });
    await addContainer(cluster.h1, 'eve', 'green', '10.1.0.3');
    const shown = await trace({ from: 'ann', to: 'eve' });
    // In ann's tenant that address is bob's.
    expect(halves[1]).toMatchObject({ destination: idOf('bob') });
    expect(shown.isDelivered).toBe(false);
    expect(shown.fate).toContain('in tenant other, which nothing of tenant default reaches');
  });

  test('of a container in several networks goes by the one that both are in', async () => {
    await addContainer(cluster.h1, 'ann', 'blue', '10.2.0.9');
    await trace({ from: 'ann', to: 'cat' });
    expect(cluster.h1.view.endpoint(halves[0]!.source as EndpointRow['id'])?.address).toBe(parseIpv4('10.2.0.9'));
    await expect(trace({ from: 'ann', to: '198.51.100.7' })).rejects.toThrow('say which network');
    await trace({ from: 'ann', to: '198.51.100.7', network: 'blue' });
    await expect(trace({ from: 'ann', to: '198.51.100.7', network: 'green' })).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  test.each(['tcp', 'tcp/0', 'tcp/65536', 'sctp/1', 'icmp/3', 'udp/53x'])('transport %s is none', async (transport) => {
    await expect(trace({ from: 'ann', to: 'bob', transport })).rejects.toMatchObject({ code: 'invalid' });
  });
});
