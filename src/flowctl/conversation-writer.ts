// Appends the flow mods of conversations, as route-writer.ts does those of routes: from templates that are made of the
// functions of conversation-flows.ts, when the first of their kind is needed.

import type { Ipv4 } from '../base/addresses';
import { encodeFlowMod } from '../openflow/flow-mod';
import type { Match } from '../openflow/match';
import type { MessageWriter } from '../openflow/message-writer';
import { compileTemplate, type Place, type PlaceWidth } from '../openflow/template';
import { IP_PROTO } from '../packet/protocol-numbers';
import { hasPorts, type Conversation } from './conversation';
import { conversationFlow, type Way } from './conversation-flows';
import type { EndpointIndex } from './endpoint-index';
import type { FlowHost } from './model';
import {
  farContextOf,
  inwardFlow,
  outwardFlow,
  pairFlow,
  remoteInFlow,
  remoteOutFlow,
  type RouteContext,
} from './route-flows';
import { OUTSIDE } from './route-table';
import { end, PACKET_PATH_XID } from './route-templates';

/** All that varies in flows of conversations; each has some of it. */
type Name =
  | 'fromPort'
  | 'fromIp'
  | 'fromMac'
  | 'fromLocator'
  | 'toPort'
  | 'toIp'
  | 'toMac'
  | 'toLocator'
  | 'address'
  | 'openerPort'
  | 'answererPort'
  | 'protocol';
type Widths = { readonly [Key in Name]?: PlaceWidth };
type Values = { readonly [Key in Name]?: number };

interface FlowTemplate {
  append(writer: MessageWriter): number;
  readonly place: { readonly [Key in Name]?: Place };
}

/** From one end to another: what varies, and the way. Undefined where there is no port for it. */
interface Shape {
  readonly widths: Widths;
  way(values: Values, context: RouteContext, host: FlowHost): Way | undefined;
}

const source = (v: Values) => end(named(v.fromPort, v.fromIp, v.fromMac, v.fromLocator));
const destination = (v: Values) => end(named(v.toPort, v.toIp, v.toMac, v.toLocator));
const named = (port = 0, ip = 0, mac = 0, locator = 0) => ({ port, ip, mac, locator });

function wayAlong(route: Way['route'] | undefined, outside: Pick<Match, 'ipv4Src' | 'ipv4Dst'> = {}): Way | undefined {
  return route && { route, outside };
}

const PAIR: Shape = {
  widths: { fromPort: 2, fromIp: 4, toPort: 2, toIp: 4, toMac: 6 },
  way: (v, context) => wayAlong(pairFlow(source(v), destination(v), context)),
};
// Places on other hosts have 24 bits.
const remoteOut = (isTunnel: boolean): Shape => ({
  widths: { fromPort: 2, fromIp: 4, fromLocator: 4, toPort: 3, toIp: 4, toMac: 6, toLocator: 4 },
  way: (v, { idleTimeoutSeconds }, host) => {
    const far = farContextOf(host, idleTimeoutSeconds, isTunnel);
    return wayAlong(far && remoteOutFlow(source(v), destination(v), far));
  },
});
const remoteIn = (isTunnel: boolean): Shape => ({
  widths: { fromPort: 3, fromIp: 4, fromMac: 6, fromLocator: 4, toPort: 2, toIp: 4, toMac: 6, toLocator: 4 },
  way: (v, { idleTimeoutSeconds }, host) => {
    const far = farContextOf(host, idleTimeoutSeconds, isTunnel);
    return wayAlong(far && remoteInFlow(source(v), destination(v), far));
  },
});
const [REMOTE_OUT, REMOTE_IN] = [remoteOut(false), remoteIn(false)];
const [TUNNEL_OUT, TUNNEL_IN] = [remoteOut(true), remoteIn(true)];
const OUTWARD: Shape = {
  widths: { fromPort: 2, fromIp: 4, fromLocator: 4, address: 4 },
  way: (v, context, { hostPort }) =>
    wayAlong(hostPort && outwardFlow(source(v), hostPort, context), { ipv4Dst: (v.address ?? 0) as Ipv4 }),
};
const INWARD: Shape = {
  widths: { toPort: 2, toIp: 4, toMac: 6, toLocator: 4, address: 4 },
  way: (v, context, { hostPort }) =>
    wayAlong(hostPort && inwardFlow(destination(v), hostPort, context), { ipv4Src: (v.address ?? 0) as Ipv4 }),
};

