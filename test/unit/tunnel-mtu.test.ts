// How large packets through tunnels may be.
import { networkMtu, tunnelMtu } from '../../src/tunnel/mtu';
import { tunnelView } from '../fakes/tunnel-view';

test.each([
  [1_500, 1_420],
  [9_000, 8_920],
  [1_280, 1_200],
  [576, 1_200],
])('an interface of %i gives a tunnel of %i', (of, mtu) => expect(tunnelMtu(of)).toBe(mtu));

test('a new network has the tunnel’s where a host is reached by one, unless less was set', () => {
  const here = tunnelView([{ name: 'a' }, { name: 'b' }]);
  const sites = tunnelView([{ name: 'a' }, { name: 'b', site: 'x' }]);
  expect(networkMtu(1_500, here, 'a', 1_420)).toBe(1_500);
  expect(networkMtu(1_500, sites, 'a', 1_420)).toBe(1_420);
  expect(networkMtu(1_300, sites, 'a', 1_420)).toBe(1_300);
});
