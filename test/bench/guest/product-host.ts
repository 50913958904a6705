// One host of DaoliNet in the guest, in its own network namespace: an Open vSwitch with the kernel's datapath, and the
// product's own parts on it (links, bridge, controller), put together as the agent does, with one endpoint here and one on
// the other host, by the fabric or by a tunnel. Docker and the directory are not here: no packet of a route between hosts
// meets them. Nor is the packet filter, but with tunnels, whose packets the kernel forwards. Routes come by packet-in from the
// controller, which goes on running.

import { join } from 'node:path';
import { formatMac, parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../../src/base/addresses';
import { systemClock } from '../../../src/base/clock';
import { silentLogger } from '../../../src/base/logger';
import { Controller } from '../../../src/flowctl/controller';
import type { FlowEndpoint, FlowFabric, FlowNetwork, FlowPeer } from '../../../src/flowctl/model';
import type { FirewallConfig, Host, TunnelsSpec } from '../../../src/host/host';
import { createLinuxHost } from '../../../src/host/linux-host';
import { createRunner } from '../../../src/host/runner';
import { createSysctlFiles } from '../../../src/host/sysctl-files';
import { publicKeyOf } from '../../../src/host/tunnel-keys';
import { Switch } from '../../../src/switch/switch';
import { startOvs, type Ovs } from '../../ovs/ovs';
import { ip } from './command';
import {
  addressOf,
  endOf,
  keyOf,
  MTU,
  other,
  productOf,
  serverAddress,
  SIDES,
  TUNNEL_MTU,
  TUNNEL_PORT,
  type Scene,
  type Side,
} from './layout';

const BRIDGE = 'br-int';
const HOST_INTERFACE = { name: 'daoli0', portNo: 65_025 } as const;
const FABRIC_INTERFACE = { name: 'daoli-fab', portNo: 65_026 } as const;
const TUNNEL = 'daoli-wg';
const ENDPOINT_PORT_NO = 1;
const LOCATORS = parseCidr('100.64.0.0/10');
const world = { clock: systemClock, random: Math.random };

function networkOf(scene: Scene): FlowNetwork {
  const base = addressOf(productOf(scene), 'a').replace(/\d+$/, '0');
  const pool = parseCidr(`${base}/24`);
  return { id: 'n', key: 1, tenant: 1, gateway: (pool.base + 1) as Ipv4, pools: [pool], internal: false };
}

const place = (side: Side) => SIDES.indexOf(side);
const routerMacOf = (side: Side) => (parseMac('02:da:00:00:00:00') + 256 * (place(side) + 1)) as Mac;
const blockOf = (side: Side) => parseCidr(`100.64.${place(side)}.0/24`);
const hostAddressOf = (side: Side) => (blockOf(side).base + 1) as Ipv4;
const macOf = (side: Side) => (parseMac('02:00:00:00:00:01') + place(side)) as Mac;

function endpointOf(scene: Scene, side: Side, here: Side): FlowEndpoint {
  const location =
    side === here
      ? ({ kind: 'local', portNo: ENDPOINT_PORT_NO } as const)
      : ({ kind: 'remote', routerMac: routerMacOf(side), isTunnelled: scene === 'sites' } as const);
  const address = parseIpv4(addressOf(productOf(scene), side));
  const locator = (blockOf(side).base + 2) as Ipv4;
  return { id: `endpoint-${side}`, networkKey: 1, mac: macOf(side), ip: address, locator, location };
}

export interface ProductHost {
  readonly ovs: Ovs;
  readonly controller: Controller;
}

/** Starts the host of `side`. The namespaces, the wire and its address are there; this process is in the host's. */
export async function startProductHost(scene: Scene, side: Side): Promise<ProductHost> {
  const ovs = await startOvs({ dummy: false });
  const host = createLinuxHost({
    runner: createRunner(),
    sysctl: createSysctlFiles(),
    logger: silentLogger,
    ...world,
  });
  await host.start();
  const socket = join(ovs.rundir, 'daolinet.sock');
  const datapath = new Switch({
    ...world,
    remote: ovs.dbRemote,
    bridge: BRIDGE,
    controllerTarget: `unix:${socket}`,
    datapathId: `000000000000000${place(side) + 1}`,
    datapathType: 'system',
    hwaddr: formatMac(routerMacOf(side)),
    owner: side,
  });
  datapath.start();
  await datapath.whenReady();
  await datapath.ensureBridge();
  const mac = (routerMacOf(side) + 1) as Mac;
  const hostPort = {
    mac,
    portNo: await datapath.ensureInternalPort(HOST_INTERFACE.name, {
      mac: formatMac(mac),
      ofportRequest: HOST_INTERFACE.portNo,
    }),
  };
  const addresses = [{ address: hostAddressOf(side), prefix: 24 }];
  await host.links.configureInterface({ name: HOST_INTERFACE.name, mac, mtu: MTU, addresses, checksumOffload: true });
  const isTunnelled = scene === 'sites';
  if (isTunnelled) await makeTunnel(side, host);
  const fabric = isTunnelled ? undefined : await makeFabric(side, host.links, datapath);
  await makeEndpoint(scene, side, host.links, datapath);
  const controller = new Controller({ path: socket, clock: systemClock, logger: silentLogger });
  controller.setHost({
    routerMac: routerMacOf(side),
    hostPort,
    hostAddress: hostAddressOf(side),
    ...(fabric && { fabric }),
    hasTunnels: isTunnelled,
    locatorRange: LOCATORS,
    kernelDatapath: true,
  });
  controller.setNetwork(networkOf(scene));
  controller.setPeer({ ...peerOf(scene, other(side)), isTunnelled });
  const isConnected = controller.addEndpoint(endpointOf(scene, side, side));
  await controller.addEndpoint(endpointOf(scene, other(side), side));
  await controller.start();
  await isConnected;
  return { ovs, controller };
}

function peerOf(scene: Scene, side: Side): FlowPeer {
  const address = parseIpv4(serverAddress(productOf(scene), side));
  return { routerMac: routerMacOf(side), locator: hostAddressOf(side), address };
}

type Links = Host['links'];

/** What the agent makes of the host's own stack where there are tunnels: settings, routes, the packet filter, the device. */
async function makeTunnel(side: Side, host: Host): Promise<void> {
  const [own, far] = [blockOf(side), blockOf(other(side))];
  const filter: FirewallConfig = {
    hostInterface: HOST_INTERFACE.name,
    hostAddress: hostAddressOf(side),
    locatorBlocks: [own],
    locatorRange: LOCATORS,
    doors: [],
    closedPorts: [],
    dockerBridges: [],
    tunnels: { isHub: false, doorPort: 7470 },
  };
  const peer = {
    publicKey: publicKeyOf(keyOf(other(side))),
    endpoint: { address: parseIpv4(serverAddress('tunnel', other(side))), port: TUNNEL_PORT },
    allowed: [far],
    keepaliveSeconds: 0,
  };
  const tunnels: TunnelsSpec = {
    privateKey: keyOf(side),
    source: hostAddressOf(side),
    devices: [{ name: TUNNEL, listenPort: TUNNEL_PORT, mtu: TUNNEL_MTU, peers: [peer] }],
    routes: [{ destination: far, device: TUNNEL }],
  };
  await host.kernel.enableForwarding();
  await host.links.refuseUnrouted(LOCATORS);
  await host.kernel.prepareHostInterface(HOST_INTERFACE.name);
  await host.firewall.apply(filter, []);
  await host.tunnels.apply(tunnels);
}

async function makeFabric(side: Side, links: Links, datapath: Switch): Promise<FlowFabric> {
  const address = parseIpv4(serverAddress('daolinet', side));
  const { name, portNo: ofportRequest } = FABRIC_INTERFACE;
  const { mtu } = await links.ensureFabric({ name, mac: routerMacOf(side), address, hideFromStack: false });
  const portNo = await datapath.addPort({ name, ofportRequest, externalIds: {}, isNewDevice: true });
  return { portNo, mtu, isNarrow: MTU > mtu };
}

async function makeEndpoint(scene: Scene, side: Side, links: Links, datapath: Switch): Promise<void> {
  const path = productOf(scene);
  const [name, peer, container] = ['daoli-e', 'daoli-p', endOf(path, side)];
  // Networks between sites have what fits through a tunnel.
  const mtu = scene === 'sites' ? TUNNEL_MTU : MTU;
  await links.createVeth({ name, peer, mtu, peerMac: macOf(side), checksumOffload: true });
  await datapath.addPort({ name, ofportRequest: ENDPOINT_PORT_NO, externalIds: {}, isNewDevice: true });
  const gateway = addressOf(path, side).replace(/\d+$/, '1');
  await ip(`
    link set ${peer} netns ${container} name eth0
    -n ${container} address add ${addressOf(path, side)}/24 dev eth0
    -n ${container} link set eth0 up
    -n ${container} route add default via ${gateway}
  `);
}

/** Runs on, and tells of its routes on every line of its standard input. */
export async function runProductHost(scene: Scene, side: Side): Promise<void> {
  const { ovs, controller } = await startProductHost(scene, side);
  console.log(ovs.dbRemote);
  process.stdin.on('data', () => void tell(ovs, controller));
}

async function tell(ovs: Ovs, controller: Controller): Promise<void> {
  // For whoever looks into the console: how often the kernel found its flows at once.
  console.error(await ovs.appctl('dpctl/show'), await ovs.appctl('dpctl/dump-flows'));
  const routes = (await controller.routes()).map(({ source, destination, packets }) => ({
    source,
    destination,
    packets,
  }));
  console.log(JSON.stringify(routes));
}
