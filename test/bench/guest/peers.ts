// The namespaces of the guest, and what stands beside DaoliNet in them, each on its own wire: a learning bridge of Open
// vSwitch with the kernel's datapath, the kernel's bridge, the kernel's VXLAN as Docker's overlay network has it, and a host
// that forwards packets as a router does, and containers that macvlan puts on the wire. Beside its tunnels: the kernel's
// WireGuard with nothing around it, and VXLAN in ESP as Docker's overlay network has it with `--opt encrypted`.

import { writeFileSync } from 'node:fs';
import { publicKeyOf } from '../../../src/host/tunnel-keys';
import { command, inside, ip } from './command';
import {
  addressOf,
  endOf,
  hostOf,
  MTU,
  keyOf,
  other,
  pathsOf,
  productOf,
  serverAddress,
  SIDES,
  TUNNEL_MTU,
  TUNNEL_PORT,
  wireOf,
  type Path,
  type Scene,
  type Side,
} from './layout';

/** What VXLAN adds to a packet. */
const VXLAN_OVERHEAD = 50;
/** And ESP, as Docker reckons it. */
const ESP_OVERHEAD = 26;
/** Of AES-GCM with 128 bits, with its salt. Whoever it is that reads it, it is a benchmark's. */
const ESP_KEY = `0x${'da'.repeat(20)}`;

/** Hosts, containers and wires. */
export async function makeNamespaces(scene: Scene): Promise<void> {
  for (const side of SIDES) await ip(`netns add ${hostOf(side)}\n-n ${hostOf(side)} link set lo up`);
  for (const path of pathsOf(scene).filter((each) => each !== 'plain')) {
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
  for (const side of SIDES) await addServerAddress(productOf(scene), side);
}

/** `remote` is the database of the host's Open vSwitch. */
export async function makePeers(scene: Scene, side: Side, remote: string): Promise<void> {
  if (scene === 'sites') {
    await wireguard(side);
    await addContainer('esp', side);
    await vxlan('esp', side);
    await encrypt(side);
    return;
  }
  for (const path of ['normal', 'bridge', 'vxlan', 'routed'] as const) await addContainer(path, side);
  await normal(side, remote);
  await bridge(hostOf(side), 'bridge', wireOf('bridge'));
  await vxlan('vxlan', side);
  await routed(side);
  await macvlan(side);
}

/** What a container may send. */
function mtuOf(path: Path): number {
  if (path === 'vxlan') return MTU - VXLAN_OVERHEAD;
  return path === 'esp' ? MTU - VXLAN_OVERHEAD - ESP_OVERHEAD : MTU;
}

/** The container's interface; the host's end of the pair is called as the path. */
async function addContainer(path: Path, side: Side): Promise<void> {
  const container = endOf(path, side);
  const mtu = mtuOf(path);
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

async function vxlan(path: Path, side: Side): Promise<void> {
  await addServerAddress(path, side);
  const [local, remote] = [serverAddress(path, side), serverAddress(path, other(side))];
  const mtu = mtuOf(path);
  await ip(`
    -n ${hostOf(side)} link add tunnel mtu ${mtu} type vxlan id 42 local ${local} remote ${remote} dstport 4789
    -n ${hostOf(side)} link set tunnel up
  `);
  await bridge(hostOf(side), path, 'tunnel');
}

/** What goes to VXLAN's port goes in ESP, and nothing else comes in by it: transport mode, AES-GCM, as Docker's. */
async function encrypt(side: Side): Promise<void> {
  const [local, remote] = [serverAddress('esp', side), serverAddress('esp', other(side))];
  const cipher = `mode transport aead rfc4106(gcm(aes)) ${ESP_KEY} 64 sel src`;
  await ip(`
    -n ${hostOf(side)} xfrm state add src ${local} dst ${remote} proto esp spi 1 reqid 1 ${cipher} ${local} dst ${remote}
    -n ${hostOf(side)} xfrm state add src ${remote} dst ${local} proto esp spi 1 reqid 1 ${cipher} ${remote} dst ${local}
    -n ${hostOf(side)} xfrm policy add src ${local} dst ${remote} proto udp dport 4789 dir out tmpl src ${local} dst ${remote} proto esp reqid 1 mode transport
    -n ${hostOf(side)} xfrm policy add src ${remote} dst ${local} proto udp dport 4789 dir in tmpl src ${remote} dst ${local} proto esp reqid 1 mode transport
  `);
}

/** The device's packets are the host's, and what is in them belongs to a namespace of its own, so that each is counted alone. */
async function wireguard(side: Side): Promise<void> {
  await addServerAddress('wireguard', side);
  const [host, end] = [hostOf(side), endOf('wireguard', side)];
  const file = `/tmp/${end}.key`;
  writeFileSync(file, keyOf(side), { mode: 0o600 });
  await ip(`-n ${host} link add bare mtu ${TUNNEL_MTU} type wireguard`);
  const peer = ['peer', publicKeyOf(keyOf(other(side))), 'allowed-ips', `${addressOf('wireguard', other(side))}/32`];
  const endpoint = `${serverAddress('wireguard', other(side))}:${TUNNEL_PORT + 1}`;
  const own = ['listen-port', String(TUNNEL_PORT + 1), 'private-key', file];
  await command(...inside(host), 'wg', 'set', 'bare', ...own, ...peer, 'endpoint', endpoint);
  await ip(`
    -n ${host} link set bare netns ${end}
    -n ${end} address add ${addressOf('wireguard', side)}/24 dev bare
    -n ${end} link set bare up
  `);
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
