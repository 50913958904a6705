// Bodies of NetworkDriver.*: what Docker sends is understood, and what is wrong is refused by its place and value.
import { formatIpv4, formatMac } from '../../src/base/addresses';
import { readNetworkOptions } from '../../src/driver/network-options';
import { parseRequest } from '../../src/driver/schemas';

const NETWORK = 'a1'.repeat(32);
const ENDPOINT = 'b2'.repeat(32);
const GENERIC = 'com.docker.network.generic';
const PORT_MAP = 'com.docker.network.portmap';
const MAC = 'com.docker.network.endpoint.macaddress';

describe('CreateNetwork', () => {
  const captured = {
    NetworkID: NETWORK,
    Options: {
      [GENERIC]: { mtu: '1400' },
      'com.docker.network.enable_ipv6': false,
      'com.docker.network.internal': true,
    },
    IPv4Data: [
      { AddressSpace: 'daolinet', Pool: '10.77.0.0/24', Gateway: '10.77.0.1/24', AuxAddresses: { r1: '10.77.0.5/24' } },
    ],
    IPv6Data: [],
  };

  test('as Docker 20.10 sends it', () => {
    const request = parseRequest.createNetwork(captured);
    expect(request).toMatchObject({
      networkId: NETWORK,
      options: { mtu: '1400' },
      internal: true,
      ipv4: true,
      ipv6: false,
    });
    const [pool] = request.pools;
    expect(pool).toMatchObject({ addressSpace: 'daolinet', cidr: { prefix: 24 } });
    expect(formatIpv4(pool!.gateway!)).toBe('10.77.0.1');
    expect(pool!.auxiliary.map(({ name, address }) => [name, formatIpv4(address)])).toEqual([['r1', '10.77.0.5']]);
  });

  test('as Docker 28 sends it, with keys that are new, and with null for what is empty', () => {
    const body = {
      NetworkID: 'x7k2m9q4w1e8r5t3y6u0i2o4p',
      Options: { 'com.docker.network.enable_ipv4': true, [GENERIC]: null, 'com.docker.network.new': [1] },
      IPv4Data: [{ Pool: '10.0.0.0/8', AuxAddresses: null, New: 1 }],
      IPv6Data: null,
      New: {},
    };
    expect(parseRequest.createNetwork(body)).toMatchObject({ options: {}, internal: false, ipv4: true, ipv6: false });
  });

  test.each([
    [null, 'the request is not a JSON object'],
    [[], 'the request is not a JSON object'],
    ['x', 'the request is not a JSON object'],
    [{}, 'NetworkID is missing'],
    [{ NetworkID: 5 }, 'NetworkID: 5 is not a network id'],
    [{ NetworkID: '../etc' }, 'NetworkID: "../etc" is not a network id'],
    [{ NetworkID: NETWORK, Options: 3 }, 'Options: 3 is not an object'],
    [{ NetworkID: NETWORK, Options: { [GENERIC]: { a: 1 } } }, `Options["${GENERIC}"].a: 1 is not text`],
    [
      { NetworkID: NETWORK, Options: { 'com.docker.network.internal': 'yes' } },
      'Options["com.docker.network.internal"]: "yes" is not true or false',
    ],
    [{ NetworkID: NETWORK, IPv4Data: {} }, 'IPv4Data: {} is not a list'],
    [{ NetworkID: NETWORK, IPv4Data: [{}] }, 'IPv4Data[0].Pool is missing'],
    [
      { NetworkID: NETWORK, IPv4Data: [{ Pool: 'x' }] },
      'IPv4Data[0].Pool: "x" is not an IPv4 address with a prefix length',
    ],
    [{ NetworkID: NETWORK, IPv4Data: [{ Pool: '10.0.0.1/24' }] }, 'IPv4Data[0].Pool: "10.0.0.1/24" has bits set below'],
    [
      { NetworkID: NETWORK, IPv4Data: [{ Pool: '10.0.0.0/24', Gateway: '10.0.1.1/24' }] },
      'IPv4Data[0].Gateway: "10.0.1.1/24" is not an address of an interface in 10.0.0.0/24',
    ],
    [
      { NetworkID: NETWORK, IPv4Data: [{ Pool: '10.0.0.0/24', Gateway: '10.0.0.255/24' }] },
      'IPv4Data[0].Gateway: "10.0.0.255/24" is not an address of an interface',
    ],
    [
      { NetworkID: NETWORK, IPv4Data: [{ Pool: '10.0.0.0/24', AuxAddresses: { r: '10.0.1.9/24' } }] },
      'IPv4Data[0].AuxAddresses.r: "10.0.1.9/24" lies outside 10.0.0.0/24',
    ],
    [
      {
        NetworkID: NETWORK,
        IPv4Data: [{ Pool: '10.0.0.0/24', Gateway: '10.0.0.1/24', AuxAddresses: { r: '10.0.0.1/24' } }],
      },
      'is the gateway’s address',
    ],
  ])('%j is refused', (body, message) => {
    expect(() => parseRequest.createNetwork(body)).toThrow(message);
  });

  test('a long value is cut in the message', () => {
    expect(() => parseRequest.createNetwork({ NetworkID: 'x'.repeat(100_000) })).toThrow(/^.{0,250}$/);
  });
});

