// A real Open vSwitch with its userspace datapath, our bridge on it as the agent makes it, endpoints on veth pairs, and
// whoever is to be its controller: ours on default settings, or one that writes the same messages without keeping anything.

import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../../src/base/addresses';
import { systemClock } from '../../../src/base/clock';
import { silentLogger } from '../../../src/base/logger';
import { Controller } from '../../../src/flowctl/controller';
import { EndpointIndex } from '../../../src/flowctl/endpoint-index';
import { sameNetworkPolicy, DEFAULT_FLOW_SETTINGS } from '../../../src/flowctl/model';
import type { FlowEndpoint, FlowHost, FlowNetwork, Policy } from '../../../src/flowctl/model';
import { TABLE } from '../../../src/flowctl/pipeline';
import { RouteWriter } from '../../../src/flowctl/route-writer';
import { NXPIF, OFPT, OFP_VERSION } from '../../../src/openflow/constants';
import { encodeMessage, messageType, messageXid } from '../../../src/openflow/message';
import { MessageFramer } from '../../../src/openflow/message-framer';
import { MessageWriter } from '../../../src/openflow/message-writer';
import { isPacketIn2, PacketInView } from '../../../src/openflow/packet-in-view';
import { PacketView } from '../../../src/packet/packet-view';
import { Switch } from '../../../src/switch/switch';
import { startOvs, type Ovs } from '../../ovs/ovs';
import { FrameSource, type Frame } from './frame-source';

export const BRIDGE = 'br-int';
export const ROUTER_MAC = parseMac('02:da:00:00:00:fe');
const BASE = parseIpv4('10.1.0.0');

export const host: FlowHost = {
  routerMac: ROUTER_MAC,
  hostAddress: parseIpv4('100.64.0.1'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};

export const network: FlowNetwork = {
  id: 'bench',
  key: 1,
  tenant: 1,
  pools: [parseCidr('10.1.0.0/16')],
  internal: false,
};

const ipOf = (portNo: number) => (BASE + portNo) as Ipv4;
const macOf = (portNo: number) => (0x020000000000 + portNo) as Mac;

export function endpointAt(portNo: number): FlowEndpoint {
  const id = portNo.toString(16).padStart(64, '0');
  const locator = (host.hostAddress + portNo) as Ipv4;
  return { id, networkKey: 1, mac: macOf(portNo), ip: ipOf(portNo), locator, location: { kind: 'local', portNo } };
}

/** The bridge of the agent, on an Open vSwitch of its own. */
export async function startBridge(): Promise<{
  readonly ovs: Ovs;
  readonly bridge: Switch;
  readonly socket: string;
  readonly stop: () => Promise<void>;
}> {
  const ovs = await startOvs({ dummy: false });
  const socket = join(ovs.rundir, 'of.sock');
  const bridge = new Switch({
    clock: systemClock,
    random: Math.random,
    remote: ovs.dbRemote,
    bridge: BRIDGE,
    controllerTarget: `unix:${socket}`,
    datapathId: '0000da0000000001',
    datapathType: 'netdev',
    owner: 'bench',
  });
  bridge.start();
  const stop = async () => {
    bridge.stop();
    await ovs.stop();
  };
  try {
    await bridge.ensureBridge();
  } catch (error) {
    await stop();
    throw error;
  }
  return { ovs, bridge, socket, stop };
}

/** Whoever programs the bridge for a while. */
export interface Contestant {
  /** Takes all routes away, and nothing else. */
  clearRoutes(): Promise<void>;
  stop(): Promise<void>;
}

export interface Rig {
  readonly ovs: Ovs;
  readonly frames: FrameSource;
  /** Ours. */
  startController(): Promise<Contestant>;
  /** Leaves what ours has installed, and answers packet-ins with what it would, without a look at anything. */
  startStub(): Promise<Contestant>;
  stop(): Promise<void>;
}

/** A bridge with `ports` endpoints at ports from 1 on. */
export async function startRig(folder: string, ports: number): Promise<Rig> {
  const { ovs, bridge, socket, stop } = await startBridge();
  let frames: FrameSource | undefined;
  try {
    frames = await FrameSource.start(folder, ports);
    const numbers = Array.from({ length: ports }, (_, i) => i + 1);
    await Promise.all(numbers.map((n) => bridge.addPort({ name: `h${n}`, ofportRequest: n, externalIds: {} })));
  } catch (error) {
    await frames?.stop();
    await stop();
    throw error;
  }
  const source = frames;
  return {
    ovs,
    frames: source,
    startController: () => startController(socket, ports),
    startStub: () => startStub(socket, ports, ovs),
    stop: async () => {
      await source.stop();
      await stop();
    },
  };
}

async function startController(path: string, ports: number): Promise<Contestant> {
  let connected = () => undefined as void;
  const isConnected = new Promise<void>((resolve) => (connected = resolve));
  const controller = new Controller({ path, clock: systemClock, logger: silentLogger, onConnected: () => connected() });
  controller.setHost(host);
  controller.setNetwork(network);
  for (let portNo = 1; portNo <= ports; portNo += 1) {
    controller.addEndpoint(endpointAt(portNo)).catch(() => undefined); // confirmed when the datapath connects
  }
  await controller.start();
  await isConnected;
  const setPolicy = async (policy: Policy) => {
    controller.setPolicy(policy);
    await controller.addEndpoint(endpointAt(1)); // there already: answered when what is before it is done
  };
  return {
    async clearRoutes() {
      await setPolicy({ ...sameNetworkPolicy, judge: () => 'deny' });
      while ((await controller.routes()).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await setPolicy(sameNetworkPolicy);
    },
    stop: () => controller.stop(),
  };
}

async function startStub(path: string, ports: number, ovs: Ovs): Promise<Contestant> {
  const endpoints = new EndpointIndex();
  for (let portNo = 1; portNo <= ports; portNo += 1) endpoints.add(endpointAt(portNo), network);
  const routes = new RouteWriter(endpoints, DEFAULT_FLOW_SETTINGS.idleTimeoutSeconds);
  routes.setHost(host);
  let server: Server | undefined;
  const sockets = new Set<Socket>();
  await new Promise<void>((resolve) => {
    server = createServer((socket) => {
      sockets.add(socket);
      serve(socket, routes, resolve);
    }).listen(path);
  });
  return {
    clearRoutes: () =>
      ovs.ofctl('del-flows', BRIDGE, `table=${TABLE.ROUTE},ip,nw_src=10.1.0.0/16`).then(() => undefined),
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server?.close(resolve));
    },
  };
}

