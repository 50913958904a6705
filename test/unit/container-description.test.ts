// What a container is made of, read from what Docker 20.10 and 28 really say, and what another Docker is asked to make.
import { connectRequest, createRequest, readContainer, takesMac } from '../../src/docker/container-description';
import docker20 from '../fakes/containers-20.10.json';
import docker28 from '../fakes/containers-28.json';

const VERSIONS = [
  ['20.10', docker20, '1.41', { CapAdd: ['NET_ADMIN'], CapDrop: ['MKNOD'] }],
  ['28', docker28, '1.51', { CapAdd: ['CAP_NET_ADMIN'], CapDrop: ['CAP_MKNOD'] }],
] as const;

describe.each(VERSIONS)('Docker %s', (_, recorded, apiVersion, capabilities) => {
  const web = readContainer(recorded.web);
  const settingsOf = (network: string) => {
    const attachment = web.attachments.find((each) => each.network === network)!;
    return connectRequest(web, attachment, 'address', apiVersion).EndpointConfig as Record<string, unknown>;
  };

  test('what it is', () => {
    expect(web).toMatchObject({
      id: recorded.web.Id,
      name: 'web',
      state: 'running',
      image: 'busybox',
      imageId: recorded.web.Image,
      primary: 'fixed',
      chosenMac: '02:42:0a:09:00:14',
      labels: { team: 'red' },
      autoRemove: false,
      stopSeconds: 3,
    });
    expect(web.ports).toEqual(
      expect.arrayContaining([
        { protocol: 'tcp', hostIp: '', hostPort: 8080 },
        { protocol: 'udp', hostIp: '127.0.0.1', hostPort: 5353 },
      ]),
    );
    expect(web.mounts.map(({ source, isAnonymous, destination }) => [isAnonymous || source, destination])).toEqual(
      expect.arrayContaining([
        ['data', '/data'],
        [true, '/anon'],
      ]),
    );
    // As it goes from host to host.
    expect(JSON.parse(JSON.stringify(web))).toEqual(web);
  });

  test('its addresses, with what was asked for and not what was found out', () => {
    expect(web.attachments.map(({ network, address, isChosen }) => [network, address, isChosen])).toEqual([
      ['back', '10.8.0.30', true],
      ['fixed', '10.9.0.20', true],
    ]);
    expect(settingsOf('fixed')).toMatchObject({
      IPAMConfig: { IPv4Address: '10.9.0.20' },
      Aliases: expect.arrayContaining(['www']),
    });
    for (const network of ['back', 'fixed']) {
      const { Aliases, ...rest } = settingsOf(network);
      expect(Aliases).not.toContain(recorded.web.Id.slice(0, 12));
      const known = ['IPAMConfig', 'DriverOpts', 'GwPriority', 'MacAddress'];
      expect(Object.keys(rest).filter((key) => !known.includes(key))).toEqual([]);
    }
  });

  test('all that was asked for is asked for again', () => {
    const request = createRequest(web, apiVersion, true);
    expect(request).toMatchObject({
      Image: 'busybox',
      Hostname: 'shop',
      Env: ['MODE=production'],
      Entrypoint: ['sh'],
      Cmd: ['-c', 'sleep 1000'],
      User: '1000',
      WorkingDir: '/tmp',
      StopSignal: 'SIGINT',
      StopTimeout: 3,
      Labels: { team: 'red' },
      Volumes: { '/anon': {} },
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5_000_000_000 },
    });
    // Docker takes back what it says, fields that are new to us included.
    expect(request['HostConfig']).toEqual(recorded.web.HostConfig);
    expect(request['HostConfig']).toMatchObject({
      ...capabilities,
      Memory: 67_108_864,
      NanoCpus: 500_000_000,
      PidsLimit: 100,
    });
  });

  test('one that nobody gave anything', () => {
    const plain = readContainer(recorded.plain);
    expect(plain.attachments).toMatchObject([{ network: 'fixed', isChosen: false, address: '10.9.0.21' }]);
    // Docker's own name of it.
    expect(createRequest(plain, apiVersion, true)).not.toHaveProperty('Hostname');
    expect(plain).toMatchObject({ chosenMac: undefined, ports: [], mounts: [], stopSeconds: 10 });
    const again = connectRequest(plain, plain.attachments[0]!, 'nothing', apiVersion).EndpointConfig;
    expect(again).not.toHaveProperty('IPAMConfig.IPv4Address');
  });

  test("Docker's bridge beside one of ours", () => {
    const both = readContainer(recorded.both);
    expect(both.primary).toBe('bridge');
    expect(both.attachments.map(({ network }) => network)).toEqual(['bridge', 'fixed']);
    expect(createRequest(both, apiVersion, false)).not.toHaveProperty('MacAddress');
  });

  test('the network of another container', () => {
    expect(readContainer(recorded.shared)).toMatchObject({ primary: undefined, attachments: [] });
  });
});

