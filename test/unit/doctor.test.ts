// What the doctor makes of facts: nothing wrong is nothing but ok, and everything that can be wrong has a remedy.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import {
  examine,
  type DoctorFacts,
  type Finding,
  type LeakFacts,
  type PeerFacts,
} from '../../src/observe/doctor-checks';
import { findFacts, type DoctorParts } from '../../src/observe/doctor-facts';
import { DaoliError } from '../../src/base/errors';
import { isRow, update } from '../../src/ovsdb/operations';
import { MemoryDocker } from '../fakes/memory-docker';
import { RecordingHost } from '../fakes/recording-host';
import { createSmallCluster } from '../fakes/small-cluster';

const PEER: PeerFacts = {
  name: 'h2',
  address: '192.0.2.2',
  doorProblem: undefined,
  answersOnFabric: true,
  sizeProblem: undefined,
  clockOffsetMs: 40,
};
const WELL: DoctorFacts = {
  state: 'ready',
  versions: [
    { host: 'h1', version: '0.2.0' },
    { host: 'h2', version: '0.2.0' },
  ],
  kernel: {
    release: '6.12.0',
    hasOpenvswitch: true,
    datapath: 'system',
    ipForward: '1',
    bridgeNetfilter: undefined,
  },
  ovs: { version: '3.5.0', differences: 0, otherControllers: [], isConnected: true },
  docker: { version: '28.5.2', missingForward: 0, isTableRight: true },
  database: {
    ...{ isConnected: true, isInCluster: true, isServer: true, servers: 3, members: 3, hasLeader: true },
    bytes: 1024 * 1024,
  },
  locators: { range: '100.64.0.0/10', isInCluster: true, foreign: [] },
  fabric: { noL2: false, hasPeers: true, isThere: true, mtu: 1500, largestMtu: 1500, peers: [PEER] },
  tunnels: [{ name: 'home1', locator: '100.64.2.1', mtu: 1420, passes: 'full' }],
  charges: {
    host: 'h1',
    master: 'h1',
    obstacle: null,
    backups: [
      { host: 'h2', isConnected: true },
      { host: 'h3', isConnected: true },
    ],
    others: 3,
  },
  certificateDays: 25,
  addressProblem: undefined,
  leaks: { links: [], ports: [], endpoints: [] },
};

const TUNNEL = { name: 'home1', locator: '100.64.2.1', mtu: 1420 };

const vpn = (host: string | undefined) => ({
  locators: { ...WELL.locators, foreign: [{ device: 'tailscale0', address: '100.101.7.7', host }] },
});
const wrong = (facts: Partial<DoctorFacts>): Finding[] =>
  examine({ ...WELL, ...facts }).filter(({ level }) => level !== 'ok');
const peers = (peer: Partial<PeerFacts>) => ({ fabric: { ...WELL.fabric, peers: [{ ...PEER, ...peer }] } });

test('where all is well, it says what it has looked at, and nothing else', () => {
  const findings = examine(WELL);
  expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  expect([...new Set(findings.map(({ check }) => check))]).toEqual([
    'agent',
    'versions',
    'kernel',
    'Open vSwitch',
    'Docker',
    'directory',
    'certificate',
    'locators',
    'backups',
    'fabric',
    'tunnels',
    'clocks',
    'leaks',
  ]);
  expect(findings.every(({ remedy }) => remedy === null)).toBe(true);
});

test('a host alone has no fabric, clocks or certificate to look at', () => {
  const fabric = { noL2: false, hasPeers: false, isThere: false, mtu: undefined, largestMtu: 1500, peers: [] } as const;
  const database = { ...WELL.database, isInCluster: false, servers: 1, members: null, hasLeader: null };
  const findings = examine({ ...WELL, fabric, database, certificateDays: undefined });
  expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  expect(findings.some(({ check }) => ['fabric', 'clocks', 'certificate'].includes(check))).toBe(false);
});

const kernel = WELL.kernel;
const ovs = WELL.ovs as Exclude<DoctorFacts['ovs'], { problem: string }>;
const docker = WELL.docker as Exclude<DoctorFacts['docker'], { problem: string }>;
const { database, fabric } = WELL;

