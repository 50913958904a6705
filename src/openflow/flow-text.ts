// Flows as text, in the notation of ovs-ofctl: what tests compare, what docs show, what people debug with.

import { formatActions, parseAction, splitList } from './action-text';
import type { Action } from './action';
import { OFPFF, OFPP, OFP_DEFAULT_PRIORITY } from './constants';
import { formatPort, hex, parsePort, parseUnsigned, parseWide } from './field-text';
import type { FlowMod, FlowModCommand } from './flow-mod';
import type { Instructions } from './instruction';
import { formatMatch, MatchParser, unknownKeyword } from './match-text';

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [OFPFF.SEND_FLOW_REM, 'send_flow_rem'],
  [OFPFF.CHECK_OVERLAP, 'check_overlap'],
  [OFPFF.RESET_COUNTS, 'reset_counts'],
  [OFPFF.NO_PKT_COUNTS, 'no_packet_counts'],
  [OFPFF.NO_BYT_COUNTS, 'no_byte_counts'],
];
const U64_MAX = (1n << 64n) - 1n;

function formatFlags(flags = 0): string {
  return FLAG_NAMES.map(([bit, name]) => (flags & bit ? `${name} ` : '')).join('');
}

/** Instructions and actions after "actions=": "drop" where there are none. */
export function formatInstructions(instructions: Instructions): string {
  const { meter, actions = [], clearActions, writeActions = [], writeMetadata, gotoTable } = instructions;
  const parts: string[] = [];
  if (meter !== undefined) parts.push(`meter:${meter}`);
  if (actions.length > 0) parts.push(formatActions(actions));
  if (clearActions) parts.push('clear_actions');
  if (writeActions.length > 0) parts.push(`write_actions(${formatActions(writeActions)})`);
  if (writeMetadata !== undefined) {
    const { value, mask } = writeMetadata;
    parts.push(`write_metadata:${hex(value)}${mask === U64_MAX ? '' : `/${hex(mask)}`}`);
  }
  if (gotoTable !== undefined) parts.push(`goto_table:${gotoTable}`);
  return parts.join(',') || 'drop';
}

function formatPriorityAndMatch({ priority, match }: Pick<FlowMod, 'priority' | 'match'>): string {
  const text = formatMatch(match);
  if (priority === OFP_DEFAULT_PRIORITY) return text;
  return `priority=${priority}${text === '' ? '' : `,${text}`}`;
}

/**
 * A flow as `ovs-ofctl --no-names --no-stats dump-flows` prints it and `ovs-ofctl add-flows` reads it. Commands other
 * than add stand in front, as in a file for `ovs-ofctl --bundle`: `delete cookie=0x5/0xff, table=1, ip`.
 */
export function formatFlow(flow: Omit<FlowMod, 'type'>): string {
  const { command, table, idleTimeoutSeconds, hardTimeoutSeconds, importance } = flow;
  const parts: string[] = [];
  const cookie = formatCookie(flow);
  if (cookie !== '') parts.push(`cookie=${cookie}, `);
  if (table !== 0) parts.push(`table=${table}, `);
  if (idleTimeoutSeconds) parts.push(`idle_timeout=${idleTimeoutSeconds}, `);
  if (hardTimeoutSeconds) parts.push(`hard_timeout=${hardTimeoutSeconds}, `);
  if (flow.outPort !== undefined) parts.push(`out_port=${formatPort(flow.outPort)}, `);
  parts.push(formatFlags(flow.flags));
  if (importance) parts.push(`importance=${importance}, `);
  parts.push(formatPriorityAndMatch(flow));
  const head = `${command === 'add' ? '' : `${command} `}${parts.join('')}`;
  if (command.startsWith('delete')) return head.replace(/[ ,]+$/, '');
  return `${head}${/[^ ]$/.test(head) ? ' ' : ''}actions=${formatInstructions(flow)}`;
}

function formatCookie({ cookie = 0n, cookieMask = 0n }: Omit<FlowMod, 'type'>): string {
  if (cookieMask !== 0n) return `0x${cookie.toString(16)}/0x${cookieMask.toString(16)}`;
  return cookie === 0n ? '' : `0x${cookie.toString(16)}`;
}

const PRINTED_COMMANDS: Readonly<Record<FlowModCommand, string>> = {
  add: 'ADD',
  modify: 'MOD',
  modify_strict: 'MOD_STRICT',
  delete: 'DEL',
  delete_strict: 'DEL_STRICT',
};