const SHAPES = [PAIR, REMOTE_OUT, REMOTE_IN, TUNNEL_OUT, TUNNEL_IN, OUTWARD, INWARD];

/** What varies in the match of a protocol. */
function packetWidths(protocol: number): Widths {
  if (hasPorts(protocol)) return { openerPort: 2, answererPort: 2 };
  return protocol === IP_PROTO.ICMP ? {} : { protocol: 1 };
}

export class ConversationWriter {
  private host: FlowHost | undefined;
  /** By shape; then by protocol, 0 for those without a template of their own, and side. */
  private templates = new Map<Shape, (FlowTemplate | undefined)[]>();

  constructor(
    private readonly endpoints: EndpointIndex,
    private readonly idleTimeoutSeconds: number,
  ) {}

  /** Before it, nothing is appended. */
  setHost(host: FlowHost): void {
    this.host = host;
    this.templates = new Map(SHAPES.map((shape) => [shape, []]));
  }

  /** The flow of one direction. Its xid is PACKET_PATH_XID. Nothing, where there is no port that it needs. */
  append(writer: MessageWriter, conversation: Conversation, isOpening: boolean): void {
    const { opener, answerer } = conversation;
    const [from, to] = isOpening ? [opener, answerer] : [answerer, opener];
    const template = this.templateOf(this.shapeOf(from, to), conversation.protocol, isOpening);
    if (template === undefined) return;
    const at = template.append(writer);
    if (from !== OUTSIDE) this.putSource(writer, at, from, template);
    if (to !== OUTSIDE) this.putDestination(writer, at, to, template);
    const { place } = template;
    place.address?.put(writer, at, conversation.outsideAddress);
    place.openerPort?.put(writer, at, conversation.openerPort);
    place.answererPort?.put(writer, at, conversation.answererPort);
    place.protocol?.put(writer, at, conversation.protocol);
  }

  private putSource(writer: MessageWriter, at: number, slot: number, { place }: FlowTemplate): void {
    const { endpoints } = this;
    place.fromPort?.put(writer, at, endpoints.portNoOf(slot));
    place.fromIp?.put(writer, at, endpoints.ipOf(slot));
    place.fromMac?.put(writer, at, endpoints.hopTo(slot));
    place.fromLocator?.put(writer, at, endpoints.locatorOf(slot));
  }

  private putDestination(writer: MessageWriter, at: number, slot: number, { place }: FlowTemplate): void {
    const { endpoints } = this;
    place.toPort?.put(writer, at, endpoints.portNoOf(slot));
    place.toIp?.put(writer, at, endpoints.ipOf(slot));
    place.toMac?.put(writer, at, endpoints.hopTo(slot));
    place.toLocator?.put(writer, at, endpoints.locatorOf(slot));
  }

  private shapeOf(from: number, to: number): Shape {
    if (to === OUTSIDE) return OUTWARD;
    if (from === OUTSIDE) return INWARD;
    const { endpoints } = this;
    if (endpoints.isElsewhere(to)) return endpoints.isTunnelled(to) ? TUNNEL_OUT : REMOTE_OUT;
    if (endpoints.isElsewhere(from)) return endpoints.isTunnelled(from) ? TUNNEL_IN : REMOTE_IN;
    return PAIR;
  }

  private templateOf(shape: Shape, protocol: number, isOpening: boolean): FlowTemplate | undefined {
    const templates = this.templates.get(shape);
    if (templates === undefined || this.host === undefined) return undefined;
    const common = hasPorts(protocol) || protocol === IP_PROTO.ICMP ? protocol : 0;
    const index = 2 * common + (isOpening ? 1 : 0);
    return (templates[index] ??= this.compile(shape, common, isOpening, this.host));
  }

  private compile(shape: Shape, common: number, isOpening: boolean, host: FlowHost): FlowTemplate | undefined {
    const context = { routerMac: host.routerMac, idleTimeoutSeconds: this.idleTimeoutSeconds };
    if (shape.way({}, context, host) === undefined) return undefined;
    const widths = { ...shape.widths, ...packetWidths(common) };
    return compileTemplate<Name>(widths as Record<Name, PlaceWidth>, (writer, values: Values) => {
      const way = shape.way(values, context, host);
      const { protocol = common, openerPort = 0, answererPort = 0 } = values;
      const conversation = { opener: 0, answerer: 0, outsideAddress: 0, protocol, openerPort, answererPort };
      if (way !== undefined) encodeFlowMod(writer, PACKET_PATH_XID, conversationFlow(way, conversation, isOpening));
    });
  }
}