test.each<[string, Partial<DoctorFacts>, Finding['level'], string]>([
  ['an agent that waits', { state: 'waiting for Open vSwitch' }, 'error', 'waiting for Open vSwitch'],
  [
    'another version on some hosts',
    { versions: [...WELL.versions, { host: 'h3', version: '0.1.0' }, { host: 'h4', version: undefined }] },
    'warning',
    '0.2.0 on h1, h2; 0.1.0 on h3; an older one on h4',
  ],
  ['no forwarding', { kernel: { ...kernel, ipForward: '0' } }, 'error', 'ip_forward=1'],
  ['the userspace datapath', { kernel: { ...kernel, datapath: 'netdev' } }, 'warning', 'userspace'],
  ['no Open vSwitch', { ovs: { problem: 'it does not answer' } }, 'error', 'does not answer'],
  ['a bridge that is not connected', { ovs: { ...ovs, isConnected: false } }, 'error', 'not connected'],
  ['a bridge that was changed', { ovs: { ...ovs, differences: 2 } }, 'error', '2 places'],
  [
    'another controller',
    { ovs: { ...ovs, otherControllers: ['tcp:192.0.2.9:6653'] } },
    'warning',
    'tcp:192.0.2.9:6653',
  ],
  ['no Docker', { docker: { problem: 'the Docker engine: away' } }, 'error', 'away'],
  ['a FORWARD chain without ours', { docker: { ...docker, missingForward: 2 } }, 'error', '2 of our rules'],
  ['a changed packet filter', { docker: { ...docker, isTableRight: false } }, 'error', 'inet daolinet'],
  ['no database', { database: { ...database, isConnected: false } }, 'error', 'does not answer'],
  ['no leader', { database: { ...database, hasLeader: false } }, 'error', 'no leader'],
  ['a server that has not come yet', { database: { ...database, members: 2 } }, 'warning', '1 of 3'],
  ['a single server', { database: { ...database, servers: 1, members: 1 } }, 'warning', 'none can be lost'],
  ['a large database', { database: { ...database, bytes: 2 ** 30 } }, 'warning', '1024.0 MiB'],
  ['an address that is on no interface', { addressProblem: 'its address is gone' }, 'error', 'its address is gone'],
  ['a certificate that ends', { certificateDays: 2.5 }, 'warning', '2 days'],
  ['one that is over', { certificateDays: 0 }, 'error', 'over'],
  ['no port onto the fabric', { fabric: { ...fabric, isThere: false } }, 'error', 'not there'],
  ['a tunnel that is too narrow', { tunnels: [{ ...TUNNEL, passes: 'small' }] }, 'warning', '1420 bytes'],
  ['a tunnel that nothing passes', { tunnels: [{ ...TUNNEL, passes: 'nothing' }] }, 'error', '7471'],
  ['a narrow fabric', { fabric: { ...fabric, mtu: 1400 } }, 'warning', 'mtu=1400'],
  ['a host out of reach', peers({ doorProblem: 'connect ECONNREFUSED' }), 'error', 'h2 (192.0.2.2) is out of reach'],
  ['a way that swallows large packets', peers({ sizeProblem: 'no answer' }), 'error', 'not by large ones'],
  ['a host that no packets come through to', peers({ answersOnFabric: false }), 'error', 'no L2 is common to the two'],
  ['no L2, as was detected', { fabric: { ...fabric, noL2: 'detected', hasPeers: false } }, 'warning', '(detected)'],
  ['another VPN with our addresses', vpn(undefined), 'warning', 'tailscale0 has 100.101.7.7'],
  ['one with those of a host', vpn('h2'), 'error', 'in a block of host h2'],
  ['a clock ahead', peers({ clockOffsetMs: 90_000 }), 'error', '90 s ahead'],
  ['a clock behind', peers({ clockOffsetMs: -90_000 }), 'error', '90 s behind'],
  ['links left behind', { leaks: { links: ['dl01'], ports: [], endpoints: [] } }, 'warning', 'dl01'],
  ['ports left behind', { leaks: { links: [], ports: ['dl02'], endpoints: [] } }, 'warning', 'dl02'],
  ['rows left behind', { leaks: { links: [], ports: [], endpoints: ['ann'] } }, 'warning', 'ann'],
])('%s', (_, facts, level, words) => {
  const found = wrong(facts);
  expect(found).toHaveLength(1);
  expect(found[0]?.level).toBe(level);
  expect(`${found[0]?.what} ${found[0]?.remedy}`).toContain(words);
  expect(found[0]?.remedy).not.toBeNull();
});

