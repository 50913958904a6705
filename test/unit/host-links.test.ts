// What the kernel is asked for: the commands for links, and what is done where they fail. That the kernel does it, test/e2e shows.
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { silentLogger, type Logger } from '../../src/base/logger';
import { CoProcessSession } from '../../src/host/co-process-session';
import { ipBatchDialogue, shellDialogue } from '../../src/host/dialogues';
import { LinkDeletions } from '../../src/host/link-deletions';
import {
  defaultRouteDevice,
  overlappingRoute,
  parseLinks,
  parseRoutes,
  type LinkDetails,
} from '../../src/host/link-listing';
import { KernelLinks, planInterface } from '../../src/host/links';
import type { SysctlFiles } from '../../src/host/sysctl-files';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner, type Script } from '../fakes/scripted-runner';

const VETH = { name: 'dn1', peer: 'dp1', mtu: 1400, peerMac: parseMac('02:42:0a:01:00:05'), checksumOffload: false };
const ADD = 'link add name dn1 mtu 1400 type veth peer name dp1 mtu 1400 address 02:42:0a:01:00:05';

function world(script: Script = () => undefined, logger: Logger = silentLogger) {
  const runner = new ScriptedRunner(script);
  const clock = new ManualClock();
  const session = (dialogue: typeof ipBatchDialogue): CoProcessSession =>
    new CoProcessSession({ runner, clock, dialogue });
  const written: string[] = [];
  const write = (path: string, value: string): Promise<void> => Promise.resolve(void written.push(`${path}=${value}`));
  const sysctl: SysctlFiles = {
    read: () => Promise.resolve(''),
    write,
    writeIfPresent: write,
    isWritable: () => Promise.resolve(true),
  };
  const deletions = new LinkDeletions(session(ipBatchDialogue), logger);
  const links = new KernelLinks({ ip: session(ipBatchDialogue), shell: session(shellDialogue) }, deletions, sysctl);
  return { links, runner, written, deletions };
}

