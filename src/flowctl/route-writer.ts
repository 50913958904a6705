// Appends the messages of the packet path: routes by slot, and the packets that go with them. The bytes come from
// templates that are made from the functions of route-flows.ts once for each host port and timeout, so what the text
// tests show is what leaves.

import { output } from '../openflow/action';
import { OFPP } from '../openflow/constants';
import { encodeFlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import { encodePacketOut } from '../openflow/packet-out';
import { compileTemplate } from '../openflow/template';
import type { PacketView } from '../packet/packet-view';
import { ConversationWriter } from './conversation-writer';
import type { EndpointIndex } from './endpoint-index';
import type { FlowHost } from './model';
import { asPortNo } from './pipeline';
import {
  inwardActions,
  inwardFlow,
  outwardActions,
  outwardFlow,
  pairActions,
  pairFlow,
  type HostPort,
  type RouteContext,
} from './route-flows';
import { RemoteWriter } from './remote-writer';
import { end, NO_DATA, PACKET_PATH_XID } from './route-templates';

// Ports have 16 bits in the 32 of OpenFlow 1.4.
function compilePair(context: RouteContext) {
  const { routerMac } = context;
  return {
    // The answer's route before the question's: OVS takes messages of one connection in order.
    both: compileTemplate({ fromPort: 2, fromIp: 4, fromMac: 6, toPort: 2, toIp: 4, toMac: 6 }, (writer, v) => {
      const from = end({ port: v.fromPort, ip: v.fromIp, mac: v.fromMac });
      const to = end({ port: v.toPort, ip: v.toIp, mac: v.toMac });
      encodeFlowMod(writer, PACKET_PATH_XID, pairFlow(to, from, context));
      encodeFlowMod(writer, PACKET_PATH_XID, pairFlow(from, to, context));
    }),
    flow: compileTemplate({ fromPort: 2, fromIp: 4, toPort: 2, toIp: 4, toMac: 6 }, (writer, v) => {
      const from = end({ port: v.fromPort, ip: v.fromIp });
      const to = end({ port: v.toPort, ip: v.toIp, mac: v.toMac });
      encodeFlowMod(writer, PACKET_PATH_XID, pairFlow(from, to, context));
    }),
    packet: compileTemplate({ fromPort: 2, toPort: 2, toMac: 6 }, (writer, v) =>
      encodePacketOut(writer, PACKET_PATH_XID, {
        type: 'packetOut',
        inPort: asPortNo(v.fromPort),
        actions: pairActions(end({ port: v.toPort, mac: v.toMac }), routerMac),
        data: NO_DATA,
      }),
    ),
  };
}

function compileOutward(hostPort: HostPort, context: RouteContext) {
  return {
    flow: compileTemplate({ port: 2, ip: 4, locator: 4 }, (writer, v) =>
      encodeFlowMod(writer, PACKET_PATH_XID, outwardFlow(end(v), hostPort, context)),
    ),
    packet: compileTemplate({ port: 2, locator: 4 }, (writer, v) =>
      encodePacketOut(writer, PACKET_PATH_XID, {
        type: 'packetOut',
        inPort: asPortNo(v.port),
        actions: outwardActions(end(v), hostPort, context.routerMac),
        data: NO_DATA,
      }),
    ),
  };
}

function compileInward(hostPort: HostPort, context: RouteContext) {
  return {
    flow: compileTemplate({ port: 2, ip: 4, mac: 6, locator: 4 }, (writer, v) =>
      encodeFlowMod(writer, PACKET_PATH_XID, inwardFlow(end(v), hostPort, context)),
    ),
    packet: compileTemplate({ port: 2, ip: 4, mac: 6 }, (writer, v) =>
      encodePacketOut(writer, PACKET_PATH_XID, {
        type: 'packetOut',
        inPort: asPortNo(hostPort.portNo),
        actions: inwardActions(end(v), context.routerMac),
        data: NO_DATA,
      }),
    ),
  };
}

/** A packet that the controller has made or rewritten, out of one port as it is. */
const plain = compileTemplate({ port: 2 }, (writer: MessageWriter, v) =>
  encodePacketOut(writer, PACKET_PATH_XID, {
    type: 'packetOut',
    inPort: OFPP.CONTROLLER,
    actions: [output(asPortNo(v.port))],
    data: NO_DATA,
  }),
);

function compileOutside(host: FlowHost, context: RouteContext) {
  const { hostPort } = host;
  return hostPort && { outward: compileOutward(hostPort, context), inward: compileInward(hostPort, context) };
}

export class RouteWriter {
  private pair: ReturnType<typeof compilePair> | undefined;
  private outside: ReturnType<typeof compileOutside>;
  /** Those between an endpoint here and one on another host. */
  readonly remote: RemoteWriter;
  readonly conversations: ConversationWriter;

  constructor(
    private readonly endpoints: EndpointIndex,
    readonly idleTimeoutSeconds: number,
  ) {
    this.remote = new RemoteWriter(endpoints);
    this.conversations = new ConversationWriter(endpoints, idleTimeoutSeconds);
  }

  /** Compiles the templates for a host: some hundred microseconds. Before it, nothing is appended. */
  setHost(host: FlowHost): void {
    const context = { routerMac: host.routerMac, idleTimeoutSeconds: this.idleTimeoutSeconds };
    this.pair = compilePair(context);
    this.outside = compileOutside(host, context);
    this.remote.setHost(host, this.idleTimeoutSeconds);
    this.conversations.setHost(host);
  }

  /** Is there a host port, and so a way outside? */
  get hasOutside(): boolean {
    return this.outside !== undefined;
  }

  /** Both directions between two endpoints of this datapath, the way back first. */
  pairFlows(writer: MessageWriter, from: number, to: number): void {
    const { endpoints } = this;
    const both = this.pair?.both;
    if (both === undefined) return;
    const at = both.append(writer);
    const { place } = both;
    place.fromPort.put(writer, at, endpoints.portNoOf(from));
    place.fromIp.put(writer, at, endpoints.ipOf(from));
    place.fromMac.put(writer, at, endpoints.macOf(from));
    place.toPort.put(writer, at, endpoints.portNoOf(to));
    place.toIp.put(writer, at, endpoints.ipOf(to));
    place.toMac.put(writer, at, endpoints.macOf(to));
  }

  /** One direction. */
  pairFlow(writer: MessageWriter, from: number, to: number): void {
    const { endpoints } = this;
    const flow = this.pair?.flow;
    if (flow === undefined) return;
    const at = flow.append(writer);
    const { place } = flow;
    place.fromPort.put(writer, at, endpoints.portNoOf(from));
    place.fromIp.put(writer, at, endpoints.ipOf(from));
    place.toPort.put(writer, at, endpoints.portNoOf(to));
    place.toIp.put(writer, at, endpoints.ipOf(to));
    place.toMac.put(writer, at, endpoints.macOf(to));
  }

  /** The packet that asked for the route, on its way: the route's own actions. */
  pairPacket(writer: MessageWriter, from: number, to: number, frame: PacketView): void {
    const { endpoints } = this;
    const packet = this.pair?.packet;
    if (packet === undefined) return;
    const at = packet.appendWith(writer, frame.buffer, frame.offset, frame.length);
    packet.place.fromPort.put(writer, at, endpoints.portNoOf(from));
    packet.place.toPort.put(writer, at, endpoints.portNoOf(to));
    packet.place.toMac.put(writer, at, endpoints.macOf(to));
  }

  /** From an endpoint to all outside addresses. */
  outwardFlow(writer: MessageWriter, slot: number): void {
    const { endpoints } = this;
    const flow = this.outside?.outward.flow;
    if (flow === undefined) return;
    const at = flow.append(writer);
    flow.place.port.put(writer, at, endpoints.portNoOf(slot));
    flow.place.ip.put(writer, at, endpoints.ipOf(slot));
    flow.place.locator.put(writer, at, endpoints.locatorOf(slot));
  }

  outwardPacket(writer: MessageWriter, slot: number, frame: PacketView): void {
    const packet = this.outside?.outward.packet;
    if (packet === undefined) return;
    const at = packet.appendWith(writer, frame.buffer, frame.offset, frame.length);
    packet.place.port.put(writer, at, this.endpoints.portNoOf(slot));
    packet.place.locator.put(writer, at, this.endpoints.locatorOf(slot));
  }

  /** From all outside addresses to an endpoint. */
  inwardFlow(writer: MessageWriter, slot: number): void {
    const { endpoints } = this;
    const flow = this.outside?.inward.flow;
    if (flow === undefined) return;
    const at = flow.append(writer);
    flow.place.port.put(writer, at, endpoints.portNoOf(slot));
    flow.place.ip.put(writer, at, endpoints.ipOf(slot));
    flow.place.mac.put(writer, at, endpoints.macOf(slot));
    flow.place.locator.put(writer, at, endpoints.locatorOf(slot));
  }

  inwardPacket(writer: MessageWriter, slot: number, frame: PacketView): void {
    const { endpoints } = this;
    const packet = this.outside?.inward.packet;
    if (packet === undefined) return;
    const at = packet.appendWith(writer, frame.buffer, frame.offset, frame.length);
    packet.place.port.put(writer, at, endpoints.portNoOf(slot));
    packet.place.ip.put(writer, at, endpoints.ipOf(slot));
    packet.place.mac.put(writer, at, endpoints.macOf(slot));
  }

  /** `length` bytes of `frame` from `offset`, out of a port as they are. */
  plainPacket(writer: MessageWriter, portNo: number, frame: Pick<PacketView, 'buffer' | 'offset' | 'length'>): void {
    const at = plain.appendWith(writer, frame.buffer, frame.offset, frame.length);
    plain.place.port.put(writer, at, portNo);
  }
}
