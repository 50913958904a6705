// What a plan takes over from the devices as they are.
import { formatCidr, parseCidr, parseIpv4 } from '../../src/base/addresses';
import type { TunnelDeviceState, TunnelPeer } from '../../src/host/host';
import { withAllThatIsThere, withLearned } from '../../src/tunnel/carry-over';

const at = (text: string) => ({ address: parseIpv4(text), port: 7471 });
const peer = (publicKey: string, ...allowed: string[]): TunnelPeer => ({
  publicKey,
  allowed: allowed.map(parseCidr),
  keepaliveSeconds: 0,
});
const device = (name: string, ...peers: TunnelPeer[]) => ({ name, listenPort: 7471, mtu: 1420, peers });
const state = (name: string, ...peers: TunnelPeer[]): TunnelDeviceState => ({
  name,
  listenPort: 7472,
  peers: peers.map((one) => ({ ...one, bytesReceived: 0, bytesSent: 0 })),
});
const A = '100.64.1.0/24';
const B = '100.64.2.0/24';

test('a new peer has the endpoint of the one whose addresses it gets, on the same device, if that one goes', () => {
  const old = { ...peer('old', A), endpoint: at('203.0.113.1') };
  const learned = (planned: TunnelPeer[], there: TunnelPeer[], name = 'daoli-wg') =>
    withLearned([device('daoli-wg', ...planned)], [state(name, ...there)])[0]!.peers.map(({ endpoint }) => endpoint);
  expect(learned([peer('new', A, B)], [old])).toEqual([at('203.0.113.1')]);
  expect(learned([peer('new', A), old], [old])).toEqual([undefined, at('203.0.113.1')]);
  expect(learned([peer('new', B)], [old])).toEqual([undefined]);
  expect(learned([peer('new', A)], [old], 'daoli-wg1')).toEqual([undefined]);
  expect(learned([peer('old', A)], [old])).toEqual([undefined]);
  expect(learned([{ ...peer('new', A), endpoint: at('198.51.100.1') }], [peer('old', A)])).toEqual([
    at('198.51.100.1'),
  ]);
});

test('all that is there stays, but for what a planned peer gets', () => {
  const planned = {
    devices: [device('daoli-wg', peer('new', A))],
    routes: [{ destination: parseCidr(A), device: 'daoli-wg' }],
  };
  const there = [
    state('daoli-wg', peer('old', A), peer('both', A, B)),
    state('daoli-wg1', peer('hub', B, '100.64.3.0/24')),
  ];
  const { devices, routes } = withAllThatIsThere(planned, there, 1400);
  expect(
    devices.map(({ name, peers, mtu, listenPort }) => [name, listenPort, mtu, peers.map((p) => p.publicKey)]),
  ).toEqual([
    ['daoli-wg', 7471, 1420, ['new', 'both']],
    ['daoli-wg1', 7472, 1400, ['hub']],
  ]);
  expect(devices[0]!.peers[1]!.allowed.map(formatCidr)).toEqual([B]);
  expect(routes.map((route) => `${formatCidr(route.destination)} ${route.device}`)).toEqual([
    `${A} daoli-wg`,
    `${B} daoli-wg`,
    '100.64.3.0/24 daoli-wg1',
  ]);
});
