// Actions as ovs-ofctl prints and reads them.

import { DaoliError } from '../base/errors';
import type { Action, ControllerAction, ResubmitAction, SetFieldAction, Subfield } from './action';
import { OFPP, OFPR } from './constants';
import { formatPort, formatValue, hex, isMasked, parsePort, parseUnsigned, parseValue, parseWide } from './field-text';
import type { MatchValue } from './match';
import type { FieldRow } from './oxm';
import { FIELDS, FIELD_ROWS } from './oxm';

const REASONS = ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out'] as const;

function formatReason(reason: number): string {
  return REASONS[reason] ?? String(reason);
}

/** Actions with commas between them; "" where there are none. */
export function formatActions(actions: readonly Action[]): string {
  return actions.map(formatAction).join(',');
}

function formatAction(action: Action): string {
  switch (action.type) {
    case 'output':
      if (action.portNo === OFPP.CONTROLLER) return `CONTROLLER:${action.maxLen ?? 0xffff}`;
      return (action.portNo < OFPP.MAX ? 'output:' : '') + formatPort(action.portNo);
    case 'outputReg':
      return `output:${formatSubfield(action.source)}`;
    case 'setField':
      return `set_field:${formatValue(FIELDS[action.field], setFieldValue(action))}->${FIELDS[action.field].name}`;
    case 'move':
      return `move:${formatSubfield(action.source)}->${formatSubfield(action.destination)}`;
    case 'load':
      return `load:${hex(action.value)}->${formatSubfield(action.destination)}`;
    case 'decTtl':
      return 'dec_ttl';
    case 'resubmit':
      return formatResubmit(action);
    case 'controller':
      return formatController(action);
    case 'checkPktLarger':
      return `check_pkt_larger(${action.length})->${formatSubfield(action.destination)}`;
    case 'raw':
      return `raw(${action.bytes.toString('hex')})`;
  }
}

function setFieldValue({ value, mask }: SetFieldAction): MatchValue {
  return mask === undefined ? value : ({ value, mask } as MatchValue);
}

function formatSubfield({ field, offset, bits }: Subfield): string {
  const row = FIELDS[field];
  if (offset === 0 && bits === row.bits) return `${row.longName}[]`;
  return `${row.longName}[${bits === 1 ? offset : `${offset}..${offset + bits - 1}`}]`;
}

function formatResubmit({ inPort, table }: ResubmitAction): string {
  if (table === undefined && inPort !== undefined) return `resubmit:${formatPort(inPort)}`;
  return `resubmit(${inPort === undefined ? '' : formatPort(inPort)},${table ?? ''})`;
}

function formatController({ maxLen, controllerId, reason, userdata, pause, meterId }: ControllerAction): string {
  const special = [controllerId, userdata, pause, meterId].some((option) => option !== undefined);
  if (!special && (reason ?? OFPR.ACTION) === OFPR.ACTION) return `CONTROLLER:${maxLen ?? 0xffff}`;
  const parts: string[] = [];
  if (reason !== undefined && reason !== OFPR.ACTION) parts.push(`reason=${formatReason(reason)}`);
  if (maxLen !== undefined) parts.push(`max_len=${maxLen}`);
  if (controllerId !== undefined) parts.push(`id=${controllerId}`);
  if (userdata !== undefined) parts.push(`userdata=${userdata.toString('hex').replace(/..(?!$)/g, '$&.')}`);
  if (pause) parts.push('pause');
  if (meterId !== undefined) parts.push(`meter_id=${meterId}`);
  return `controller(${parts.join(',')})`;
}

