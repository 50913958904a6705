// A controller without sockets, and the datapath in memory that it programs: packets in, packets out, and time, in one
// thread of events. What the controller knows can be taken from it, as a restart does, and so can the datapath's flows.
import type { Ipv4, Mac } from '../../src/base/addresses';
import { ConversationRules } from '../../src/flowctl/conversation-rules';
import { newCounters } from '../../src/flowctl/counters';
import { DatapathState } from '../../src/flowctl/datapath-state';
import { Denials } from '../../src/flowctl/denials';
import { DesiredFlows } from '../../src/flowctl/desired-flows';
import { NO_SLOT } from '../../src/flowctl/endpoint-index';
import { takeFlowEnd } from '../../src/flowctl/flow-end';
import { Inventory } from '../../src/flowctl/inventory';
import { MeterPlan, meterOf } from '../../src/flowctl/meter-plan';
import {
  DEFAULT_FLOW_SETTINGS,
  type FlowEndpoint,
  type FlowHost,
  type FlowNetwork,
  type FlowSettings,
  type Policy,
} from '../../src/flowctl/model';
import { PacketPath } from '../../src/flowctl/packet-path';
import { checkFlow, KIND, OURS, readCookie } from '../../src/flowctl/pipeline';
import { Resync } from '../../src/flowctl/resync';
import { RouteRules } from '../../src/flowctl/route-rules';
import { OUTSIDE } from '../../src/flowctl/route-table';
import { RouteWriter } from '../../src/flowctl/route-writer';
import {
  appendEndpoint,
  appendPlaceRemoval,
  appendPortRemoval,
  appendReplacement,
} from '../../src/flowctl/static-changes';
import { networkFlows } from '../../src/flowctl/static-flows';
import { StaticWriter } from '../../src/flowctl/static-writer';
import type { FlowMod } from '../../src/openflow/flow-mod';
import { forEachFlowStats } from '../../src/openflow/flow-stats';
import { encodeMessage } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import { encodeMeterMod } from '../../src/openflow/meter';
import { decodeMeterConfigReply } from '../../src/openflow/meter-stats';
import { isPacketIn2, PacketInView } from '../../src/openflow/packet-in-view';
import { decodeFlowRemoved } from '../../src/openflow/flow-removed';
import { FakeDatapath, type Output } from './fake-datapath';
/** What a world is made with. */
export interface Surroundings {
  readonly host: FlowHost;
  readonly networks: readonly FlowNetwork[];
  policy: Policy;
  readonly settings?: Partial<FlowSettings>;
}

export class FlowWorld {
  readonly fake = new FakeDatapath();
  readonly counters = newCounters();
  inventory!: Inventory;
  /** By port, of endpoints that may be gone. */
  readonly lastAddresses = new Map<number, Ipv4>();
  readonly settings: FlowSettings;
  denials!: Denials;
  state!: DatapathState;
  private readonly entered = new Map<string, FlowEndpoint>();
  private path!: PacketPath;
  private rules!: RouteRules;
  private conversations!: ConversationRules;
  private statics!: StaticWriter;
  private readonly writer = new MessageWriter();
  private readonly view = new PacketInView();

  constructor(readonly around: Surroundings) {
    this.settings = { ...DEFAULT_FLOW_SETTINGS, ...around.settings };
    this.restart([], around.networks);
    this.fake.onAdd = (flow) => {
      const problem = checkFlow(flow);
      if (problem !== undefined) throw new Error(problem);
    };
    this.resync();
  }

  /** A controller that knows these things and has forgotten everything else. */
  restart(endpoints: readonly FlowEndpoint[], networks: readonly FlowNetwork[]): void {
    this.inventory = new Inventory(this.around.policy);
    this.inventory.host = this.around.host;
    for (const network of networks) this.inventory.setNetwork(network);
    for (const endpoint of endpoints) {
      this.inventory.addEndpoint(endpoint);
      this.entered.set(endpoint.id, endpoint);
    }
    const routeWriter = new RouteWriter(this.inventory.endpoints, this.settings.idleTimeoutSeconds);
    routeWriter.setHost(this.around.host);
    this.statics = new StaticWriter(this.inventory.endpoints);
    this.statics.setRouterMac(this.around.host.routerMac);
    this.rules = new RouteRules(this.inventory, routeWriter);
    this.state = new DatapathState(0, this.settings);
    this.conversations = new ConversationRules(this.inventory, this.rules, routeWriter);
    const { inventory, rules, conversations, counters } = this;
    this.denials = new Denials(inventory.endpoints);
    this.path = new PacketPath({
      inventory,
      routeWriter,
      rules,
      conversations,
      settings: this.settings,
      counters,
      denials: this.denials,
      tellPeer: () => undefined,
      probes: { take: () => false },
    });
  }

  /** Every endpoint that there is. */
  get endpoints(): FlowEndpoint[] {
    return [...this.entered.values()];
  }

  add(endpoint: FlowEndpoint): void {
    const { endpoints } = this.inventory;
    const slot = this.inventory.addEndpoint(endpoint);
    this.entered.set(endpoint.id, endpoint);
    if (endpoints.isElsewhere(slot)) return;
    this.lastAddresses.set(endpoints.portNoOf(slot), endpoint.ip);
    appendEndpoint(this.writer, 2, slot, { endpoints, staticWriter: this.statics, settings: this.settings });
    this.send();
  }

  remove(id: string): void {
    const { endpoints } = this.inventory;
    const slot = endpoints.slotOfId(id);
    if (slot === NO_SLOT) return;
    const place = endpoints.portNoOf(slot);
    const isElsewhere = endpoints.isElsewhere(slot);
    this.entered.delete(id);
    this.state.deleteSlot(slot);
    endpoints.remove(slot);
    if (isElsewhere) appendPlaceRemoval(this.writer, 2, place);
    else appendPortRemoval(this.writer, 2, place, this.settings);
    this.send();
  }

