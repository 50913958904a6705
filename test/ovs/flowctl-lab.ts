// A controller and a private Open vSwitch with dummy ports: frames are put in by hand and captured where they leave. Ports
// 1 to 4 are endpoints' (red, red, blue tenant with the same addresses as red, red but of another network), 10 the host's, 11 the fabric's.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatIpv4, parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Controller, type ControllerOptions } from '../../src/flowctl/controller';
import {
  sameNetworkPolicy,
  type FlowEndpoint,
  type FlowHost,
  type FlowNetwork,
  type FlowSettings,
  type Policy,
} from '../../src/flowctl/model';
import { fetchIdleTimes } from '../../src/flowctl/idle-query';
import { setMac } from '../../src/packet/bytes';
import { buildFrame, naiveChecksum } from '../unit/packet/frames';
import { startOvs, type Ovs } from './ovs';

export const ROUTER_MAC = parseMac('02:da:00:00:00:fe');
export const HOST_MAC = parseMac('02:da:00:00:00:10');
export const HOST_PORT = 10;
export const FABRIC_PORT = 11;
/** What the fabric takes, in bytes of IPv4. */
export const FABRIC_MTU = 1000;
export const SERVER_ADDRESS = parseIpv4('192.0.2.1');
export const HOST_ADDRESS = parseIpv4('100.64.0.1');
export const OUTSIDE = parseIpv4('198.51.100.7');

export const host: FlowHost = {
  routerMac: ROUTER_MAC,
  hostPort: { portNo: HOST_PORT, mac: HOST_MAC },
  hostAddress: HOST_ADDRESS,
  serverAddress: SERVER_ADDRESS,
  fabric: { portNo: FABRIC_PORT, mtu: FABRIC_MTU, isNarrow: true },
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};

function network(id: string, key: number, tenant: number, pool: string, internal = false): FlowNetwork {
  const cidr = parseCidr(pool);
  return { id, key, tenant, gateway: (cidr.base + 1) as Ipv4, pools: [cidr], internal };
}

export const networks = [
  network('red', 1, 7, '10.1.0.0/24'),
  network('blue', 2, 8, '10.1.0.0/24'),
  network('red-2', 3, 7, '10.2.0.0/24'),
  network('red-internal', 4, 7, '10.3.0.0/24', true),
];

export interface LabEndpoint extends FlowEndpoint {
  readonly location: { readonly kind: 'local'; readonly portNo: number };
}

function endpoint(portNo: number, networkKey: number, ip: string): LabEndpoint {
  const mac = parseMac(`02:00:00:00:00:0${portNo}`);
  const locator = (HOST_ADDRESS + portNo) as Ipv4;
  return { id: `e${portNo}`, networkKey, mac, ip: parseIpv4(ip), locator, location: { kind: 'local', portNo } };
}

export const one = endpoint(1, 1, '10.1.0.2');
export const two = endpoint(2, 1, '10.1.0.3');
export const blue = endpoint(3, 2, '10.1.0.3');
export const other = endpoint(4, 3, '10.2.0.2');
export const internal = endpoint(5, 4, '10.3.0.2');
export const endpoints = [one, two, blue, other, internal];
const PORTS = [...endpoints.map(({ location }) => location.portNo), 6, HOST_PORT, FABRIC_PORT];

/** Another host of the site, and what it sends from: the red tenant's, and somebody else's. */
export const PEER = {
  routerMac: parseMac('02:da:00:00:01:fe'),
  locator: parseIpv4('100.64.1.1'),
  address: parseIpv4('192.0.2.2'),
};
function remote(n: number, networkKey: number, ip: string): FlowEndpoint {
  const locator = (PEER.locator + n) as Ipv4;
  const mac = parseMac(`02:00:00:00:01:0${n}`);
  const location = { kind: 'remote', routerMac: PEER.routerMac } as const;
  return { id: `far${n}`, networkKey, mac, ip: parseIpv4(ip), locator, location };
}
export const far = remote(1, 1, '10.1.0.20');
export const farBlue = remote(2, 2, '10.1.0.20');
export const farOther = remote(3, 3, '10.2.0.20');