test.each([
  [{ master: 'h2' }, 'h2 is in charge of this host’s datapath, and not this agent'],
  [{ master: null }, 'nobody is in charge of this host’s datapath, and not this agent'],
  [{ obstacle: 'another’s', backups: [] }, 'no host stands by for this one'],
  [{ backups: [] }, 'no host stands by for this one'],
  [{ backups: [{ host: 'h2', isConnected: false }] }, 'h2 stands by for this host, but Open vSwitch does not reach it'],
])('backups: %j', (change, what) => {
  expect(wrong({ charges: { ...WELL.charges, ...change } }).map((each) => each.what)).toEqual([what]);
});

test('a host that is alone needs no backups', () => {
  expect(wrong({ charges: { ...WELL.charges, backups: [], others: 0 } })).toEqual([]);
});

test('a long list of what is left behind is cut', () => {
  const links = Array.from({ length: 9 }, (_, n) => `dl${n}`);
  expect(wrong({ leaks: { links, ports: [], endpoints: [] } })[0]?.what).toContain('dl4 and 4 more');
});

describe('facts', () => {
  async function world(change: Partial<DoctorParts> = {}) {
    const { h1 } = await createSmallCluster();
    const host = new RecordingHost();
    const docker = new MemoryDocker();
    docker.endpoints = [...h1.view.endpointsOn('h1')].map(({ id, networkId }) => ({
      endpointId: id,
      networkId,
      aliases: [],
      labels: new Map(),
    }));
    const parts: DoctorParts = {
      store: h1,
      host,
      docker,
      cluster: {
        status: () => Promise.resolve({ cluster: null, hosts: [{ isServer: true, member: null }] }),
        certificateDays: undefined,
        addressProblem: undefined,
      },
      plane: () => undefined,
      agentState: () => 'ready',
      charges: () => ({ master: 'h1', obstacle: null, backups: [] }),
      remote: () => {
        throw new DaoliError('conflict', 'this host is a client');
      },
      standsMs: () => Promise.resolve(undefined),
      databasePath: '/nowhere',
      locatorRange: parseCidr('100.64.0.0/10'),
      knock: (address) => Promise.resolve(address === '192.0.2.2' ? 'connect ECONNREFUSED' : undefined),
      now: () => 0,
      tunnels: () => ({ mtu: 1420, hosts: [] }),
      mtu: 1500,
      ...change,
    };
    return { parts, host, docker, h1 };
  }

  test('of a host whose parts are away are facts, too', async () => {
    const { parts, docker } = await world();
    docker.setAvailable(false);
    const facts = await findFacts(parts);
    expect(facts.ovs).toEqual({ problem: 'it does not answer, or not yet' });
    expect(facts.docker).toHaveProperty('problem');
    expect(facts.leaks).toHaveProperty('problem');
    expect(facts.database).toMatchObject({ isInCluster: false, members: null, bytes: undefined });
    expect(facts.kernel.ipForward).toBe('0');
  });

  test('what nobody has is found: links, ports, endpoints that Docker has forgotten', async () => {
    const port = (name: string, id: string) => ({
      name,
      portNo: undefined,
      error: undefined,
      externalIds: new Map([['daolinet-endpoint', id]]),
    });
    const plane = {
      ...{ datapath: 'netdev', ovsVersion: undefined, flowHost: undefined, isConnected: true },
      inspect: () => ({ differences: 0, otherControllers: [] }),
      probeFabric: () => Promise.resolve(true),
      ports: () => [port('dl00000000001', 'gone'), { ...port('daoli0', ''), externalIds: new Map<string, string>() }],
    };
    const { parts, host, docker } = await world({ plane: () => plane });
    const spec = { mtu: 1500, checksumOffload: true };
    await host.links.createVeth({ name: 'dl123456789ab', peer: 'dc123456789ab', ...spec });
    await host.links.createVeth({ name: 'veth1', peer: 'veth2', ...spec });
    docker.endpoints = docker.endpoints.slice(1);
    const { leaks, ovs: found } = await findFacts(parts);
    expect(leaks).toMatchObject({ ports: ['dl00000000001'], endpoints: ['ann'] });
    expect([...(leaks as LeakFacts).links].sort()).toEqual(['dc123456789ab', 'dl123456789ab']);
    expect(found).toEqual({ version: 'unknown', differences: 0, otherControllers: [], isConnected: true });
  });

  test('addresses of other interfaces inside of the locators are found, with the host that has their block', async () => {
    const { parts, host } = await world();
    host.links.foreign = [
      { device: 'tailscale0', address: parseIpv4('100.101.7.7') },
      { device: 'ppp0', address: parseIpv4('100.64.1.200') },
    ];
    const { locators } = await findFacts(parts);
    expect(locators).toMatchObject({
      range: '100.64.0.0/10',
      foreign: [
        { device: 'tailscale0', address: '100.101.7.7', host: undefined },
        { device: 'ppp0', address: '100.64.1.200', host: 'h2' },
      ],
    });
  });

  test('a client knocks at doors, and asks nobody', async () => {
    const { parts } = await world();
    const { fabric: seen } = await findFacts(parts);
    expect(
      seen.peers.map(({ name, address, clockOffsetMs, sizeProblem }) => [name, address, clockOffsetMs, sizeProblem]),
    ).toEqual([['h2', '192.0.2.2', null, null]]);
    expect(seen.peers[0]?.doorProblem).toBe('connect ECONNREFUSED');
  });

  test('a host whose agent is too old to be asked has no trouble with large packets', async () => {
    const seen = async (code: 'conflict' | 'unavailable') => {
      const get = () => Promise.reject(new DaoliError(code, 'so it is'));
      const { parts } = await world({ knock: () => Promise.resolve(undefined), remote: () => ({ get }) });
      const { sizeProblem, clockOffsetMs } = (await findFacts(parts)).fabric.peers[0]!;
      return [sizeProblem, clockOffsetMs];
    };
    expect(await seen('conflict')).toEqual([null, null]);
    expect(await seen('unavailable')).toEqual(['so it is', null]);
  });

  test('over the fabric a silent host is told of where its datapath is there to answer, and not where nothing is known', async () => {
    const plane = (answers: boolean) => ({
      ...{ datapath: 'netdev', ovsVersion: undefined, flowHost: undefined, isConnected: true },
      inspect: () => ({ differences: 0, otherControllers: [] }),
      ports: () => [],
      probeFabric: () => Promise.resolve(answers),
    });
    const seen = async (answers: boolean, theirMs: number | undefined, own: { ms?: number } = { ms: 60_000 }) => {
      const standsMs = (host?: string) => Promise.resolve(host === undefined ? own.ms : theirMs);
      const asked = { knock: () => Promise.resolve(undefined), standsMs };
      const { parts, h1 } = await world({ ...asked, plane: () => plane(answers) });
      const { uuid } = h1.view.host('h1')!;
      h1.database.transact([update('Host', isRow(uuid), { address: '192.0.2.1' })]);
      return (await findFacts(parts)).fabric.peers[0]?.answersOnFabric;
    };
    expect(await seen(true, undefined)).toBe(true);
    expect(await seen(false, 60_000)).toBe(false);
    expect(await seen(false, 100)).toBeNull();
    expect(await seen(false, undefined)).toBeNull();
    // This host's own datapath has just come, or hangs: it is not the other that is to blame.
    expect(await seen(false, 60_000, { ms: 100 })).toBeNull();
    expect(await seen(false, 60_000, {})).toBeNull();
  });

  test('hosts at the other ends of tunnels are pinged, with large packets first', async () => {
    const { parts, host } = await world({ tunnels: () => ({ mtu: 1420, hosts: ['h2', 'nobody'] }) });
    const sizes: (number | undefined)[] = [];
    const answering = (most: number) => {
      host.tunnels.probe = ({ packetBytes = 84 }) => {
        sizes.push(packetBytes);
        return Promise.resolve(packetBytes <= most ? 3 : undefined);
      };
      return findFacts(parts);
    };
    const tunnel = { name: 'h2', locator: '100.64.1.1', mtu: 1420 };
    expect((await answering(1420)).tunnels).toEqual([{ ...tunnel, passes: 'full' }]);
    expect((await answering(1280)).tunnels).toEqual([{ ...tunnel, passes: 'small' }]);
    expect((await answering(0)).tunnels).toEqual([{ ...tunnel, passes: 'nothing' }]);
    expect(sizes).toEqual([1420, 1420, 84, 1420, 84]);
  });

  test('a server asks the others for their clocks, and for something large', async () => {
    const asked: string[] = [];
    const { parts } = await world({
      knock: () => Promise.resolve(undefined),
      now: () => 1_000,
      remote: (name) => ({
        get: (path, schema) => {
          asked.push(`${name} ${path}`);
          return Promise.resolve(schema.parse({ time: new Date(61_000).toISOString() }));
        },
      }),
    });
    const { fabric: seen } = await findFacts(parts);
    expect(seen.peers).toMatchObject([{ doorProblem: undefined, sizeProblem: undefined, clockOffsetMs: 60_000 }]);
    expect(asked).toEqual(['h2 /v1/openapi.json', 'h2 /v1/status']);
  });
});
