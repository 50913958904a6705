// The real host, inside a network namespace of its own, keeps the same contract as the fake. Needs root.
import { parseMac } from '../../src/base/addresses';
import { hostContract, UPLINK_ADDRESS } from '../fakes/host-contract';
import { NetworkNamespace } from './support/network-namespace';
import { NamespacedHost } from './support/namespaced-host';

jest.setTimeout(60_000);

const namespace = new NetworkNamespace('contract');
let inside: NamespacedHost;

beforeAll(async () => {
  namespace.create();
  namespace.run('ip link add uplink type veth peer name wall');
  namespace.run('ip addr add 192.0.2.1/24 dev uplink');
  namespace.run('ip link set uplink up');
  namespace.run('ip link set wall up');
  inside = await NamespacedHost.start(namespace);
  await inside.host.start();
});

afterAll(async () => {
  await inside.stop();
  await namespace.remove();
});

describe('the real host', () => {
  hostContract(() => ({
    host: inside.host,
    makeHostInterface: () => void namespace.run('ip link add daoli0 type veth peer name wire'),
  }));

  test('the container end has no checksum offload, and the host end no IPv6', async () => {
    await inside.host.links.createVeth({ name: 'dnoff', peer: 'dpoff', mtu: 1500, checksumOffload: false });
    await inside.host.links.createVeth({ name: 'dnon', peer: 'dpon', mtu: 1500, checksumOffload: true });
    expect(namespace.run('ethtool -k dpoff')).toMatch(/^tx-checksumming: off/m);
    expect(namespace.run('ethtool -k dpon')).toMatch(/^tx-checksumming: on/m);
    expect(namespace.run('cat /proc/sys/net/ipv6/conf/dnon/disable_ipv6').trim()).toBe('1');
  });

  test('the stack sees nothing of the fabric interface, before it is up; one on another interface is made anew', async () => {
    const { links } = inside.host;
    const spec = { name: 'daoli-fab', mac: parseMac('02:da:00:00:00:fe'), address: UPLINK_ADDRESS };
    await links.ensureFabric({ ...spec, hideFromStack: true });
    expect(namespace.run('nft list table netdev daolinet_fabric')).toContain(
      'device "daoli-fab" priority filter; policy drop',
    );
    expect(namespace.run('ip -d link show daoli-fab')).toMatch(
      /daoli-fab@uplink: <.*NOARP.*UP.*>[^]*macvlan mode bridge/,
    );
    expect(namespace.run('cat /proc/sys/net/ipv6/conf/daoli-fab/disable_ipv6').trim()).toBe('1');
    namespace.run('ip addr del 192.0.2.1/24 dev uplink');
    namespace.run('ip addr add 192.0.2.1/24 dev wall');
    expect(await links.ensureFabric({ ...spec, hideFromStack: false })).toMatchObject({ isNew: true });
    expect(namespace.run('ip link show daoli-fab')).toContain('daoli-fab@wall');
    expect(namespace.run('nft list tables')).not.toContain('fabric');
    await links.removeFabric(spec.name);
  });

  test('what has the name of a pair but is none is replaced', async () => {
    namespace.run('ip link add dnother type veth peer name dpelse');
    await inside.host.links.createVeth({ name: 'dnother', peer: 'dpother', mtu: 1500, checksumOffload: true });
    expect(namespace.run('ip link show dnother')).toContain('dnother@dpother');
  });

  test('a helper process that dies is started again', async () => {
    const helpers = namespace.run(`ip netns pids ${namespace.name}`).split('\n').filter(Boolean).map(Number);
    for (const pid of helpers.filter((each) => each !== inside.child.pid)) {
      if (namespace.run(`cat /proc/${pid}/comm 2>/dev/null || true`).trim() === 'ip') process.kill(pid, 'SIGKILL');
    }
    const spec = { name: 'dnafter', peer: 'dpafter', mtu: 1500, checksumOffload: false };
    await inside.host.links.createVeth(spec).catch(() => inside.host.links.createVeth(spec));
    expect(namespace.run('ip link show dnafter')).toContain('dnafter@dpafter');
  });
});