/** An endpoint's slot is its port less one, and the last two bytes of its address are its port. */
function serve(socket: Socket, routes: RouteWriter, ready: () => void): void {
  const writer = new MessageWriter(1024 * 1024);
  const packetIn = new PacketInView();
  const frame = new PacketView();
  let isScheduled = false;
  const flush = () => {
    isScheduled = false;
    const bytes = writer.take();
    socket.write(bytes, () => writer.release(bytes));
  };
  const framer = new MessageFramer((buffer, offset, length) => {
    const type = messageType(buffer, offset);
    if (isPacketIn2(buffer, offset, length)) {
      packetIn.decode(buffer, offset, length);
      frame.parse(buffer, packetIn.packetOffset, packetIn.packetLength, packetIn.fullLength);
      const [from, to] = [packetIn.inPort - 1, (frame.ipDst & 0xffff) - 1];
      routes.pairFlow(writer, from, to);
      routes.pairFlow(writer, to, from);
      routes.pairPacket(writer, from, to, frame);
    } else if (type === OFPT.HELLO) {
      encodeMessage(writer, 0, { type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
      encodeMessage(writer, 1, { type: 'setPacketInFormat', format: NXPIF.NXT_PACKET_IN2 });
      encodeMessage(writer, 2, { type: 'barrierRequest' });
    } else if (type === OFPT.BARRIER_REPLY) ready();
    else if (type === OFPT.ECHO_REQUEST) {
      encodeMessage(writer, messageXid(buffer, offset), { type: 'echoReply', data: Buffer.alloc(0) });
    }
  });
  socket.on('data', (chunk) => {
    framer.push(chunk);
    if (writer.pending === 0 || isScheduled) return;
    isScheduled = true;
    setImmediate(flush);
  });
  socket.on('error', () => undefined);
}

/** One frame for each pair of ports, all pairs different in either direction, the senders taking turns. */
export function pairsOf(ports: number, count: number): Frame[] {
  const frames: Frame[] = [];
  for (let distance = 1; distance <= Math.floor((ports - 1) / 2); distance += 1) {
    for (let from = 1; from <= ports && frames.length < count; from += 1) {
      const to = ((from - 1 + distance) % ports) + 1;
      frames.push({ from, to, bytes: udpFrame(from, to) });
    }
  }
  if (frames.length < count) throw new Error(`${ports} ports have only ${frames.length} pairs of ${count}`);
  return frames;
}

/** UDP in 74 bytes. */
function udpFrame(from: number, to: number): Buffer {
  const frame = Buffer.alloc(74);
  frame.writeUIntBE(ROUTER_MAC, 0, 6);
  frame.writeUIntBE(macOf(from), 6, 6);
  frame.write('08004500003c000000004011', 12, 'hex');
  frame.writeUInt32BE(ipOf(from), 26);
  frame.writeUInt32BE(ipOf(to), 30);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  frame.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 24);
  frame.write('03e807d00028', 34, 'hex');
  return frame;
}
