// What endpoints stand on, as the host's addresses come and go while nobody can be told.
import { formatIpv4, parseCidr, parseIpv4 } from '../../src/base/addresses';
import type { FlowHost } from '../../src/flowctl/model';
import { FABRIC_INTERFACE, HOST_INTERFACE, Underlay } from '../../src/underlay';
import { MemorySwitch } from '../fakes/driver-world';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory } from '../fakes/memory-directory';
import { RecordingHost } from '../fakes/recording-host';

const OWN = parseIpv4('192.0.2.1');
let host: RecordingHost;
let underlay: Underlay;
let told: FlowHost | undefined;
let said: string[];

beforeEach(async () => {
  const database = createMemoryDatabase();
  const store = createMemoryDirectory({ host: 'h1', database, address: OWN });
  createMemoryDirectory({ host: 'h2', database, address: parseIpv4('192.0.2.2') });
  host = new RecordingHost();
  host.links.addLink(HOST_INTERFACE);
  said = [];
  const ports = new MemorySwitch((name) => host.links.table.has(name));
  const say = (message: string) => void said.push(message);
  underlay = new Underlay({
    settings: { mtu: 1500, locatorRange: parseCidr('100.64.0.0/10') },
    datapath: 'dummy',
    host,
    store,
    switch: Object.assign(ports, {
      ensureBridge: () => Promise.resolve(),
      ensureInternalPort: (name: string, { ofportRequest }: { ofportRequest: number }) =>
        ports.addPort({ name, ofportRequest, externalIds: {}, isNewDevice: false }),
    }),
    controller: { setHost: (next) => void (told = next) },
    logger: { debug: say, info: say, warn: say, error: say },
    clock: new ManualClock(),
  });
  await underlay.bringUp();
});
afterEach(() => underlay.stop());

test('the fabric is there while the address is, and goes with it before anybody could be told of another', async () => {
  expect(told?.fabric).toBeDefined();
  host.links.uplinkAddress = parseIpv4('203.0.113.9');
  await underlay.refresh();
  expect([told?.fabric, formatIpv4(told!.serverAddress!)]).toEqual([undefined, '192.0.2.1']);
  expect(said.at(-1)).toBe('other hosts are out of reach');
  host.links.uplinkAddress = OWN;
  await underlay.refresh();
  expect(told?.fabric).toMatchObject({ mtu: 1500 });
  expect(host.links.table.has(FABRIC_INTERFACE)).toBe(true);
});

test('the packet filter stands where addresses cannot be listed, with the others’ that were found before', async () => {
  const foreign = { device: 'tailscale0', address: parseIpv4('100.101.7.7') };
  host.links.foreign = [foreign];
  await underlay.refresh();
  expect(host.firewall.config?.foreign?.devices).toEqual(['tailscale0']);
  await host.firewall.remove();
  host.fail('links.hostAddresses', new Error('ip: no answer'));
  await underlay.bringUp();
  expect(host.firewall.config?.foreign?.devices).toEqual(['tailscale0']);
});