describe('CreateEndpoint', () => {
  const body = (more: object) => ({ NetworkID: NETWORK, EndpointID: ENDPOINT, ...more });

  test('as Docker sends it', () => {
    const request = parseRequest.createEndpoint(
      body({
        Interface: { Address: '10.77.0.50/24', AddressIPv6: '', MacAddress: '02:42:32:39:39:9f' },
        Options: { [MAC]: 'AgAAAAAH', 'com.docker.network.endpoint.exposedports': [], x: 'y' },
      }),
    );
    expect(formatIpv4(request.address!.address)).toBe('10.77.0.50');
    expect(formatMac(request.mac!)).toBe('02:42:32:39:39:9f');
    expect(formatMac(request.wantedMac!)).toBe('02:00:00:00:00:07');
    expect(request.hasIpv6).toBe(false);
  });

  test('empty text is an absent value', () => {
    const request = parseRequest.createEndpoint(body({ Interface: { Address: '', MacAddress: '' }, Options: null }));
    expect(request).toMatchObject({ address: undefined, mac: undefined, wantedMac: undefined });
  });

  test.each([
    [{ EndpointID: 'e' }, 'EndpointID: "e" is not an endpoint id'],
    [
      { Interface: { Address: '10.0.0.1' } },
      'Interface.Address: "10.0.0.1" is not an IPv4 address with a prefix length',
    ],
    [{ Interface: { MacAddress: 'zz' } }, 'Interface.MacAddress: "zz" is not a MAC address'],
    [
      { Interface: { MacAddress: '01:00:5e:00:00:01' } },
      'Interface.MacAddress: "01:00:5e:00:00:01" is a multicast MAC',
    ],
    [{ Interface: { MacAddress: '00:00:00:00:00:00' } }, 'is the zero MAC address'],
    [{ Options: { [MAC]: 'AgAA' } }, `Options["${MAC}"]: "AgAA" is not base64 of a six-octet MAC address`],
  ])('%j is refused', (more, message) => {
    expect(() => parseRequest.createEndpoint(body(more))).toThrow(message);
  });
});

test('Join and ProgramExternalConnectivity as Docker sends them', () => {
  const ids = { NetworkID: NETWORK, EndpointID: ENDPOINT };
  const sandbox = '/var/run/docker/netns/313c25bd03fe';
  expect(parseRequest.join({ ...ids, SandboxKey: sandbox, Options: {} })).toMatchObject({ sandbox });
  expect(() => parseRequest.join(ids)).toThrow('SandboxKey is missing');
  const entry = { Proto: 6, IP: '', Port: 80, HostIP: '', HostPort: 8080, HostPortEnd: 8080 };
  const expected = { protocolNumber: 6, containerPort: 80, hostIp: '', hostPort: 8080, hostPortEnd: 8080 };
  expect(parseRequest.program({ ...ids, Options: { [PORT_MAP]: [entry] } }).portMap).toEqual([expected]);
  expect(parseRequest.program({ ...ids, Options: { [PORT_MAP]: null } }).portMap).toEqual([]);
  expect(parseRequest.program(ids).portMap).toEqual([]);
  expect(() => parseRequest.program({ ...ids, Options: { [PORT_MAP]: [{ ...entry, HostPort: 70_000 }] } })).toThrow(
    `Options["${PORT_MAP}"][0].HostPort: 70000 is not a whole number from 0 to 65535`,
  );
});

describe('docker network create -o', () => {
  test.each([
    [{}, { tenant: undefined, mtu: undefined }],
    [
      { tenant: 'red', mtu: '1400' },
      { tenant: 'red', mtu: 1400 },
    ],
    [{ 'com.docker.network.driver.mtu': '9000' }, { mtu: 9000 }],
    [{ 'com.docker.network.driver.mtu': '1400', mtu: '1400' }, { mtu: 1400 }],
    [{ 'com.docker.network.container_iface_prefix': 'net' }, {}],
    [{ 'com.docker.network.advertise_addr_nmsgs': '0' }, {}],
  ])('%j', (given, expected) => {
    expect(readNetworkOptions(given as Record<string, string>)).toMatchObject(expected);
  });

  test.each([
    [{ mut: '1400' }, /no option -o mut; it has tenant .*, mtu .*, com\.docker\.network\.container_iface_prefix/],
    [{ 'com.docker.network.bridge.name': 'br0' }, /no option -o com\.docker\.network\.bridge\.name/],
    [{ mtu: 'big' }, /-o mtu=big: is not an MTU from 576 to 65535 bytes/],
    [{ mtu: '100' }, /-o mtu=100: is not an MTU/],
    [{ mtu: '1400', 'com.docker.network.driver.mtu': '1500' }, /differs from -o mtu=1400/],
    [{ tenant: '' }, /-o tenant=: is not a name/],
    [{ tenant: 'a/b' }, /-o tenant=a\/b: is not a name/],
    [{ 'com.docker.network.container_iface_prefix': 'averylongprefix' }, /is not a prefix/],
    [JSON.parse('{"__proto__": "x"}'), /no option -o __proto__/],
  ])('%j is refused', (given, message) => {
    expect(() => readNetworkOptions(given as Record<string, string>)).toThrow(message);
  });
});
