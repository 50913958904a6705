// Reads what ofproto/trace and ofproto/trace-packet-out print: table by table the flow that matched and its actions, and what
// the packet is in the end. Pure.

export interface TraceStep {
  /** Undefined for actions that no flow has: those of a packet-out. */
  readonly table: number | undefined;
  /** As OVS prints it: "ip,in_port=1,nw_src=10.1.0.2"; empty where everything matches. */
  readonly match: string;
  readonly priority: number;
  readonly cookie: bigint;
  readonly actions: readonly string[];
}

/** Where a packet ends. `port` is an OpenFlow port number. */
export type TraceEnd =
  { readonly kind: 'output'; readonly port: number } | { readonly kind: 'controller' } | { readonly kind: 'drop' };

export interface OvsTrace {
  readonly steps: readonly TraceStep[];
  readonly end: TraceEnd;
  /** Fields of the packet in the end by OVS's names: "dl_dst", "nw_src", … */
  readonly fields: ReadonlyMap<string, string>;
  /** "set(eth(…)),5", or "drop". */
  readonly datapathActions: string;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const STEP = /^( *)(\d+)\. (.*)$/;
const FLOW = /^(?:(.*), )?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$/;
/** Deeper stands what becomes of a packet that is too large: OVS follows both. */
const BRANCH_INDENT = 5;

/** Text that is nothing of the kind has no steps. */
export function parseOfprotoTrace(text: string): OvsTrace {
  const lines = text.split('\n');
  const begin = lines.findIndex((line) => /^-+$/.test(line));
  const final = lines.findIndex((line) => line.startsWith('Final flow: '));
  const body = mainBranch(lines.slice(begin + 1, final < 0 ? undefined : final));
  const first = fieldsOf(lineAfter(lines, 'Flow: '));
  const last = lineAfter(lines, 'Final flow: ');
  const datapathActions = lineAfter(lines, 'Datapath actions: ');
  const steps = parseSteps(body);
  const isFollowed = last !== '' && last !== 'unchanged' && !body.some((line) => line.includes('check_pkt_larger'));
  return {
    steps,
    end: endOf(steps, first.get('in_port'), datapathActions),
    fields: isFollowed ? fieldsOf(last) : applied(first, body),
    datapathActions,
  };
}

function lineAfter(lines: readonly string[], head: string): string {
  const line = lines.find((each) => each.startsWith(head)) ?? '';
  return line.slice(head.length).trim();
}

function mainBranch(lines: readonly string[]): string[] {
  let isAside = false;
  return lines.filter((line) => {
    const indent = line.length - line.trimStart().length;
    if (STEP.test(line)) isAside = indent >= BRANCH_INDENT;
    else if (indent < BRANCH_INDENT) isAside = false;
    return !isAside && line.trim() !== '';
  });
}

function parseSteps(lines: readonly string[]): TraceStep[] {
  const steps: Writable<TraceStep>[] = [];
  for (const line of lines) {
    const [, , table, flow] = STEP.exec(line) ?? [];
    if (flow !== undefined) {
      const [, match = '', priority = 0, cookie = 0] = FLOW.exec(flow) ?? [];
      steps.push({
        table: Number(table),
        match: match.trim(),
        priority: Number(priority),
        cookie: BigInt(cookie),
        actions: [],
      });
    } else if (!/^\s*->/.test(line)) {
      if (steps.length === 0) steps.push({ table: undefined, match: '', priority: 0, cookie: 0n, actions: [] });
      const current = steps.at(-1);
      // The step to the next table is told again behind a branch.
      if (current !== undefined && current.actions.at(-1) !== line.trim()) {
        current.actions = [...current.actions, line.trim()];
      }
    }
  }
  return steps;
}

/** "tcp,reg0=0x1,…,nw_src=10.1.0.2" by name. */
function fieldsOf(flow: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of flow.split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals), part.slice(equals + 1));
  }
  return fields;
}

/** OVS's two names of the fields that our flows change. */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  eth_src: 'dl_src',
  eth_dst: 'dl_dst',
  ip_src: 'nw_src',
  ip_dst: 'nw_dst',
  nw_ttl: 'nw_ttl',
  'NXM_OF_IP_SRC[]': 'nw_src',
  'NXM_OF_IP_DST[]': 'nw_dst',
};

/** What the actions make of the fields, where OVS does not say it in the end. */
function applied(first: ReadonlyMap<string, string>, lines: readonly string[]): Map<string, string> {
  const fields = new Map(first);
  for (const line of lines) {
    const [, value, name] = /^\s*set_field:(\S+)->(\w+)$/.exec(line) ?? [];
    const [, moved, result] = /^\s*-> (\S+) is now (\S+)$/.exec(line) ?? [];
    const field = FIELD_NAMES[name ?? moved ?? ''];
    if (field !== undefined) fields.set(field, value ?? result ?? '');
    if (line.trim() === 'dec_ttl') fields.set('nw_ttl', String(Number(fields.get('nw_ttl')) - 1));
  }
  return fields;
}

function endOf(steps: readonly TraceStep[], inPort: string | undefined, datapathActions: string): TraceEnd {
  // What the actions say is not done where OVS says that it drops the packet, as when its TTL has run out.
  if (datapathActions === 'drop') return { kind: 'drop' };
  const actions = steps.flatMap((step) => step.actions).reverse();
  for (const action of actions) {
    const output = /^output:(\d+)$/.exec(action);
    if (output !== null) return { kind: 'output', port: Number(output[1]) };
    if (/^IN_PORT$/i.test(action)) return { kind: 'output', port: Number(inPort ?? 0) };
    if (/^controller\b/i.test(action)) return { kind: 'controller' };
  }
  return { kind: 'drop' };
}