describe('a veth pair', () => {
  test('is made, its container end without checksum offload, its host end up last and without IPv6', async () => {
    const { links, runner, written } = world();
    await links.createVeth(VETH);
    expect(runner.commands('ip')).toEqual([ADD, 'link set dev dn1 up']);
    expect(runner.commands('sh')).toEqual(['ethtool -K dp1 tx off']);
    expect(written).toEqual(['net/ipv6/conf/dn1/disable_ipv6=1', 'net/ipv4/conf/dn1/arp_ignore=8']);
  });

  test('in the kernel datapath no other program runs', async () => {
    const { links, runner } = world();
    await links.createVeth({ ...VETH, checksumOffload: true });
    expect(runner.processes.map(({ file }) => file)).toEqual(['ip']);
  });

  test('that exists as it should is taken over', async () => {
    const exists = JSON.stringify([
      { ifindex: 5, ifname: 'dn1', link: 'dp1', flags: ['UP'], mtu: 1500, linkinfo: { info_kind: 'veth' } },
    ]);
    const { links, runner } = world((command) => {
      if (command === ADD) return { stderr: 'RTNETLINK answers: File exists' };
      return command.startsWith('ip -j') ? { stdout: exists } : undefined;
    });
    await links.createVeth(VETH);
    expect(runner.commands('ip')).toEqual([
      ADD,
      'link set dev dn1 mtu 1400\nlink set dev dp1 mtu 1400 address 02:42:0a:01:00:05',
      'link set dev dn1 up',
    ]);
  });

  test('that exists as something else is made anew', async () => {
    let tries = 0;
    const { links, runner } = world((command) =>
      command === ADD && tries++ === 0 ? { stderr: 'RTNETLINK answers: File exists' } : { stdout: '[]' },
    );
    await links.createVeth(VETH);
    expect(runner.commands('ip')).toEqual([
      ADD,
      'link delete dev dn1\nlink delete dev dp1',
      ADD,
      'link set dev dn1 up',
    ]);
  });

  test('that the kernel refuses is an error in its words', async () => {
    const { links } = world((command) =>
      command === ADD ? { stderr: 'RTNETLINK answers: No buffer space available' } : {},
    );
    await expect(links.createVeth(VETH)).rejects.toMatchObject({
      code: 'internal',
      message: 'cannot make the veth pair dn1: RTNETLINK answers: No buffer space available',
    });
  });

  test.each(['', 'a b', 'a;reboot', 'a\nlink del eth0', '-x', 'ä', '../x', 'sixteen-bytes-lo'])(
    'the name %j is refused',
    async (name) => {
      const { links, runner } = world();
      await expect(links.createVeth({ ...VETH, name })).rejects.toMatchObject({ code: 'invalid' });
      await expect(links.createVeth({ ...VETH, peer: name })).rejects.toMatchObject({ code: 'invalid' });
      expect(() => links.deleteLink(name)).toThrow('cannot be the name of an interface');
      await expect(links.configureInterface({ name })).rejects.toMatchObject({ code: 'invalid' });
      expect(runner.processes).toHaveLength(0);
    },
  );

  test.each([0, 67, 65536, 1.5, NaN])('an MTU of %d is refused', async (mtu) => {
    await expect(world().links.createVeth({ ...VETH, mtu })).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('deletion', () => {
  test('of one link is one command; of many, one per group of at most 32', async () => {
    const { links, runner } = world();
    links.deleteLink('dn0');
    await links.deletionsDone();
    for (let i = 1; i <= 70; i += 1) links.deleteLink(`dn${i}`);
    links.deleteLink('dn1');
    await links.deletionsDone();
    const [one, ...groups] = runner.commands('ip');
    expect(one).toBe('link delete dev dn0');
    expect(groups.map((group) => group.split('\n').length)).toEqual([33, 33, 7]);
    expect(groups[0]?.split('\n').at(-1)).toMatch(/^link delete group [1-9]\d+$/);
  });

  test('of links that are gone already is no problem, whatever the kernel refuses besides is one', async () => {
    const warned: unknown[] = [];
    let stderr = 'Cannot find device "dn1"\nCannot find device "dn2"\nRTNETLINK answers: No such device';
    const logger: Logger = { ...silentLogger, warn: (_, fields) => void warned.push(fields?.['reason']) };
    const { deletions } = world(() => ({ stderr }), logger);
    for (const name of ['dn1', 'dn2']) deletions.add(name);
    await deletions.done();
    expect(warned).toEqual([]);
    stderr += '\nRTNETLINK answers: Operation not permitted';
    deletions.add('dn3');
    await deletions.done();
    expect(warned).toEqual([['RTNETLINK answers: Operation not permitted']]);
  });

  test('is taken back when the link is made again before its turn', async () => {
    const { links, runner } = world();
    links.deleteLink('dn1');
    await links.createVeth(VETH);
    await links.deletionsDone();
    expect(runner.commands('ip').filter((command) => command.includes('delete'))).toEqual([]);
  });

  test('that is under way is waited for', async () => {
    const order: string[] = [];
    const { links } = world((command) => void order.push(command));
    links.deleteLink('dn1');
    await Promise.resolve();
    await Promise.resolve();
    await links.createVeth(VETH);
    expect(order.indexOf('link delete dev dn1')).toBeLessThan(order.indexOf(ADD));
  });
});

describe('planning an interface', () => {
  const link: LinkDetails = {
    name: 'daoli0',
    index: 3,
    mac: parseMac('02:00:00:00:00:01'),
    mtu: 1500,
    up: true,
    kind: '',
    peer: undefined,
    addresses: [{ address: parseIpv4('100.64.7.1'), prefix: 24 }],
  };

  test('nothing where it is so already', () => {
    const { mac, mtu, addresses } = link;
    expect(planInterface({ name: 'daoli0', mac: mac ?? parseMac('00:00:00:00:00:00'), mtu, addresses }, link)).toEqual(
      [],
    );
    expect(planInterface({ name: 'daoli0' }, link)).toEqual([]);
  });

  test('what differs, the new address before the old one goes', () => {
    const spec = {
      name: 'daoli0',
      mac: parseMac('02:00:00:00:00:02'),
      mtu: 1450,
      addresses: [{ address: parseIpv4('100.64.8.1'), prefix: 24 }],
    };
    expect(planInterface(spec, { ...link, up: false })).toEqual([
      'link set dev daoli0 address 02:00:00:00:00:02',
      'link set dev daoli0 mtu 1450',
      'address add 100.64.8.1/24 dev daoli0',
      'address delete 100.64.7.1/24 dev daoli0',
      'link set dev daoli0 up',
    ]);
  });
});

describe('listings of iproute2', () => {
  test('links: kinds, MACs where there are any, the peer of a veth', () => {
    const listed = parseLinks(
      JSON.stringify([
        { ifindex: 1, ifname: 'lo', flags: ['UP'], mtu: 65536, link_type: 'loopback', address: '00:00:00:00:00:00' },
        {},
        {
          ifindex: 4,
          ifname: 'vb',
          link: 'va',
          flags: [],
          mtu: 1500,
          link_type: 'ether',
          address: '36:fa:bc:85:6d:ee',
          linkinfo: { info_kind: 'veth' },
          addr_info: [
            { family: 'inet', local: '10.9.0.1', prefixlen: 24 },
            { family: 'inet6', local: 'fe80::1', prefixlen: 64 },
          ],
        },
      ]),
    );
    expect(listed).toEqual([
      { name: 'lo', index: 1, mtu: 65536, up: true, kind: '', peer: undefined, addresses: [] },
      {
        name: 'vb',
        index: 4,
        mac: parseMac('36:fa:bc:85:6d:ee'),
        mtu: 1500,
        up: false,
        kind: 'veth',
        peer: 'va',
        addresses: [{ address: parseIpv4('10.9.0.1'), prefix: 24 }],
      },
    ]);
    expect(parseLinks('')).toEqual([]);
  });

  const routes = parseRoutes(
    JSON.stringify([
      { dst: 'default', gateway: '192.0.2.1', dev: 'wlan0', metric: 600 },
      { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', metric: 100 },
      { dst: 'default', dev: 'tailscale0', table: '52' },
      { dst: '192.0.2.0/24', dev: 'eth0', protocol: 'kernel', prefsrc: '192.0.2.2' },
      { type: 'blackhole', dst: '10.7.0.0/16' },
      { dst: '10.8.0.0/16', nexthops: [{ dev: 'eth1' }, { dev: 'eth2' }] },
      { type: 'local', dst: '127.0.0.1', dev: 'lo', table: 'local' },
      { dst: '100.64.7.0/24', dev: 'daoli0' },
    ]),
  );

  test('routes, and the device of the default one', () => {
    expect(routes.slice(4, 7)).toEqual([
      { destination: parseCidr('10.7.0.0/16'), type: 'blackhole', table: 'main', metric: 0 },
      { destination: parseCidr('10.8.0.0/16'), device: 'eth1', type: 'unicast', table: 'main', metric: 0 },
      { destination: parseCidr('127.0.0.1/32'), device: 'lo', type: 'local', table: 'local', metric: 0 },
    ]);
    expect(defaultRouteDevice(routes)).toBe('eth0');
    expect(defaultRouteDevice([])).toBeUndefined();
  });

  test('a range that overlaps a route of somebody else, in any table, is found', () => {
    const overlap = (range: string): string | undefined =>
      overlappingRoute(routes, parseCidr(range), ['daoli0'])?.device;
    expect(overlap('100.64.0.0/10')).toBeUndefined();
    expect(overlappingRoute(routes, parseCidr('100.64.0.0/10'), [])?.device).toBe('daoli0');
    expect(overlap('192.0.2.128/25')).toBe('eth0');
    expect(overlap('192.0.0.0/16')).toBe('eth0');
    expect(overlappingRoute(routes, parseCidr('10.7.1.0/24'), ['daoli0'])).toMatchObject({ type: 'blackhole' });
  });
});

test('the addresses of the host are those of IPv4, of interfaces that are not ours, and which one has the default route', async () => {
  const link = (ifname: string, local: string) => {
    return { ifindex: 2, ifname, flags: ['UP'], mtu: 1500, addr_info: [{ family: 'inet', local, prefixlen: 24 }] };
  };
  const { links, runner } = world((command) => {
    if (command.includes('route')) return { stdout: JSON.stringify([{ dst: 'default', dev: 'eth0' }]) };
    return {
      stdout: JSON.stringify([link('eth0', '192.0.2.1'), link('lo', '127.0.0.1'), link('daoli0', '100.64.0.1')]),
    };
  });
  const network = parseCidr('192.0.2.0/24');
  expect(await links.hostAddresses()).toEqual([
    { address: parseIpv4('192.0.2.1'), network, device: 'eth0', isUplink: true },
  ]);
  expect(runner.commands('sh')).toEqual(['ip -j -4 route show table all', 'ip -4 -j -d addr show']);
});