/** A host of another site, which is reached by a tunnel, and an endpoint of the red tenant there. */
export const AWAY = {
  routerMac: parseMac('02:da:00:00:02:fe'),
  locator: parseIpv4('100.64.2.1'),
  address: parseIpv4('203.0.113.9'),
  isTunnelled: true,
};
export const away: FlowEndpoint = {
  ...far,
  id: 'away',
  ip: parseIpv4('10.1.0.30'),
  locator: parseIpv4('100.64.2.2'),
  location: { kind: 'remote', routerMac: AWAY.routerMac, isTunnelled: true },
};
/** This host where there are tunnels. */
export const hostWithTunnels: FlowHost = { ...host, hasTunnels: true };

/** A UDP payload that tells frames apart. */
export function udp(text: string): { proto: number; payload: Buffer } {
  const payload = Buffer.concat([Buffer.from([3, 232, 7, 208, 0, 8 + text.length, 0, 0]), Buffer.from(text)]);
  return { proto: 17, payload };
}

/** An ICMP error that quotes the head of `frame`. */
export function icmpError(type: number, code: number, frame: Buffer): { proto: number; payload: Buffer } {
  const payload = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), frame.subarray(14, 14 + 28)]);
  payload.writeUInt16BE(naiveChecksum(payload), 2);
  return { proto: 1, payload };
}

/** A frame that `from` sends, to the router MAC where nothing else is said. */
export function frameFrom(
  from: { mac: Mac; ip: Ipv4 },
  dst: number,
  rest: { proto: number; payload: Buffer; fragment?: number },
  ethDst: Mac = ROUTER_MAC,
): Buffer {
  const frame = buildFrame({ src: from.ip, dst, ...rest });
  setMac(frame, 0, ethDst);
  setMac(frame, 6, from.mac);
  return frame;
}

/** What the host's own stack sends to a locator, from an outside address where nothing else is said. */
export function frameIn(
  to: LabEndpoint,
  rest: { proto: number; payload: Buffer; fragment?: number },
  src = OUTSIDE,
): Buffer {
  return frameFrom({ mac: HOST_MAC, ip: src }, to.locator, rest);
}

