// One host's half of a move: what its Docker is asked for, and what is found in the way beforehand.
import { parseCidr } from '../../src/base/addresses';
import { insertNetwork, renameNetwork } from '../../src/directory/operations';
import type { NetworkId } from '../../src/directory/rows';
import { ownChanges, type ContainerDescription } from '../../src/docker/container-description';
import { textOfLogs } from '../../src/docker/engine-containers';
import { objectionsOf } from '../../src/move/host-powers';
import { LocalHost } from '../../src/move/local-host';
import { refuseImmovable, warningsOf } from '../../src/move/movability';
import type { MovingContainer } from '../../src/move/move-host';
import { MemoryContainers } from '../fakes/memory-containers';
import { createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';
import { movingContainer } from '../fakes/memory-move-host';

const RED = 'a'.repeat(64) as NetworkId;
const BLUE = 'b'.repeat(64) as NetworkId;
const NETWORKS = {
  red: { id: RED, address: '10.1.0.5', mac: '02:42:0a:01:00:05' },
  blue: { id: BLUE, address: '10.2.0.5', mac: '02:42:0a:02:00:05' },
};

let directory: MemoryDirectory;
let docker: MemoryContainers;
let host: LocalHost;
let ports: Record<number, string>;

beforeEach(async () => {
  directory = createMemoryDirectory({ host: 'h1' });
  for (const [id, name, subnet, ipam] of [
    [RED, 'red', '10.1.0.0/24', 'daolinet'],
    [BLUE, 'blue', '10.2.0.0/24', 'docker'],
  ] as const) {
    const network = { id, tenant: 'default', internal: false, gateway: undefined, mtu: 1500, options: {}, ipam };
    const newPools = [{ cidr: parseCidr(subnet) }];
    await directory.transact((c) => ({ ops: insertNetwork(c, { ...network, newPools }), result: undefined }));
    await directory.transact((c) => ({ ops: renameNetwork(c, id, name), result: undefined }));
  }
  docker = new MemoryContainers();
  docker.images.set('busybox', { id: 'sha256:1234', digests: [], layers: ['x'] });
  ports = {};
  const premises = {
    memory: () => ({ total: 4 * 2 ** 30, available: 2 ** 30 }),
    probePort: async (_protocol: string, _hostIp: string, port: number) => ports[port],
  };
  host = new LocalHost({ store: directory, docker, premises });
});

const steps = () => docker.asked.map(([step, ...rest]) => [step, rest[0]]);

describe('making it', () => {
  const web = movingContainer('web', NETWORKS);

  test('an old Docker: the MAC address of the first network, and each network by itself', async () => {
    const { id, networksWithMac } = await host.make(web);
    expect(networksWithMac).toEqual(['red']);
    expect(docker.asked).toEqual([
      [
        'create',
        'daolinet-move-776562000000',
        { Image: 'busybox', MacAddress: '02:42:0a:01:00:05', HostConfig: { NetworkMode: 'red' } },
      ],
      ['disconnect', 'red', id.slice(-4)],
      ['connect', 'red', id.slice(-4), { IPAMConfig: { IPv4Address: '10.1.0.5' } }],
      ['connect', 'blue', id.slice(-4), { IPAMConfig: { IPv4Address: '10.2.0.5' } }],
    ]);
  });

  test('a newer one: in all of them at once, with a MAC address for each', async () => {
    docker.version = '1.51';
    expect(await host.make(web)).toMatchObject({ networksWithMac: ['red', 'blue'] });
    const [made, ...others] = docker.asked;
    expect(others).toEqual([]);
    expect(made![2]).toEqual({
      Image: 'busybox',
      HostConfig: { NetworkMode: 'red' },
      NetworkingConfig: {
        EndpointsConfig: {
          red: { IPAMConfig: { IPv4Address: '10.1.0.5' }, MacAddress: '02:42:0a:01:00:05' },
          blue: { IPAMConfig: { IPv4Address: '10.2.0.5' }, MacAddress: '02:42:0a:02:00:05' },
        },
      },
    });
  });

  test('a newer one, where it lets nobody choose an address', async () => {
    docker.version = '1.51';
    docker.withoutChoice.add('red');
    await host.make(web);
    expect(docker.asked).toHaveLength(2);
    expect(docker.asked[1]![2]).toMatchObject({
      NetworkingConfig: {
        EndpointsConfig: {
          red: { IPAMConfig: {}, MacAddress: '02:42:0a:01:00:05' },
          blue: { IPAMConfig: { IPv4Address: '10.2.0.5' } },
        },
      },
    });
  });

  test('where Docker lets nobody choose an address: by the MAC address, at our IPAM', async () => {
    docker.withoutChoice.add('red');
    const { id } = await host.make(web);
    expect(docker.asked.slice(2, 4)).toEqual([
      ['connect', 'red', id.slice(-4), { IPAMConfig: { IPv4Address: '10.1.0.5' } }],
      ['connect', 'red', id.slice(-4), { IPAMConfig: {} }],
    ]);
  });

  test.each([['1.41'], ['1.51']])('and not at Docker’s own (API %s): nothing is left of it', async (version) => {
    docker.version = version;
    docker.withoutChoice.add('blue');
    await expect(host.make(web)).rejects.toThrow(
      'network blue was made on host h1 without --subnet, and so Docker gives nobody a chosen address there (10.2.0.5): make it with --subnet, or choose another host',
    );
    expect(docker.containers.size).toBe(0);
  });

  test('what an earlier move left goes, unless it has run', async () => {
    const { id } = await host.make(web);
    await host.make(web);
    expect(steps()).toContainEqual(['remove', id.slice(-4)]);
    expect(docker.containers.size).toBe(1);
    const [left] = docker.containers.values();
    docker.containers.set(left!.id, { ...left!, state: 'exited' });
    await expect(host.make(web)).rejects.toThrow('is left of an earlier move and has run');
  });

  test("Docker's bridge beside ours stays as Docker makes it", async () => {
    const both = movingContainer('both', { bridge: { ...NETWORKS.red, address: '172.17.0.2' }, red: NETWORKS.red });
    await host.make({ ...both, networks: { red: RED } });
    expect(steps()).toEqual([
      ['create', 'daolinet-move-626f74680000'],
      ['connect', 'red'],
    ]);
    expect(docker.asked[0]![2]).not.toHaveProperty('MacAddress');
  });
});

describe('going back', () => {
  const web = movingContainer('web', NETWORKS);
  const old = (changes: Partial<ContainerDescription> = {}) =>
    docker.containers.set(web.container.id, { ...web.container, state: 'exited', ...changes });

  test('an address that Docker chose is chosen from now on, so it is the same', async () => {
    old();
    expect(await host.revive(web)).toEqual({ red: '10.1.0.5', blue: '10.2.0.5' });
    expect(steps()).toEqual([
      ['disconnect', 'red'],
      ['connect', 'red'],
      ['disconnect', 'blue'],
      ['connect', 'blue'],
      ['start', '0000'],
    ]);
  });

  test('where it cannot be chosen, it is connected all the same', async () => {
    old();
    docker.withoutChoice.add('blue');
    await host.revive(web);
    expect(docker.asked.slice(-3)).toEqual([
      ['connect', 'blue', '0000', { IPAMConfig: { IPv4Address: '10.2.0.5' } }],
      ['connect', 'blue', '0000', {}],
      ['start', '0000'],
    ]);
  });

  test('one with chosen addresses, or that still runs, is only started', async () => {
    const chosen = {
      ...web.container,
      attachments: web.container.attachments.map((each) => ({ ...each, isChosen: true })),
    };
    old();
    await host.revive({ ...web, container: chosen });
    old({ state: 'running' });
    await host.revive(web);
    expect(steps()).toEqual([
      ['start', '0000'],
      ['start', '0000'],
    ]);
  });

  test('one that was removed as it stopped is made again', async () => {
    await host.revive(web);
    expect(steps().map(([step]) => step)).toEqual(['create', 'disconnect', 'connect', 'connect', 'rename', 'start']);
    expect([...docker.containers.values()]).toMatchObject([{ name: 'web', state: 'running' }]);
  });

  test('one that is kept does not come back by itself', async () => {
    old();
    expect(await host.keep(web.container.id, 'web-moved-to-h2')).toBe('web-moved-to-h2');
    docker.containers.set('f'.repeat(64), { ...web.container, id: 'f'.repeat(64), name: 'web-moved-to-h3' });
    expect(await host.keep(web.container.id, 'web-moved-to-h3')).toBe('web-moved-to-h3-776562000000');
    expect(steps()[0]).toEqual(['forget restart policy', '0000']);
  });
});

describe('looking whether it can be had', () => {
  const web = movingContainer('web', NETWORKS);
  const check = (changes: Partial<MovingContainer> | Partial<ContainerDescription>) => {
    const isOuter = 'networks' in changes || 'memory' in changes || 'image' in changes;
    return host.check(
      isOuter
        ? { ...web, ...(changes as Partial<MovingContainer>) }
        : { ...web, container: { ...web.container, ...(changes as Partial<ContainerDescription>) } },
    );
  };

  test('nothing in the way', async () => {
    expect(await check({})).toEqual({ obstacles: [], objections: [], warnings: [] });
  });

  test('a name that is taken, but not by the beginning of an id', async () => {
    docker.containers.set('beef'.repeat(16), { ...web.container, id: 'beef'.repeat(16), name: 'other' });
    expect((await check({ name: 'beef' })).obstacles).toEqual([]);
    expect((await check({ name: 'other' })).obstacles).toEqual([
      'host h1 has another container other: rename or remove one of the two',
    ]);
  });

  test('no image, or another of that name', async () => {
    expect((await check({ imageId: 'sha256:5678' })).warnings).toEqual([
      'image busybox on host h1 is another one (1234, not 5678): it runs that',
    ]);
    const container = { ...web.container, imageId: 'sha256:5678' };
    // Under another id in another store, but of the same layers.
    expect(
      (await host.check({ ...web, container, image: { id: 'sha256:5678', digests: [], layers: ['x'] } })).warnings,
    ).toEqual([]);
    docker.images.clear();
    expect((await check({})).obstacles).toEqual([
      'host h1 has no image busybox: docker pull busybox there, or docker save and docker load',
    ]);
  });

  test('networks that are not there: of ours, and of others', async () => {
    const attachments = [...web.container.attachments, { ...web.container.attachments[0]!, network: 'rad' }];
    const container = { ...web.container, attachments };
    expect((await host.check({ ...web, container })).obstacles).toEqual([
      'host h1 has no network rad: make it there; did you mean red?',
    ]);
    const elsewhere = { ...web, networks: { red: 'f'.repeat(64), blue: BLUE } };
    expect((await host.check(elsewhere)).obstacles).toEqual(['host h1 does not have network red yet']);
  });

  test('host ports that are taken, or of an address that is not there', async () => {
    ports = { 80: 'EADDRINUSE', 81: 'EADDRNOTAVAIL' };
    const wanted = [80, 81, 82].map((hostPort) => ({ protocol: 'tcp' as const, hostIp: '192.0.2.9', hostPort }));
    expect((await check({ ports: wanted })).obstacles).toEqual([
      'port 80/tcp is taken on host h1',
      'host h1 has no address 192.0.2.9 for port 81/tcp',
    ]);
    // One that does not run wants none.
    expect((await check({ ports: wanted, state: 'exited' })).obstacles).toEqual([]);
  });

  test('room in memory', async () => {
    expect((await check({ hostConfig: { Memory: 8 * 2 ** 30 } })).obstacles).toEqual([
      'host h1 has 4096 MiB of memory, the container may have 8192 MiB',
    ]);
    expect((await check({ memory: 2 * 2 ** 30 })).obstacles).toEqual([
      'host h1 has room for 1024 MiB in memory, the container has 2048 MiB',
    ]);
  });

  test('volumes: what they will be', async () => {
    docker.volumes.add('there');
    const volume = { type: 'volume', destination: '/x', driver: 'local', isAnonymous: false };
    const mounts = [
      { ...volume, source: 'there' },
      { ...volume, source: 'new' },
      { ...volume, source: 'f'.repeat(64), isAnonymous: true },
    ];
    expect((await check({ mounts })).warnings).toEqual([
      'volume there on host h1: there is one of that name already, which it gets',
      'volume new on host h1: it begins empty',
    ]);
  });
});

describe('what it would have of its host', () => {
  test.each([
    [{ Binds: ['data:/data', '/etc:/x:ro'] }, '/x is /etc of its host'],
    [{ Mounts: [{ Type: 'bind', Source: '/etc', Target: '/x' }] }, '/x is /etc of its host'],
    [
      {
        Mounts: [
          {
            Type: 'volume',
            Target: '/x',
            VolumeOptions: { DriverConfig: { Options: { type: 'none', o: 'bind', device: '/etc' } } },
          },
        ],
      },
      '/x is /etc of its host',
    ],
    [{ Privileged: true, CapAdd: ['ALL'] }, 'it has power over its host (privileged), and would have it on host h2'],
    [{ PidMode: 'host', IpcMode: 'host' }, '(pid of the host, ipc of the host)'],
    [{ CapAdd: ['CAP_SYS_ADMIN', 'NET_ADMIN'] }, '(capability SYS_ADMIN)'],
    [{ Devices: [{ PathOnHost: '/dev/kvm' }] }, '(device /dev/kvm)'],
    [{ SecurityOpt: ['seccomp=unconfined'] }, '(seccomp=unconfined)'],
    [{ MaskedPaths: [] }, '(all of /proc)'],
  ])('%j', (hostConfig, message) => {
    expect(objectionsOf(hostConfig, 'h2')).toEqual([expect.stringContaining(message)]);
  });

  test('nothing', () => {
    const hostConfig = {
      Binds: ['data:/data'],
      Mounts: [{ Type: 'volume', Source: 'data', Target: '/d' }],
      CapAdd: ['NET_ADMIN'],
    };
    expect(objectionsOf(hostConfig, 'h2')).toEqual([]);
    expect(objectionsOf({ Binds: null, MaskedPaths: ['/proc/kcore'], PidMode: '' }, 'h2')).toEqual([]);
  });
});

describe('what can go nowhere', () => {
  const refused = (changes: Partial<ContainerDescription>, networks: Record<string, string> = { red: RED }) => {
    const moving = movingContainer('web', NETWORKS, changes);
    return () => refuseImmovable({ ...moving, networks }, 'h1');
  };

  test.each([
    [
      { labels: { 'com.docker.swarm.task.id': 'x', 'com.docker.swarm.service.name': 'shop' } },
      'is a task of swarm service shop',
    ],
    [{ hostConfig: { NetworkMode: 'host' } }, 'has its host’s own network (--network host)'],
    [
      { hostConfig: { NetworkMode: `container:${'f'.repeat(64)}` } },
      'has the network of another container, ffffffffffff,',
    ],
    [{ hostConfig: { PidMode: 'container:db' } }, 'has the process ids of another container, db,'],
    [{ hostConfig: { IpcMode: 'container:db' } }, 'has the memory of another container'],
    [{ hostConfig: { VolumesFrom: ['db'] } }, 'has the volumes of another container'],
    [{ hostConfig: { Links: ['/db:/web/db'] } }, 'has links (--link)'],
    [{ state: 'paused' }, 'is paused: docker unpause web, then move it'],
    [{ state: 'restarting' }, 'starts again and again'],
    [{ state: 'removing' }, 'is being removed'],
  ] as const)('%j', (changes, message) => {
    expect(refused(changes)).toThrow(`container h1/web ${message}`);
  });

  test('one without a network of ours', () => {
    expect(refused({}, {})).toThrow('container h1/web is in no DaoliNet network, but in red, blue');
  });

  test.each(['running', 'exited', 'created'] as const)('and %s can', (state) => {
    expect(refused({ state })).not.toThrow();
  });
});

describe('what stays behind', () => {
  const volume = { type: 'volume', destination: '/x', driver: 'local', isAnonymous: false, source: 'data' };
  const warned = (changes: Partial<ContainerDescription>, changedFiles = 0, isKept = false) =>
    warningsOf({ ...movingContainer('web', NETWORKS, changes), changedFiles }, 'h1', isKept);

  test('nothing', () => expect(warned({})).toEqual([]));

  test('volumes', () => {
    const mounts = [
      volume,
      { ...volume, driver: 'nfs', source: 'far' },
      { ...volume, isAnonymous: true, destination: '/y' },
    ];
    expect(warned({ mounts })).toEqual([
      'volume data stays on h1 with what is in it',
      'volume far is of driver nfs: what is in it comes along only if that driver brings it',
      'what is in its unnamed volumes (/y) stays on h1',
    ]);
    expect(warned({ mounts: mounts.slice(2), autoRemove: true })).toEqual([
      'what is in its unnamed volumes (/y) goes with the container',
    ]);
  });

  test('its own files', () => {
    expect(warned({}, 3)).toEqual([
      '3 of its own files were changed since it was made, and are lost with the old container (--keep keeps that)',
    ]);
    expect(warned({}, 3, true)).toEqual([
      '3 of its own files were changed since it was made, and stay in the old container on h1',
    ]);
  });

  test('which files are its own: not what Docker puts into it', () => {
    const { container } = movingContainer('web', NETWORKS, {
      mounts: [{ ...volume, destination: '/var/data' }],
      hostConfig: { Tmpfs: { '/scratch': '' } },
    });
    const paths = ['/var', '/var/data', '/scratch', '/dev', '/sbin', '/sbin/docker-init', '/tmp', '/tmp/mine', '/gone'];
    expect(ownChanges(container, paths)).toEqual(['/tmp/mine', '/gone']);
  });

  test('compose', () => {
    expect(warned({ labels: { 'com.docker.compose.project': 'shop' } })).toEqual([
      'it is of compose project shop: docker compose up on h1 would make another',
    ]);
  });
});

test('what a container has said, without the frames around it', () => {
  const frame = (stream: number, text: string) => {
    const head = Buffer.alloc(8);
    head[0] = stream;
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  expect(textOfLogs(Buffer.concat([frame(1, 'one\n'), frame(2, 'twö\n')]))).toBe('one\ntwö');
  expect(textOfLogs(Buffer.from('of a terminal\r\n'))).toBe('of a terminal');
  expect(textOfLogs(Buffer.alloc(0))).toBe('');
  expect(textOfLogs(frame(1, 'cut off').subarray(0, 10))).toBe('cu');
});