describe('MAC addresses', () => {
  const plain = readContainer(docker20.plain);
  const [attachment] = plain.attachments;
  const { mac } = attachment!;

  test('before API 1.44 one, of the first network, with the container', () => {
    expect(createRequest(plain, '1.41', true)).toMatchObject({ MacAddress: mac });
    expect(createRequest(plain, '1.43', false)).not.toHaveProperty('MacAddress');
    expect(connectRequest(plain, attachment!, 'address', '1.43').EndpointConfig).not.toHaveProperty('MacAddress');
    expect([takesMac(plain, 'fixed', '1.41'), takesMac(plain, 'back', '1.41')]).toEqual([true, false]);
  });

  test('from API 1.44 on one for each network', () => {
    expect(createRequest(plain, '1.44', true)).not.toHaveProperty('MacAddress');
    expect(connectRequest(plain, attachment!, 'address', '1.44').EndpointConfig).toMatchObject({
      MacAddress: mac,
      IPAMConfig: { IPv4Address: '10.9.0.21' },
    });
    expect(connectRequest(plain, attachment!, 'mac', '1.51').EndpointConfig).toMatchObject({
      MacAddress: mac,
      IPAMConfig: {},
    });
    expect(takesMac(plain, 'back', '1.51')).toBe(true);
  });

  test('what somebody chose stays chosen, whoever gives the address', () => {
    const web = readContainer(docker20.web);
    expect(createRequest(web, '1.41', false)).toMatchObject({ MacAddress: '02:42:0a:09:00:14' });
    const [back, fixed] = web.attachments;
    expect(connectRequest(web, fixed!, 'nothing', '1.51').EndpointConfig).toMatchObject({
      MacAddress: '02:42:0a:09:00:14',
      IPAMConfig: { IPv4Address: '10.9.0.20' },
    });
    expect(connectRequest(web, back!, 'nothing', '1.51').EndpointConfig).not.toHaveProperty('MacAddress');
  });
});

test('a network that was given by its id has another one elsewhere: it goes by its name', () => {
  const { plain } = docker20;
  const id = plain.NetworkSettings.Networks.fixed.NetworkID;
  const read = readContainer({ ...plain, HostConfig: { ...plain.HostConfig, NetworkMode: id } });
  expect(read.primary).toBe('fixed');
  expect(read.hostConfig).toMatchObject({ NetworkMode: 'fixed' });
});

test('ranges of host ports, and ports that Docker chooses, are nobody’s beforehand', () => {
  const { plain } = docker20;
  const PortBindings = {
    '70/tcp': [{ HostIp: '', HostPort: '7000-7005' }],
    '80/tcp': [
      { HostIp: '', HostPort: '' },
      { HostIp: '::1', HostPort: '80' },
    ],
    '90/udp': null,
  };
  const read = readContainer({ ...plain, HostConfig: { ...plain.HostConfig, PortBindings } });
  expect(read.ports).toEqual([{ protocol: 'tcp', hostIp: '::1', hostPort: 80 }]);
});
