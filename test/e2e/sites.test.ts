// Four hosts at four sites, two of them behind NAT, with two hubs: everybody reaches everybody, nothing of a container is to be
// read between sites whatever happens, and hubs, keys, addresses and agents may go.
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { joinSites, makeNetwork, startSites, stopCluster, type LabSites } from '../../lab/cluster';
import { INTERNET_ADDRESS, PLUGIN, waitFor, type Host } from '../../lab/host';
import { Capture } from './support/capture';
import { askDirectory, identityOf } from './support/directory-door';
import { lendPrograms, listens } from './support/peers';
import { killForLong, untilGuarded } from './support/standby';

jest.setTimeout(120_000);

const IMAGE = 'busybox';
let lab: LabSites;
let dc: Host;
let cloud: Host;
let home: Host;
let office: Host;
let all: readonly (readonly [Host, string])[];

beforeAll(async () => {
  lab = await startSites({ dc: 1, cloud: 1, home: 1, office: 1 }, { nat: ['home', 'office'] });
  [dc, cloud, home, office] = ['dc1', 'cloud1', 'home1', 'office1'].map((name) => lab.host(name)) as [
    Host,
    Host,
    Host,
    Host,
  ];
  await joinSites(lab, { hubs: ['dc1', 'cloud1'] });
  await makeNetwork('demo', '10.9.0.0/24', [dc, cloud, home, office]);
  all = [dc, cloud, home, office].map((host, index) => [host, `10.9.0.${index + 2}`] as const);
  for (const [host, address] of all) {
    const words = ['-d', '--name', 'box', '--network', 'demo', '--ip', address, '--stop-timeout', '0'];
    await host.docker('run', ...words, IMAGE, 'sleep', '3600');
  }
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

const inBox = (host: Host, ...command: string[]) => host.docker('exec', 'box', ...command);
const addressOf = (host: Host) => all.find(([each]) => each === host)?.[1] ?? '';
const pings = (from: Host, to: Host, count = 1) => inBox(from, 'ping', '-c', `${count}`, '-W', '2', addressOf(to));
const answers = (from: Host, to: Host) =>
  pings(from, to).then(
    () => true,
    () => false,
  );

/** Serves one run of iperf3, when the one before is over. */
async function serveIperf(host: Host): Promise<void> {
  const isThere = () => listens(host, 'box', 5201);
  await waitFor('the end of the iperf3 before', async () => !(await isThere()));
  await inBox(host, 'iperf3', '-s', '-1', '-D');
  await waitFor('iperf3', isThere);
}

/** A stream of TCP that says how it went, and a second of datagrams beside it. Resolves with those that were lost. */
async function streams(from: Host, to: Host): Promise<{ readonly packets: number; readonly lost: number }> {
  await serveIperf(to);
  const words = ['iperf3', '-J', '-u', '-b', '1M', '-t', '1', '-c', addressOf(to)];
  const { end } = JSON.parse(await inBox(from, ...words)) as {
    end: { sum: { packets: number; lost_packets: number } };
  };
  return { packets: end.sum.packets, lost: end.sum.lost_packets };
}

/** Payloads of pings, that can be told on the wire. */
const [HUSH, LOUD] = ['ab', 'cd'];
const marker = (pattern: string) => Buffer.alloc(64, parseInt(pattern, 16));

/** Pings with a payload that can be told; whether there are answers does not matter. */
async function murmur(from: Host, to: string, pattern: string): Promise<void> {
  const words = ['ping', '-c', '4', '-i', '0.3', '-W', '1', '-s', '400', '-p', pattern];
  await from.tryDocker('exec', 'box', ...words, to);
}

/** The addresses that a traceroute shows. */
const hops = async (from: Host, to: Host) => {
  const text = await inBox(from, 'traceroute', '-n', '-w', '2', '-q', '1', addressOf(to));
  return [...text.matchAll(/^ *\d+ +([\d.]+)/gm)].map(([, address]) => address);
};

/** Those behind NAT reach one another through a hub: the first of them, when both reach it. */
const untilThrough = (hub: Host) =>
  waitFor(`the way through ${hub.name}`, async () => (await hops(home, office)).includes(hub.address));

describe('everybody reaches everybody', () => {
  test('by ping, whichever side is behind NAT', async () => {
    for (const [from] of all) for (const [to] of all) if (from !== to) await pings(from, to);
  });

  test('by TCP and UDP, in both directions', async () => {
    for (const [from, to] of [
      [home, dc],
      [dc, home],
      [office, home],
      [home, office],
      [cloud, dc],
    ] as const) {
      const { packets, lost } = await streams(from, to);
      expect(packets).toBeGreaterThan(50);
      expect(lost).toBeLessThan(packets / 10);
    }
  });

  test('a traceroute names the servers, and the hub', async () => {
    expect(await hops(home, dc)).toEqual([home.address, dc.address, addressOf(dc)]);
    await untilThrough(cloud);
    expect(await hops(home, office)).toEqual([home.address, cloud.address, office.address, addressOf(office)]);
  });

  test('new networks have packets that fit, and TCP’s fit as well', async () => {
    expect(await inBox(home, 'ip', 'link', 'show', 'eth0')).toContain('mtu 1420');
    await inBox(home, 'ping', '-c', '1', '-W', '2', '-s', '1392', addressOf(office));
  });
});

describe('between sites nothing of a container is to be read', () => {
  const others = async () => {
    for (const to of [dc, office]) await murmur(home, addressOf(to), HUSH);
  };
  test.each<[string, () => Promise<void>, () => Promise<void>]>([
    ['while all is well', () => Promise.resolve(), () => Promise.resolve()],
    [
      'on the first packets of a container',
      async () => {
        await home.docker(
          'run',
          '-d',
          '--name',
          'new',
          '--network',
          'demo',
          '--stop-timeout',
          '0',
          IMAGE,
          'ping',
          '-i',
          '0.3',
          '-s',
          '400',
          '-p',
          HUSH,
          addressOf(dc),
        );
      },
      async () => void (await home.docker('rm', '-f', 'new')),
    ],
    [
      'while the tunnels are gone',
      async () => {
        for (const device of ['daoli-wg', 'daoli-wg1', 'daoli-wg2'])
          await home.tryExec('ip', ['link', 'delete', device]);
      },
      () => Promise.resolve(),
    ],
    [
      'while the key changes',
      async () => void (await home.daolictl('cluster', 'rotate-keys')),
      () => Promise.resolve(),
    ],
    ['while the agent starts anew', () => home.killAgent(), () => Promise.resolve()],
    ['while a hub is cut off', () => lab.internet.cut('home1', 'cloud1'), () => lab.internet.heal()],
  ])('%s', async (_, disturb, mend) => {
    const capture = await lab.internet.captureBetweenSites();
    await Promise.all([disturb(), others()]);
    await murmur(home, INTERNET_ADDRESS, LOUD);
    await capture.stop();
    await mend();
    expect(capture.count(marker(LOUD))).toBeGreaterThan(0);
    expect(capture.count(marker(HUSH))).toBe(0);
    await waitFor('the way to be back', () => answers(home, dc));
  });

  test('while the plugin is disabled, and it is reached again when it is enabled', async () => {
    const capture = await lab.internet.captureBetweenSites();
    await home.docker('plugin', 'disable', '-f', PLUGIN);
    await murmur(home, addressOf(dc), HUSH);
    await murmur(dc, addressOf(home), HUSH);
    await home.docker('plugin', 'enable', PLUGIN);
    await waitFor('the way to be back', () => answers(home, dc));
    await capture.stop();
    expect(capture.count(marker(HUSH))).toBe(0);
  });
});

test('a hub that dies is replaced within five seconds', async () => {
  await untilThrough(cloud);
  await Promise.all([lab.internet.cut('home1', 'cloud1'), lab.internet.cut('office1', 'cloud1')]);
  const start = Date.now();
  await waitFor('the other hub', () => answers(home, office));
  expect(Date.now() - start).toBeLessThan(15_000);
  await lab.internet.heal();
});

test('a hub that only one of two hosts reaches is passed by within five seconds, both ways', async () => {
  await untilThrough(cloud);
  await lab.internet.cut('home1', 'cloud1');
  const start = Date.now();
  await waitFor('the hub that both reach', () => answers(office, home));
  expect(Date.now() - start).toBeLessThan(15_000);
  expect(await hops(office, home)).toContain(dc.address);
  await lab.internet.heal();
});

test('a TCP connection outlives another key of either end', async () => {
  await serveIperf(dc);
  const stream = inBox(home, 'iperf3', '-J', '-b', '1M', '-t', '6', '-c', addressOf(dc));
  await home.daolictl('cluster', 'rotate-keys');
  await dc.daolictl('cluster', 'rotate-keys');
  const { intervals, end } = JSON.parse(await stream) as {
    intervals: readonly unknown[];
    end: { sum_received: { bytes: number } };
  };
  expect(intervals.length).toBeGreaterThanOrEqual(6);
  expect(end.sum_received.bytes).toBeGreaterThan(500_000);
});

test('the interface of a host takes smaller packets: its tunnel and its new networks do so, too', async () => {
  const mtuIn = (text: string) => Number(/ mtu (\d+)/.exec(text)?.[1]);
  const setMtu = (mtu: string) => home.exec('ip', ['link', 'set', 'dev', 'eth0', 'mtu', mtu]);
  const ofTunnel = async () => mtuIn(await home.exec('ip', ['link', 'show', 'dev', 'daoli-wg']));
  const ofContainer = async (network: string) =>
    mtuIn(await home.docker('run', '--rm', '--network', network, IMAGE, 'ip', 'link', 'show', 'dev', 'eth0'));
  expect(await ofTunnel()).toBe(1420);
  await setMtu('1400');
  await waitFor('the tunnel', async () => (await ofTunnel()) === 1320);
  await home.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.19.0.0/24', 'narrow');
  expect([await ofContainer('demo'), await ofContainer('narrow')]).toEqual([1420, 1320]);
  // TCP's segments are made to fit; its connections go on.
  expect((await streams(home, dc)).packets).toBeGreaterThan(0);
  await setMtu('1500');
  await waitFor('the tunnel', async () => (await ofTunnel()) === 1420);
  await home.docker('network', 'rm', 'narrow');
});

test('a host whose address changes behind its NAT is found again', async () => {
  await lab.internet.changePublicAddress('home');
  await waitFor('the way from home', () => answers(home, dc));
  await waitFor('the way to home', () => answers(office, home));
});

describe('a host that gets another address', () => {
  const shown = async (host: Host) => {
    const { hosts } = JSON.parse(await dc.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus;
    return hosts.find(({ name }) => name === host.name);
  };
  /** Hosts that share no L2 with their site. */
  const withoutL2 = async () =>
    /^without an L2 in common with their site: (.*)$/m.exec(await home.daolictl('cluster', 'status'))?.[1] ?? '';
  const isReady = async (host: Host) => (await host.daolictl('status')).includes('ready');

  test('behind its NAT is found again, under that address', async () => {
    const address = await lab.internet.changeAddress('home1');
    const start = Date.now();
    await waitFor('the way from home', () => answers(home, dc));
    await waitFor('the way to home', () => answers(office, home));
    await waitFor('its address', async () => (await shown(home))?.address === address);
    expect(Date.now() - start).toBeLessThan(30_000);
    expect(await isReady(home)).toBe(true);
    expect(await hops(home, dc)).toEqual([address, dc.address, addressOf(dc)]);
  });

  test('of another network, as on another Wi-Fi, is found there, and sends nothing over the L2 that it finds', async () => {
    await lab.internet.moveHost('home1', 'office');
    const start = Date.now();
    await waitFor('the way from it', () => answers(home, dc));
    await waitFor('the way to it', () => answers(office, home));
    await waitFor('its address', async () => (await shown(home))?.address === home.address);
    expect(Date.now() - start).toBeLessThan(30_000);
    await waitFor('that it has no L2', async () => (await withoutL2()).includes('home1'));
    await lab.internet.moveHost('home1', 'home');
    await waitFor('it at home', async () => (await shown(home))?.address === home.address);
    await waitFor('the way to it', () => answers(office, home));
    await waitFor('that all have one', async () => (await withoutL2()) === '');
  });

  test('that others dial is dialled there, and its hub’s work goes on', async () => {
    const address = await lab.internet.changeAddress('cloud1');
    const start = Date.now();
    await waitFor('the way to it', () => answers(dc, cloud));
    await waitFor('the way from behind NAT', () => answers(home, cloud));
    await waitFor('its address', async () => (await shown(cloud))?.address === address);
    await waitFor('its endpoint', async () => (await shown(cloud))?.endpoint === `${address}:7471`);
    expect(Date.now() - start).toBeLessThan(30_000);
    expect(await isReady(cloud)).toBe(true);
    await untilThrough(cloud);
  });
});

test('a host behind NAT whose agent is gone is served by one of another site, and others’ packets come to it', async () => {
  expect(await untilGuarded(home)).toEqual(['cloud1', 'dc1']);
  const new2 = ['--name', 'new2', '--network', 'demo', '--stop-timeout', '0', '--ip', '10.9.0.20'];
  await home.docker('run', '-d', ...new2, IMAGE, 'sleep', '3600');
  const revive = await killForLong(home);
  const start = Date.now();
  const reaches = (host: Host, container: string, address: string) => async () =>
    (await host.tryDocker('exec', container, 'ping', '-c', '1', '-W', '1', address)).code === 0;
  try {
    await waitFor('an answer on the same host', reaches(home, 'box', '10.9.0.20'));
    expect(Date.now() - start).toBeLessThan(6_000); // 2 s are meant
    await waitFor('an answer of another site', reaches(home, 'new2', addressOf(dc)));
    await waitFor('an answer to a hub', reaches(cloud, 'box', '10.9.0.20'));
    await waitFor('an answer to who is behind NAT, too', reaches(office, 'box', '10.9.0.20'));
  } finally {
    await revive();
  }
  await untilGuarded(home);
  await home.docker('rm', '-f', 'new2');
});

describe('whoever is between sites', () => {
  // Each packet many times, as it is, whatever source it has; not faster than they are taken.
  const SEND = `
    socket(my $socket, 2, 3, 255) or die "socket: $!";
    for my $packet (map { pack('H*', $_) } @ARGV) {
      my $to = pack('S n a4 x8', 2, 0, substr($packet, 16, 4));
      for (1 .. 20) { send($socket, $packet, 0, $to) or die "send: $!"; select(undef, undef, undef, 0.001) }
    }`;
  const octets = (...addresses: string[]) => Buffer.from(addresses.flatMap((each) => each.split('.').map(Number)));
  const PROTOCOL_AT = 9;
  const UDP = 17;
  /** Where the kinds of WireGuard's messages stand in a packet: 1 begins a session, 2 answers that, 4 has data. */
  const KIND_AT = 28;

  function altered(packet: Buffer, alter: (copy: Buffer) => unknown): Buffer {
    const copy = Buffer.from(packet);
    copy.writeUInt16BE(0, 26); // no checksum of UDP
    alter(copy);
    return copy;
  }

  test('and sends again what it has heard, or something like it, gets nothing in and moves nobody', async () => {
    const ends = octets(lab.internet.addressSeen('home1'), dc.address);
    const [wire, first] = [await lab.internet.captureBetweenSites(), await Capture.start(dc, 'box')];
    await home.daolictl('cluster', 'rotate-keys');
    await waitFor('the way to be back', () => answers(home, dc));
    await murmur(home, addressOf(dc), HUSH);
    await Promise.all([wire.stop(), first.stop()]);
    expect(first.count(marker(HUSH))).toBeGreaterThan(0);
    const packets = wire.frames(ends).map((frame) => frame.subarray(frame.indexOf(ends) - 12));
    const heard = packets.filter((packet) => packet[PROTOCOL_AT] === UDP);
    const sessions = heard.filter((packet) => [1, 2].includes(packet[KIND_AT]!));
    // Several that were sent together are one frame here.
    const data = heard.filter((packet) => packet[KIND_AT] === 4 && packet.length > 400 && packet.length <= 1_500);
    expect(sessions.length).toBeGreaterThan(0);
    expect(data.length).toBeGreaterThan(3);

    const again = [...sessions.slice(0, 4), ...data.slice(0, 8)];
    const forged = again.flatMap((packet) => [
      altered(packet, (copy) => octets(INTERNET_ADDRESS).copy(copy, 12)),
      altered(packet, (copy) => copy.writeUInt8(copy.at(-1)! ^ 1, copy.length - 1)),
      // The next number of the session
      altered(packet, (copy) => copy.writeUInt32LE(copy.readUInt32LE(KIND_AT + 8) + 1_000, KIND_AT + 8)),
      altered(packet, (copy) => copy.fill(0x5a, KIND_AT + 4)),
    ]);
    const [second, arriving] = [await Capture.start(dc, 'box'), await Capture.start(dc, '(host)')];
    await lab.internet.run('perl', '-e', SEND, ...[...again, ...forged].map((packet) => packet.toString('hex')));
    await pings(dc, home);
    await pings(home, dc);
    await Promise.all([second.stop(), arriving.stop()]);
    // At a host that is busy with them some are lost.
    expect(arriving.count(ends)).toBeGreaterThan(again.length * 40);
    expect(arriving.count(octets(INTERNET_ADDRESS, dc.address))).toBeGreaterThan(again.length * 10);
    expect(second.count(marker(HUSH))).toBe(0);
  });
});

describe('a host that was broken into', () => {
  const transact = (...operations: object[]) => ({ id: 1, method: 'transact', params: ['DaoliNet', ...operations] });
  const rowOf = async (ask: (request: object) => Promise<string>, table: string, host: readonly [string, unknown]) => {
    const select = { op: 'select', table, where: [[host[0], '==', host[1]]], columns: ['_uuid'] };
    const { result } = JSON.parse(await ask(transact(select))) as { result: [{ rows: { _uuid: unknown }[] }] };
    return result[0].rows[0]?._uuid;
  };

  test('changes nothing of how others are reached, nor what only servers say of itself', async () => {
    lendPrograms(home);
    const identity = await identityOf(home);
    const ask = (request: object) => askDirectory(home, dc.address, identity, request);
    const own = await rowOf(ask, 'Host', ['name', 'home1']);
    const theirs = await rowOf(ask, 'Host', ['name', 'dc1']);
    const tunnels = [await rowOf(ask, 'Tunnel', ['host', own]), await rowOf(ask, 'Tunnel', ['host', theirs])];
    const [ownTunnel, theirTunnel] = tunnels.map((uuid) => [['_uuid', '==', uuid]]);
    const key = `${'a'.repeat(42)}A=`;
    const update = (table: string, where: unknown, row: object) => ({ op: 'update', table, where, row });
    const host = { op: 'insert', table: 'Tunnel', row: { host: theirs, key, port: 7471, no_l2: false } };
    for (const [operation, why] of [
      [update('Tunnel', theirTunnel, { key }), 'that Tunnel is another host’s'],
      [update('Tunnel', theirTunnel, { endpoint: '203.0.113.7:7471' }), 'that Tunnel is another host’s'],
      [host, 'a Tunnel belongs to the host that writes it'],
      [update('Host', [['_uuid', '==', own]], { is_hub: true }), 'hosts do not change is_hub of a Host'],
      [update('Host', [['_uuid', '==', own]], { encrypt: false }), 'hosts do not change encrypt of a Host'],
      [update('Host', [['_uuid', '==', own]], { site: 'dc' }), 'hosts do not change site of a Host'],
      [update('Host', [['_uuid', '==', theirs]], { encrypt: false }), 'that Host is another'],
      [update('Tunnel', ownTunnel, { endpoint: '100.64.0.1:7471' }), 'no host is reached there'],
      [{ op: 'insert', table: 'LocatorBlock', row: { cidr: '100.64.0.0/24' } }, 'the locator block is'],
    ] as const) {
      expect(await ask(transact(operation))).toContain(why);
    }
    await pings(home, dc);
    await pings(office, home);
  });
});

test('a host that is put out of the cluster gets nowhere, at once, though its tunnels still run', async () => {
  const { hosts } = JSON.parse(await dc.daolictl('--output', 'json', 'cluster', 'status')) as {
    hosts: readonly { name: string; locators: readonly string[] }[];
  };
  const block = (name: string) => hosts.find((host) => host.name === name)?.locators[0] ?? '';
  const others = [dc, cloud, home];
  for (const other of others) await waitFor(`the way to ${other.name}`, () => answers(office, other));
  const routes = (host: Host) => host.exec('ip', ['route']);
  for (const other of others) expect(await routes(other)).toContain(`${block('office1')} via`);
  await dc.daolictl('host', 'rm', 'office1');
  const start = Date.now();
  for (const other of others) {
    await waitFor(`its end on ${other.name}`, async () => !(await routes(other)).includes(`${block('office1')} via`));
  }
  expect(Date.now() - start).toBeLessThan(3_000);
  const boxes = await Promise.all(others.map((other) => Capture.start(other, 'box')));
  for (const other of others) {
    await murmur(office, addressOf(other), HUSH);
    const locator = block(other.name).replace('.0/24', '.1');
    expect((await office.tryExec('ping', ['-c', '1', '-W', '1', locator])).code).not.toBe(0);
  }
  expect(await office.exec('ip', ['link'])).toContain('daoli-wg1');
  expect(await office.exec('ip', ['route'])).toContain(`${block('dc1')} via`);
  await pings(home, dc);
  await Promise.all(boxes.map((box) => box.stop()));
  for (const box of boxes) expect(box.count(marker(HUSH))).toBe(0);
});
