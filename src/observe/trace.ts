// What would become of a packet, step by step: what the datapath of each host does with it (OVS's own ofproto/trace), what the
// controller would add where no route is there, and whether that is what directory and policy say it should be. Nothing is sent
// and nothing is changed.

import { describeFlow, tableName } from './flow-words';
import { parseOfprotoTrace, type OvsTrace, type TraceEnd, type TraceStep } from './ofproto-trace';
import { formatPacket } from './packet';
import { ROUTE_TABLES, type Prediction } from './prediction';

export interface ShownStep {
  /** Null for what the controller would do. */
  readonly table: number | null;
  /** "ROUTE". */
  readonly name: string | null;
  /** What the flow is there for. */
  readonly what: string;
  /** The flow as OVS prints it. */
  readonly match: string;
  readonly actions: readonly string[];
}

/** What one host does with the packet. */
export interface HostTrace {
  readonly host: string;
  /** The packet as it comes in, in words of ovs-fields(7). */
  readonly packet: string;
  readonly steps: readonly ShownStep[];
  /** The flows that the controller would install, since no route is there; else empty. */
  readonly route: readonly string[];
  /** What is to become of it here. */
  readonly fate: string;
  readonly outcome: Prediction['outcome'];
  readonly policy: string | null;
  /** Where OVS does something else than that. Empty: it agrees. */
  readonly differences: readonly string[];
}

/** See Vswitchd. */
export interface AskOvs {
  trace(flow: string): Promise<string>;
  traceActions(flow: string, actions: string): Promise<string>;
}

/** Asks OVS about a packet whose fate is foretold, and compares. */
export async function traceOn(
  host: string,
  ovs: AskOvs,
  prediction: Prediction,
  policy: string | undefined,
): Promise<HostTrace> {
  const packet = formatPacket(prediction.packet);
  const found = parseOfprotoTrace(await ovs.trace(packet));
  const isAsked = asksForRoute(found);
  const after =
    isAsked && prediction.route !== undefined
      ? parseOfprotoTrace(await ovs.traceActions(packet, prediction.route.actions))
      : undefined;
  return {
    host,
    packet,
    steps: [...found.steps.map(showStep), ...(after === undefined ? [] : after.steps.map(showStep))],
    route: isAsked ? (prediction.route?.flows ?? []) : [],
    fate: prediction.fate,
    outcome: prediction.outcome,
    policy: policy ?? null,
    differences: compare(prediction, found, after),
  };
}

/** Whether the packet goes to the controller because there is no route. */
function asksForRoute({ steps, end }: OvsTrace): boolean {
  const last = steps.filter(({ table }) => table !== undefined && ROUTE_TABLES.includes(table)).at(-1);
  const isAsking = last?.actions.some((action) => /^goto_table:7$/.test(action)) === true;
  return end.kind === 'controller' && isAsking;
}

function showStep({ table, match, cookie, actions }: TraceStep): ShownStep {
  if (table === undefined) return { table: null, name: null, what: 'the route that would be made', match, actions };
  return { table, name: tableName(table) ?? null, what: describeFlow(table, cookie), match, actions };
}

/** `after`: with the route that the controller would make. */
export function compare(prediction: Prediction, found: OvsTrace, after: OvsTrace | undefined): string[] {
  const { outcome, output } = prediction;
  if (found.steps.length === 0) return ['OVS does not say what it would do'];
  switch (outcome) {
    case 'dropped':
      return found.end.kind === 'drop' ? [] : [`it is to be dropped, and OVS ${describeEnd(found.end)}`];
    case 'refused':
    case 'nobody':
      // A drop for a while, or whoever decides about it.
      return found.end.kind === 'output' ? [`it is not to be passed on, and OVS ${describeEnd(found.end)}`] : [];
    default:
      return output === undefined ? [] : compareOutput(output, after ?? found);
  }
}

function compareOutput({ port, fields }: NonNullable<Prediction['output']>, trace: OvsTrace): string[] {
  const { end } = trace;
  if (end.kind !== 'output') return [`it is to leave by port ${port}, and OVS ${describeEnd(end)}`];
  const wrongPort = end.port === port ? [] : [`it is to leave by port ${port}, and OVS sends it to port ${end.port}`];
  const wrongFields = Object.entries(fields)
    .filter(([name, value]) => trace.fields.get(name) !== value)
    .map(([name, value]) => `${name} is to be ${value}, and OVS makes it ${trace.fields.get(name) ?? 'nothing'}`);
  return [...wrongPort, ...wrongFields];
}

function describeEnd(end: TraceEnd): string {
  if (end.kind === 'output') return `sends it to port ${end.port}`;
  return end.kind === 'controller' ? 'puts it to the controller' : 'drops it';
}
