// From `docker run -p` to ports wanted on the host.
import { keepPublished, parsePortMap, type PortWish } from '../../src/driver/port-map';

const binding = (hostPort: number, containerPort: number, more: object = {}) => ({
  protocolNumber: 6,
  containerPort,
  hostIp: '',
  hostPort,
  hostPortEnd: hostPort,
  ...more,
});

test('-p 8080:80, -p 127.0.0.1:9000:9000/udp, -p [::1]:5:5/sctp, -P', () => {
  const wishes = parsePortMap([
    binding(8080, 80),
    binding(9000, 9000, { protocolNumber: 17, hostIp: '127.0.0.1' }),
    binding(5, 5, { protocolNumber: 132, hostIp: '::1' }),
    binding(0, 443),
  ]);
  expect(wishes).toEqual([
    { protocol: 'sctp', hostIp: '::1', firstPort: 5, lastPort: 5, containerPort: 5 },
    { protocol: 'tcp', hostIp: '', firstPort: 8080, lastPort: 8080, containerPort: 80 },
    { protocol: 'udp', hostIp: '127.0.0.1', firstPort: 9000, lastPort: 9000, containerPort: 9000 },
    { protocol: 'tcp', hostIp: '', firstPort: 0, lastPort: 0, containerPort: 443 },
  ]);
});

test('the choosier wish comes first: a fixed port, a range, any port', () => {
  const wishes = parsePortMap([binding(0, 1), binding(7000, 70, { hostPortEnd: 7005 }), binding(7000, 80)]);
  expect(wishes.map((wish) => wish.containerPort)).toEqual([80, 70, 1]);
});

test('an end of 0 is the port itself', () => {
  expect(parsePortMap([binding(80, 80, { hostPortEnd: 0 })])).toMatchObject([{ firstPort: 80, lastPort: 80 }]);
});

test.each([
  [
    binding(0, 8, { protocolNumber: 1 }),
    'port map[0].Proto: 1 cannot be published: only TCP (6), UDP (17) and SCTP (132)',
  ],
  [binding(80, 0), 'port map[0].Port: 0 is not a port'],
  [binding(80, 80, { hostIp: 'eth0' }), 'port map[0].HostIP: "eth0" is not an IP address'],
  [binding(80, 80, { hostPortEnd: 79 }), 'port map[0].HostPortEnd: 79 lies before HostPort 80'],
  [binding(0, 80, { hostPortEnd: 79 }), 'port map[0].HostPort: 0 begins a range that ends at 79'],
])('%j is refused', (entry, message) => {
  expect(() => parsePortMap([entry])).toThrow(message);
});

describe('a repeated request', () => {
  const wish = (firstPort: number, lastPort: number, containerPort: number): PortWish => ({
    protocol: 'tcp',
    hostIp: '',
    firstPort,
    lastPort,
    containerPort,
  });
  const port = (hostPort: number, containerPort: number) => ({
    protocol: 'tcp' as const,
    hostIp: '',
    hostPort,
    containerPort,
  });

  test('keeps the ports that it got', () => {
    const wishes = [wish(80, 80, 80), wish(7000, 7005, 70), wish(0, 0, 443)];
    const kept = keepPublished(wishes, [port(32_768, 443), port(7003, 70), port(80, 80)]);
    expect(kept.isKept).toBe(true);
    expect(kept.wishes.map((each) => each.firstPort)).toEqual([80, 7003, 32_768]);
  });

  test('with one port more, or one less, changes something', () => {
    expect(keepPublished([wish(80, 80, 80), wish(81, 81, 80)], [port(80, 80)]).isKept).toBe(false);
    expect(keepPublished([wish(80, 80, 80)], [port(80, 80), port(81, 80)]).isKept).toBe(false);
    expect(keepPublished([wish(81, 81, 80)], [port(80, 80)]).wishes).toEqual([wish(81, 81, 80)]);
  });
});