/** Resolves when `condition` holds, looked at every few milliseconds. Throws after 15 s, saying what for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`in 15 s there was no ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export class Lab {
  private seen = new Map<number, number>();

  private constructor(
    readonly ovs: Ovs,
    readonly socket: string,
    public controller: Controller,
    private readonly settings: Partial<FlowSettings>,
    private readonly policy: Policy,
    private readonly around: FlowHost,
  ) {}

  /** Starts everything, with the endpoints above unless told otherwise, and waits until the datapath is in order. */
  static async start(
    settings: Partial<FlowSettings> = {},
    present: readonly FlowEndpoint[] = endpoints,
    policy: Policy = sameNetworkPolicy,
    around: FlowHost = host,
  ): Promise<Lab> {
    const ovs = await startOvs();
    const socket = join(ovs.rundir, 'c.sock');
    const lab = new Lab(ovs, socket, undefined as unknown as Controller, settings, policy, around);
    await lab.startController(present);
    await ovs.vsctl(...lab.bridgeCommand());
    await lab.connected();
    return lab;
  }

  private bridgeCommand(): string[] {
    const { rundir } = this.ovs;
    const words = ['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure'];
    words.push('protocols=OpenFlow14,OpenFlow15', 'other-config:disable-in-band=true', '--', 'set-controller', 'br0');
    words.push(`unix:${this.socket}`, '--', 'set', 'controller', 'br0', 'connection_mode=out-of-band');
    words.push('controller_queue_size=511');
    for (const portNo of PORTS) {
      words.push('--', 'add-port', 'br0', `p${portNo}`, '--', 'set', 'interface', `p${portNo}`, 'type=dummy');
      words.push(`ofport_request=${portNo}`, `options:tx_pcap=${rundir}/p${portNo}.pcap`);
    }
    return words;
  }

  /** Starts a controller, as a process that was just started would be. */
  async startController(
    present: readonly FlowEndpoint[] = endpoints,
    options: Partial<ControllerOptions> = {},
  ): Promise<void> {
    this.controller = this.createController(present, { path: this.socket, ...options });
    await this.controller.start();
  }

  /** One that knows all that there is. */
  createController(present: readonly FlowEndpoint[] = endpoints, options: Partial<ControllerOptions> = {}): Controller {
    const controller = new Controller({
      clock: systemClock,
      logger: silentLogger,
      settings: this.settings,
      policy: this.policy,
      fetchIdleTimes: () => fetchIdleTimes(join(this.ovs.rundir, 'br0.mgmt'), systemClock),
      ...options,
    });
    controller.setHost(this.around);
    for (const each of networks) controller.setNetwork(each);
    // Confirmed with the connection, which comes later.
    for (const each of present) controller.addEndpoint(each).catch(() => undefined);
    return controller;
  }

  connected(): Promise<void> {
    return until('connection', () => this.controller.counters().datapaths === 1);
  }

  /** Makes OVS connect now, whatever its back-off: another spelling of the socket is another controller to it. */
  async reconnect(): Promise<void> {
    const target = await this.ovs.vsctl('get-controller', 'br0');
    const spelling = target.includes('/./') ? this.socket : this.socket.replace('/c.sock', '/./c.sock');
    await this.ovs.vsctl('set-controller', 'br0', `unix:${spelling}`);
    await this.connected();
  }

  async stop(): Promise<void> {
    await this.controller.stop();
    await this.ovs.stop();
  }

  /** Waits until what the controller has sent is done, and no packet goes by what OVS decided before. */
  async settled(): Promise<void> {
    await this.controller.drops();
    await this.ovs.appctl('revalidator/wait');
  }

  /** Lets a frame come in on a port. */
  async inject(portNo: number, ...frames: Buffer[]): Promise<void> {
    const hex = frames.map((frame) => frame.toString('hex'));
    await this.ovs.appctl('netdev-dummy/receive', `p${portNo}`, ...hex);
  }

  /** The frames that left by a port since the last call. */
  captured(portNo: number): Buffer[] {
    const frames = readPcap(join(this.ovs.rundir, `p${portNo}.pcap`));
    const from = this.seen.get(portNo) ?? 0;
    this.seen.set(portNo, frames.length);
    return frames.slice(from);
  }

  /** Waits until as many frames left by a port since the last call of `captured`, and returns them. */
  async leaving(portNo: number, count: number): Promise<Buffer[]> {
    const path = join(this.ovs.rundir, `p${portNo}.pcap`);
    const from = this.seen.get(portNo) ?? 0;
    await until(`${count}. frame on port ${portNo}`, () => readPcap(path).length - from >= count);
    return this.captured(portNo);
  }

  /** Forgets what was captured so far. */
  forget(): void {
    for (const portNo of PORTS) this.captured(portNo);
  }

  /** What left by any port since `forget`, by port. */
  everything(): Record<number, number> {
    const counts = PORTS.map((portNo) => [portNo, this.captured(portNo).length] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  /** Flows as `ovs-ofctl` shows them, without cookies and counters. */
  async flows(...match: string[]): Promise<string[]> {
    const text = await this.ovs.ofctl('-O', 'OpenFlow14', '--no-names', '--no-stats', 'dump-flows', 'br0', ...match);
    return text
      .split('\n')
      .filter((line) => line.includes('actions='))
      .map((line) => line.trim().replace(/^cookie=\w+, /, ''));
  }

  /** Those that packets have caused. */
  async reactiveFlows(): Promise<string[]> {
    return (await this.flows()).filter((line) => /_timeout=/.test(line));
  }

  /** What OVS would do with a packet: the datapath actions of `ofproto/trace`. */
  async trace(flow: string): Promise<string> {
    const text = await this.ovs.appctl('ofproto/trace', 'br0', flow);
    return /^Datapath actions: (.*)$/m.exec(text)?.[1] ?? text;
  }
}

function readPcap(path: string): Buffer[] {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  const frames: Buffer[] = [];
  for (let at = 24; at + 16 <= bytes.length;) {
    const length = bytes.readUInt32LE(at + 8);
    if (at + 16 + length > bytes.length) break;
    frames.push(bytes.subarray(at + 16, at + 16 + length));
    at += 16 + length;
  }
  return frames;
}

/** What a test compares of a frame. */
export function describeFrame(frame: Buffer): string {
  const mac = (at: number) => frame.subarray(at, at + 6).toString('hex');
  const src = formatIpv4(frame.readUInt32BE(26) as Ipv4);
  const dst = formatIpv4(frame.readUInt32BE(30) as Ipv4);
  return `${mac(6)}>${mac(0)} ${src}>${dst} ttl ${frame[22]} proto ${frame[23]}`;
}