  /** The policy decides otherwise from now on. */
  setPolicy(policy: Policy): void {
    this.around.policy = policy;
    this.inventory.policy = policy;
    this.state.conversations.take((each) => !this.conversations.isPermitted(each));
    this.resync();
  }

  setNetwork(network: FlowNetwork): void {
    const before = this.inventory.networkOfId(network.id);
    const flowsOf = (each: FlowNetwork | undefined): FlowMod[] => (each ? networkFlows(each, this.around.host) : []);
    this.inventory.setNetwork(network);
    appendReplacement(this.writer, 2, flowsOf(before), flowsOf(network));
    this.send();
  }

  /** Lists, compares and repairs; returns how many flow mods that took. `cut`: the connection breaks after some bytes. */
  resync(cut = Infinity): number {
    const { inventory, state, rules, conversations, statics, writer } = this;
    const flows = new DesiredFlows(inventory, 0, statics);
    const options = { xid: 3, atomic: true, nowMs: this.fake.now * 1000 };
    const resync = new Resync(
      { endpoints: inventory.endpoints, datapath: state, flows, routes: rules, conversations },
      options,
    );
    encodeMessage(writer, 3, { type: 'flowStatsRequest', match: {}, ...OURS });
    const listed = this.ask();
    forEachFlowStats(listed, 0, listed.length, (at, length) => resync.takeFlow(listed, at, length));
    const meters = new MeterPlan(this.settings);
    encodeMessage(writer, 3, { type: 'meterConfigRequest', meterId: 0xffffffff });
    const listedMeters = this.ask();
    meters.take(decodeMeterConfigReply(listedMeters, 0, listedMeters.length).meters);
    const locals = this.endpoints.flatMap(({ location }) => (location.kind === 'local' ? [location.portNo] : []));
    for (const portNo of [...inventory.ownPorts(), ...locals]) {
      meters.append(writer, 3, portNo);
    }
    for (const _ of resync.plan(writer)) void _;
    for (const portNo of resync.portsGone()) encodeMeterMod(writer, 3, meterOf(portNo, 'delete', this.settings));
    this.fake.take(wholeMessages(Buffer.from(writer.take()), cut));
    return resync.repaired;
  }

  /** A frame comes in; returns all that left, by the datapath or by the controller. */
  packet(portNo: number, frame: Buffer): Output[] {
    this.fake.sent.length = 0;
    const { outputs, toController } = this.fake.receive(portNo, frame);
    this.tell(toController);
    return [...outputs, ...this.fake.sent];
  }

  /** Another host's controller says that it has made a route; returns the flows that this makes. */
  word(routerMac: Mac, source: Ipv4, destination: Ipv4): string[] {
    const before = new Set(this.routes);
    const turn = { datapath: this.state, writer: this.writer, nowMs: this.fake.now * 1000 };
    this.path.takeWord(routerMac, source, destination, turn);
    this.send();
    return this.routes.filter((line) => !before.has(line));
  }

  advance(seconds: number): void {
    this.tell(this.fake.advance(seconds));
  }

  /** What a fresh controller that knows the same would have made of an empty datapath. */
  get wanted(): { flows: string[]; meters: number[] } {
    const fresh = new FlowWorld(this.around);
    fresh.restart(this.endpoints, [...this.inventory.allNetworks()]);
    fresh.resync();
    return { flows: fresh.fake.dump(), meters: fresh.fake.meterIds() };
  }

  get staticFlows(): string[] {
    return this.fake.dump((flow) => (readCookie(flow.cookie ?? 0n)?.kind ?? 0) <= KIND.ENDPOINT);
  }

  get routes(): string[] {
    return this.fake.dump((flow) => (readCookie(flow.cookie ?? 0n)?.kind ?? 0) > KIND.ENDPOINT);
  }

  /** Routes that are remembered, by ids. */
  get remembered(): string[] {
    const routes: string[] = [];
    const name = (slot: number) => (slot === OUTSIDE ? 'outside' : this.inventory.endpoints.idOf(slot));
    this.state.routes.forEach((from, to) => routes.push(`${name(from)}>${name(to)}`));
    this.state.conversations.forEachLive((each, isOpening) => {
      const ends = isOpening ? [each.opener, each.answerer] : [each.answerer, each.opener];
      routes.push(`${ends.map(name).join(isOpening ? '>' : '<')} ${each.protocol}`);
    });
    return routes.sort();
  }

  private tell(bytes: Buffer): void {
    const turn = { datapath: this.state, writer: this.writer, nowMs: this.fake.now * 1000 };
    new MessageFramer((buffer, offset, length) => {
      if (isPacketIn2(buffer, offset, length)) {
        this.view.decode(buffer, offset, length);
        this.path.handle(this.view, turn);
      } else {
        const removed = decodeFlowRemoved(buffer, offset, offset + length);
        const { rules: routes, conversations } = this;
        takeFlowEnd(removed, this.state, { routes, conversations }, this.fake.now * 1000);
      }
    }).push(bytes);
    this.send();
  }

  private send(): void {
    const bytes = Buffer.from(this.writer.take());
    const answers = this.fake.take(bytes);
    if (answers.length > 0) this.tell(answers);
  }

  private ask(): Buffer {
    return this.fake.take(Buffer.from(this.writer.take()));
  }
}

/** The messages of a stream that is cut after so many bytes. */
function wholeMessages(bytes: Buffer, cut: number): Buffer {
  let at = 0;
  while (at < bytes.length && at + bytes.readUInt16BE(at + 2) <= cut) at += bytes.readUInt16BE(at + 2);
  return bytes.subarray(0, at);
}