/** A flow mod as `ovs-ofctl ofp-print` prints it after the message's name: `ADD table:1 priority=5,ip actions=drop`. */
export function formatFlowMod(flow: FlowMod): string {
  const { cookie = 0n, cookieMask = 0n, idleTimeoutSeconds, hardTimeoutSeconds, importance, outPort } = flow;
  const parts = [PRINTED_COMMANDS[flow.command]];
  if (flow.table !== 0) parts.push(`table:${flow.table}`);
  const match = formatPriorityAndMatch(flow);
  if (match !== '') parts.push(match);
  if (cookieMask !== 0n) parts.push(`cookie:0x${cookie.toString(16)}/0x${cookieMask.toString(16)}`);
  else if (cookie !== 0n && cookie !== U64_MAX) parts.push(`cookie:0x${cookie.toString(16)}`);
  if (idleTimeoutSeconds) parts.push(`idle:${idleTimeoutSeconds}`);
  if (hardTimeoutSeconds) parts.push(`hard:${hardTimeoutSeconds}`);
  if (importance) parts.push(`importance:${importance}`);
  if (outPort !== undefined && outPort !== OFPP.ANY) parts.push(`out_port:${formatPort(outPort)}`);
  return `${parts.join(' ')} ${formatFlags(flow.flags)}actions=${formatInstructions(flow)}`;
}

type Writable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/**
 * Parses what `formatFlow` writes: `parseFlow(formatFlow(flow))` equals `flow`, but for what OVS itself prints alike: the
 * exact and the masked nw_frag=no and later, and vlanTci where vlanVid and vlanPcp say the same. It reads the subset of ovs-ofctl's
 * notation that this codec knows. Throws `invalid`, naming the part.
 */
export function parseFlow(text: string): FlowMod {
  const [, command = 'add', rest = ''] =
    /^\s*(?:(add|modify_strict|modify|delete_strict|delete)\s+)?(.*)$/s.exec(text) ?? [];
  const [head = '', actions] = splitAtActions(rest);
  const flow: Partial<Writable<FlowMod>> = {};
  const match = new MatchParser();
  for (const word of head.split(/[\s,]+/)) {
    if (word !== '') takeWord(word, flow, match);
  }
  return {
    type: 'flowMod',
    command: command as FlowModCommand,
    table: 0,
    priority: OFP_DEFAULT_PRIORITY,
    ...flow,
    match: match.result(),
    ...(actions === undefined ? {} : parseInstructions(actions)),
  };
}

function splitAtActions(text: string): [string, string | undefined] {
  const at = text.search(/(^|[\s,])actions=/);
  if (at < 0) return [text, undefined];
  return [text.slice(0, at), text.slice(text.indexOf('actions=', at) + 'actions='.length)];
}

function takeWord(word: string, flow: Partial<Writable<FlowMod>>, match: MatchParser): void {
  const equals = word.indexOf('=');
  const flag = FLAG_NAMES.find(([, name]) => name === word);
  if (flag !== undefined) flow.flags = (flow.flags ?? 0) | flag[0];
  else if (equals < 0 ? !match.takeProtocol(word) : !takePair(word.slice(0, equals), word.slice(equals + 1), flow)) {
    if (equals < 0 || !match.take(word.slice(0, equals), word.slice(equals + 1))) throw unknownKeyword(word);
  }
}

/** Takes what belongs to the flow and not to its match. False where it is not that. */
function takePair(name: string, value: string, flow: Partial<Writable<FlowMod>>): boolean {
  switch (name) {
    case 'cookie':
      takeCookie(value, flow);
      return true;
    case 'table':
      flow.table = parseUnsigned(value, 255);
      return true;
    case 'priority':
      flow.priority = parseUnsigned(value, 0xffff);
      return true;
    case 'idle_timeout':
      flow.idleTimeoutSeconds = parseUnsigned(value, 0xffff);
      return true;
    case 'hard_timeout':
      flow.hardTimeoutSeconds = parseUnsigned(value, 0xffff);
      return true;
    case 'importance':
      flow.importance = parseUnsigned(value, 0xffff);
      return true;
    case 'out_port':
      flow.outPort = parsePort(value);
      return true;
    default:
      return false;
  }
}

function takeCookie(text: string, flow: Partial<Writable<FlowMod>>): void {
  const [cookie = '', mask] = text.split('/');
  const value = parseWide(cookie, U64_MAX);
  if (value !== 0n) flow.cookie = value;
  if (mask !== undefined) flow.cookieMask = parseWide(mask, U64_MAX);
}

/** Parses what stands after "actions=". Throws `invalid`. */
export function parseInstructions(text: string): Instructions {
  const instructions: Writable<Instructions> = {};
  const actions: Action[] = [];
  for (const part of splitList(text)) {
    const [, word = '', argument = ''] = /^(\w+)(?::(.*))?/s.exec(part) ?? [];
    if (word === 'drop') continue;
    if (word === 'meter') instructions.meter = parseUnsigned(argument, 0xffffffff);
    else if (word === 'goto_table') instructions.gotoTable = parseUnsigned(argument, 254);
    else if (word === 'clear_actions') instructions.clearActions = true;
    else if (word === 'write_metadata') {
      const [value = '', mask] = argument.split('/');
      instructions.writeMetadata = {
        value: parseWide(value, U64_MAX),
        mask: mask === undefined ? U64_MAX : parseWide(mask, U64_MAX),
      };
    } else if (word === 'write_actions') {
      const { actions: written } = parseInstructions(part.slice('write_actions('.length, -1));
      if (written !== undefined) instructions.writeActions = written;
    } else actions.push(parseAction(part));
  }
  return actions.length === 0 ? instructions : { ...instructions, actions };
}