/** Splits at commas that are not inside parentheses. */
export function splitList(text: string): string[] {
  const parts: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i <= text.length; i++) {
    const char = text[i];
    if (char === '(') depth++;
    else if (char === ')') depth--;
    else if (i === text.length || (char === ',' && depth === 0)) {
      if (text.slice(start, i).trim() !== '') parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  return parts;
}

/** Parses one action. Throws `invalid` where it is none that this codec knows. */
export function parseAction(text: string): Action {
  const [, word = '', parenthesis, inner = '', rest = ''] = /^(\w+)(?:(\()(.*)\))?(.*)$/s.exec(text) ?? [];
  const argument = parenthesis === undefined ? rest.slice(1) : inner;
  switch (word.toLowerCase()) {
    case 'output':
      return parseOutput(argument);
    case 'controller':
      return parenthesis === undefined ? parseOutput(text) : parseController(argument);
    case 'set_field':
      return parseSetField(argument);
    case 'load': {
      const [value, destination] = splitArrow(argument);
      return { type: 'load', destination, value: parseWide(value, (1n << BigInt(destination.bits)) - 1n) };
    }
    case 'move': {
      const [source, destination] = splitArrow(argument);
      return { type: 'move', source: parseSubfield(source), destination };
    }
    case 'dec_ttl':
      return { type: 'decTtl' };
    case 'resubmit':
      return parseResubmit(argument, parenthesis !== undefined);
    case 'check_pkt_larger':
      return {
        type: 'checkPktLarger',
        length: parseUnsigned(argument, 0xffff),
        destination: parseSubfield(rest.replace(/^->/, '')),
      };
    case 'raw':
      return { type: 'raw', bytes: Buffer.from(argument, 'hex') };
    default:
      return parseOutput(text);
  }
}

/** `output:2`, `output:NXM_NX_REG1[]`, or a port by its name; CONTROLLER with `:max_len`. */
function parseOutput(text: string): Action {
  if (text.includes('[')) return { type: 'outputReg', source: parseSubfield(text) };
  const [port = '', maxLen] = text.split(':');
  const portNo = parsePort(port);
  if (maxLen === undefined || maxLen === '65535') return { type: 'output', portNo };
  return { type: 'output', portNo, maxLen: parseUnsigned(maxLen, 0xffff) };
}

function parseController(text: string): Action {
  const action: { -readonly [Key in keyof ControllerAction]: ControllerAction[Key] } = { type: 'controller' };
  for (const part of splitList(text)) {
    const [name = '', value = ''] = part.split('=');
    if (name === 'reason') action.reason = REASONS.indexOf(value as (typeof REASONS)[number]);
    else if (name === 'max_len') action.maxLen = parseUnsigned(value, 0xffff);
    else if (name === 'id') action.controllerId = parseUnsigned(value, 0xffff);
    else if (name === 'userdata') action.userdata = Buffer.from(value.replaceAll('.', ''), 'hex');
    else if (name === 'pause') action.pause = true;
    else if (name === 'meter_id') action.meterId = parseUnsigned(value, 0xffffffff);
    else throw new DaoliError('invalid', `controller has no option "${name}"`, name);
  }
  return action;
}

function parseSetField(text: string): Action {
  const arrow = text.lastIndexOf('->');
  const name = text.slice(arrow + 2);
  // The subfield spelling of a whole field is accepted too, as ovs-ofctl does.
  const row = FIELD_ROWS.find((each) => each.name === name) ?? FIELDS[parseSubfield(name).field];
  const value = parseValue(row, text.slice(0, arrow));
  if (!isMasked(value)) return { type: 'setField', field: row.field, value };
  return { type: 'setField', field: row.field, value: value.value, mask: value.mask };
}

function parseResubmit(text: string, parentheses: boolean): Action {
  const [port = '', table = ''] = parentheses ? text.split(',') : [text];
  return {
    type: 'resubmit',
    ...(port === '' ? {} : { inPort: parsePort(port) }),
    ...(table === '' ? {} : { table: parseUnsigned(table, 254) }),
  };
}

function splitArrow(text: string): [string, Subfield] {
  const arrow = text.indexOf('->');
  if (arrow < 0) throw new DaoliError('invalid', `"${text}" lacks "->" and a destination`, text);
  return [text.slice(0, arrow), parseSubfield(text.slice(arrow + 2))];
}

/** `NXM_NX_REG0[]`, `reg0[3]`, `reg0[0..15]`. Throws `invalid`. */
function parseSubfield(text: string): Subfield {
  const [, name = '', from, to] = /^(\w+)\[(?:(\d+)(?:\.\.(\d+))?)?\]$/.exec(text) ?? [];
  const row: FieldRow | undefined = FIELD_ROWS.find((each) => each.longName === name || each.name === name);
  if (row === undefined) throw new DaoliError('invalid', `"${text}" is not a field with its bits in brackets`, text);
  if (from === undefined) return { field: row.field, offset: 0, bits: row.bits };
  const [first, last] = [Number(from), Number(to ?? from)];
  if (first > last || last >= row.bits) throw new DaoliError('invalid', `"${text}" has no such bits`, text);
  return { field: row.field, offset: first, bits: last - first + 1 };
}
