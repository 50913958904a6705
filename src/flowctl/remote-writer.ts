// Appends the messages of routes between hosts, as route-writer.ts does for those of one host.

import { encodeFlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import { encodePacketOut } from '../openflow/packet-out';
import { compileTemplate } from '../openflow/template';
import type { PacketView } from '../packet/packet-view';
import type { EndpointIndex } from './endpoint-index';
import type { FlowHost } from './model';
import { asPortNo } from './pipeline';
import {
  farContextOf,
  remoteInActions,
  remoteInFlow,
  remoteOutActions,
  remoteOutFlow,
  type FarContext,
} from './route-flows';
import { end, NO_DATA, PACKET_PATH_XID } from './route-templates';

/** Of one way to other hosts; undefined where this host has no such way. */
function compileRemote(context: FarContext | undefined) {
  if (context === undefined) return undefined;
  const inPort = asPortNo(context.farPortNo);
  return {
    out: {
      flow: compileTemplate(
        { fromPort: 2, fromIp: 4, fromLocator: 4, toPlace: 3, toIp: 4, toLocator: 4, toMac: 6 },
        (writer, v) => {
          const from = end({ port: v.fromPort, ip: v.fromIp, locator: v.fromLocator });
          const to = end({ port: v.toPlace, ip: v.toIp, mac: v.toMac, locator: v.toLocator });
          encodeFlowMod(writer, PACKET_PATH_XID, remoteOutFlow(from, to, context));
        },
      ),
      packet: compileTemplate({ fromPort: 2, fromLocator: 4, toLocator: 4, toMac: 6 }, (writer, v) => {
        const from = end({ locator: v.fromLocator });
        const actions = remoteOutActions(from, end({ mac: v.toMac, locator: v.toLocator }), context);
        const packetOut = { type: 'packetOut', inPort: asPortNo(v.fromPort), actions, data: NO_DATA } as const;
        encodePacketOut(writer, PACKET_PATH_XID, packetOut);
      }),
    },
    in: {
      flow: compileTemplate(
        { fromPlace: 3, fromIp: 4, fromLocator: 4, fromMac: 6, toPort: 2, toIp: 4, toLocator: 4, toMac: 6 },
        (writer, v) => {
          const from = end({ port: v.fromPlace, ip: v.fromIp, mac: v.fromMac, locator: v.fromLocator });
          const to = end({ port: v.toPort, ip: v.toIp, mac: v.toMac, locator: v.toLocator });
          encodeFlowMod(writer, PACKET_PATH_XID, remoteInFlow(from, to, context));
        },
      ),
      packet: compileTemplate({ fromIp: 4, toPort: 2, toIp: 4, toMac: 6 }, (writer, v) => {
        const to = end({ port: v.toPort, ip: v.toIp, mac: v.toMac });
        const actions = remoteInActions(end({ ip: v.fromIp }), to, context);
        encodePacketOut(writer, PACKET_PATH_XID, { type: 'packetOut', inPort, actions, data: NO_DATA });
      }),
    },
  };
}

export class RemoteWriter {
  private fabric: ReturnType<typeof compileRemote>;
  private tunnel: ReturnType<typeof compileRemote>;

  constructor(private readonly endpoints: EndpointIndex) {}

  setHost(host: FlowHost, idleTimeoutSeconds: number): void {
    this.fabric = compileRemote(farContextOf(host, idleTimeoutSeconds, false));
    this.tunnel = compileRemote(farContextOf(host, idleTimeoutSeconds, true));
  }

  /** Is there the way to this endpoint on another host? */
  hasWayTo(slot: number): boolean {
    return this.templatesFor(slot) !== undefined;
  }

  private templatesFor(slot: number): ReturnType<typeof compileRemote> {
    return this.endpoints.isTunnelled(slot) ? this.tunnel : this.fabric;
  }

  /** From an endpoint here to one on another host. */
  outFlow(writer: MessageWriter, from: number, to: number): void {
    const { endpoints } = this;
    const flow = this.templatesFor(to)?.out.flow;
    if (flow === undefined) return;
    const at = flow.append(writer);
    const { place } = flow;
    place.fromPort.put(writer, at, endpoints.portNoOf(from));
    place.fromIp.put(writer, at, endpoints.ipOf(from));
    place.fromLocator.put(writer, at, endpoints.locatorOf(from));
    place.toPlace.put(writer, at, endpoints.portNoOf(to));
    place.toIp.put(writer, at, endpoints.ipOf(to));
    place.toLocator.put(writer, at, endpoints.locatorOf(to));
    place.toMac.put(writer, at, endpoints.hopTo(to));
  }

  outPacket(writer: MessageWriter, from: number, to: number, frame: PacketView): void {
    const { endpoints } = this;
    const packet = this.templatesFor(to)?.out.packet;
    if (packet === undefined) return;
    const at = packet.appendWith(writer, frame.buffer, frame.offset, frame.length);
    packet.place.fromPort.put(writer, at, endpoints.portNoOf(from));
    packet.place.fromLocator.put(writer, at, endpoints.locatorOf(from));
    packet.place.toLocator.put(writer, at, endpoints.locatorOf(to));
    packet.place.toMac.put(writer, at, endpoints.hopTo(to));
  }

  /** From an endpoint on another host to one here. */
  inFlow(writer: MessageWriter, from: number, to: number): void {
    const { endpoints } = this;
    const flow = this.templatesFor(from)?.in.flow;
    if (flow === undefined) return;
    const at = flow.append(writer);
    const { place } = flow;
    place.fromPlace.put(writer, at, endpoints.portNoOf(from));
    place.fromIp.put(writer, at, endpoints.ipOf(from));
    place.fromLocator.put(writer, at, endpoints.locatorOf(from));
    place.fromMac.put(writer, at, endpoints.hopTo(from));
    place.toPort.put(writer, at, endpoints.portNoOf(to));
    place.toIp.put(writer, at, endpoints.ipOf(to));
    place.toLocator.put(writer, at, endpoints.locatorOf(to));
    place.toMac.put(writer, at, endpoints.macOf(to));
  }

  inPacket(writer: MessageWriter, from: number, to: number, frame: PacketView): void {
    const { endpoints } = this;
    const packet = this.templatesFor(from)?.in.packet;
    if (packet === undefined) return;
    const at = packet.appendWith(writer, frame.buffer, frame.offset, frame.length);
    packet.place.fromIp.put(writer, at, endpoints.ipOf(from));
    packet.place.toPort.put(writer, at, endpoints.portNoOf(to));
    packet.place.toIp.put(writer, at, endpoints.ipOf(to));
    packet.place.toMac.put(writer, at, endpoints.macOf(to));
  }
}
