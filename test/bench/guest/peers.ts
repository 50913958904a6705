// The namespaces of the guest, and what stands beside DaoliNet in them, each on its own wire: a learning bridge of Open
// vSwitch with the kernel's datapath, the kernel's bridge, the kernel's VXLAN as Docker's overlay network has it, and a host
// that forwards packets as a router does, and containers that macvlan puts on the wire.

import { command, inside, ip } from './command';
import {
  addressOf,
  endOf,
  hostOf,
  MTU,
  other,
  PATHS,
  serverAddress,
  SIDES,
  wireOf,
  type Path,
  type Side,
} from './layout';

/** What VXLAN adds to a packet. */
const VXLAN_OVERHEAD = 50;

/** Hosts, containers and wires. */
export async function makeNamespaces(): Promise<void> {
  for (const side of SIDES) await ip(`netns add ${hostOf(side)}\n-n ${hostOf(side)} link set lo up`);
  for (const path of PATHS.filter((each) => each !== 'plain')) {
    const wire = wireOf(path);
    const [a, b] = [hostOf('a'), hostOf('b')];
    await ip(`link add ${wire} mtu ${MTU} netns ${a} type veth peer name ${wire} mtu ${MTU} netns ${b}`);
    for (const side of SIDES) {
      await ip(`
        -n ${hostOf(side)} link set ${wire} up
        netns add ${endOf(path, side)}
        -n ${endOf(path, side)} link set lo up
      `);
    }
  }
  for (const side of SIDES) await addServerAddress('daolinet', side);
}

/** `remote` is the database of the host's Open vSwitch. */
export async function makePeers(side: Side, remote: string): Promise<void> {
  for (const path of ['normal', 'bridge', 'vxlan', 'routed'] as const) await addContainer(path, side);
  await normal(side, remote);
  await bridge(hostOf(side), 'bridge', wireOf('bridge'));
  await vxlan(side);
  await routed(side);
  await macvlan(side);
}

/** The container's interface; the host's end of the pair is called as the path. */
async function addContainer(path: Path, side: Side): Promise<void> {
  const container = endOf(path, side);
  const mtu = path === 'vxlan' ? MTU - VXLAN_OVERHEAD : MTU;
  await ip(`
    link add ${path} mtu ${mtu} netns ${hostOf(side)} type veth peer name eth0 mtu ${mtu} netns ${container}
    -n ${hostOf(side)} link set ${path} up
    -n ${container} address add ${addressOf(path, side)}/24 dev eth0
    -n ${container} link set eth0 up
  `);
}

async function addServerAddress(path: Path, side: Side): Promise<void> {
  await ip(`-n ${hostOf(side)} address add ${serverAddress(path, side)}/28 dev ${wireOf(path)}`);
}

async function normal(_side: Side, remote: string): Promise<void> {
  const words = ['add-br', 'br-normal', '--', 'add-port', 'br-normal', 'normal'];
  await command('ovs-vsctl', `--db=${remote}`, ...words, '--', 'add-port', 'br-normal', wireOf('normal'));
}

async function bridge(host: string, container: string, uplink: string): Promise<void> {
  await ip(`
    -n ${host} link add name ${container}-br mtu ${MTU} type bridge
    -n ${host} link set dev ${container} master ${container}-br
    -n ${host} link set dev ${uplink} master ${container}-br
    -n ${host} link set ${container}-br up
  `);
}

async function vxlan(side: Side): Promise<void> {
  await addServerAddress('vxlan', side);
  const [local, remote] = [serverAddress('vxlan', side), serverAddress('vxlan', other(side))];
  const mtu = MTU - VXLAN_OVERHEAD;
  await ip(`
    -n ${hostOf(side)} link add tunnel mtu ${mtu} type vxlan id 42 local ${local} remote ${remote} dstport 4789
    -n ${hostOf(side)} link set tunnel up
  `);
  await bridge(hostOf(side), 'vxlan', 'tunnel');
}

async function routed(side: Side): Promise<void> {
  await addServerAddress('routed', side);
  const gateway = (of: Side) => addressOf('routed', of).replace(/\d+$/, '1');
  const subnet = (of: Side) => addressOf('routed', of).replace(/\d+$/, '0/24');
  await ip(`
    -n ${hostOf(side)} address add ${gateway(side)}/24 dev routed
    -n ${hostOf(side)} route add ${subnet(other(side))} via ${serverAddress('routed', other(side))}
    -n ${endOf('routed', side)} route add default via ${gateway(side)}
  `);
  await command(...inside(hostOf(side)), 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
}

/** No bridge at all: as DaoliNet's fabric port is on the NIC, but with the container's stack on it. */
async function macvlan(side: Side): Promise<void> {
  const container = endOf('macvlan', side);
  await ip(`
    -n ${hostOf(side)} link add link ${wireOf('macvlan')} name macvlan type macvlan mode bridge
    -n ${hostOf(side)} link set macvlan netns ${container} name eth0
    -n ${container} address add ${addressOf('macvlan', side)}/24 dev eth0
    -n ${container} link set eth0 up
  `);
}
