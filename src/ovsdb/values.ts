// Column values between wire and JavaScript, by the column's type. Decoding checks: a server's mistake is a ProtocolError,
// never a wrong type further in. Sets come without an order.

import { InvalidValue, ProtocolError } from './errors';
import { isUuid, NamedUuid, type Value, type WireAtom, type WireValue } from './notation';
import type { AtomicType, ColumnType } from './schema';

type Decoded = string | number | boolean;
const EMPTY_SET: WireValue = ['set', []];
const EMPTY_MAP: WireValue = ['map', []];
const DEFAULT_ATOM = {
  integer: 0,
  real: 0,
  boolean: false,
  string: '',
  uuid: '00000000-0000-0000-0000-000000000000',
} as const;

/** A set column that is not merely optional: its values are arrays. */
function isArrayType(type: ColumnType): boolean {
  return type.value === undefined && type.max > 1;
}

/** What a column has where nobody wrote it (RFC 7047 §5.2.1), as a decoded value. */
export function defaultValue(type: ColumnType): unknown {
  const isEmpty = type.min === 0;
  if (type.value !== undefined)
    return isEmpty ? new Map() : new Map([[DEFAULT_ATOM[type.key], DEFAULT_ATOM[type.value]]]);
  if (isArrayType(type)) return isEmpty ? [] : [DEFAULT_ATOM[type.key]];
  return isEmpty ? undefined : DEFAULT_ATOM[type.key];
}

/** Wire to JavaScript: an atom, undefined (an empty optional column), an array or a Map. Throws ProtocolError. */
export function decodeValue(type: ColumnType, wire: unknown): unknown {
  if (type.value !== undefined) return decodeMap(type.key, type.value, wire);
  const isSet = Array.isArray(wire) && wire[0] === 'set';
  if (isArrayType(type)) {
    return isSet ? elementsOf(wire).map((atom) => decodeAtom(type.key, atom)) : [decodeAtom(type.key, wire)];
  }
  if (!isSet) return decodeAtom(type.key, wire);
  const elements = elementsOf(wire);
  if (elements.length > 1) throw new ProtocolError('a set in a column that takes one atom');
  if (elements.length === 0 && type.min > 0) throw new ProtocolError('an empty set in a column that needs an atom');
  return elements.length === 0 ? undefined : decodeAtom(type.key, elements[0]);
}

function elementsOf(wire: readonly unknown[]): readonly unknown[] {
  if (!Array.isArray(wire[1])) throw new ProtocolError(`"${String(wire[0])}" without its elements`);
  return wire[1];
}

function decodeMap(key: AtomicType, value: AtomicType, wire: unknown): Map<Decoded, Decoded> {
  if (!Array.isArray(wire) || wire[0] !== 'map') throw new ProtocolError('a map column without a map');
  const map = new Map<Decoded, Decoded>();
  for (const pair of elementsOf(wire)) {
    if (!Array.isArray(pair) || pair.length !== 2) throw new ProtocolError('a map with an element that is no pair');
    map.set(decodeAtom(key, pair[0]), decodeAtom(value, pair[1]));
  }
  return map;
}

function decodeAtom(type: AtomicType, wire: unknown): Decoded {
  switch (type) {
    case 'uuid':
      if (Array.isArray(wire) && wire[0] === 'uuid' && isUuid(wire[1])) return wire[1];
      break;
    case 'string':
      if (typeof wire === 'string') return wire;
      break;
    case 'boolean':
      if (typeof wire === 'boolean') return wire;
      break;
    case 'integer':
      if (Number.isInteger(wire)) return wire as number;
      break;
    case 'real':
      if (typeof wire === 'number') return wire;
  }
  throw new ProtocolError(`${JSON.stringify(wire)?.slice(0, 80)} is not of type ${type}`);
}

/** JavaScript to wire. `where` names the column in errors. Throws InvalidValue. */
export function encodeValue(type: ColumnType, value: Value | null, where: string): WireValue {
  if (value === undefined || value === null) {
    if (type.min > 0) throw new InvalidValue(`${where} needs a value`);
    return type.value === undefined ? EMPTY_SET : EMPTY_MAP;
  }
  if (type.value !== undefined) return encodeMap(type.key, type.value, value, where);
  if (!Array.isArray(value)) return encodeAtom(type.key, value, where);
  if (value.length > type.max) throw new InvalidValue(`${where} takes at most ${type.max} elements`);
  return ['set', value.map((atom) => encodeAtom(type.key, atom, where))];
}

function encodeMap(key: AtomicType, valueType: AtomicType, value: Value, where: string): WireValue {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof NamedUuid) {
    throw new InvalidValue(`${where} takes a Map or an object`);
  }
  const isMap = value instanceof Map;
  const pairs = isMap ? [...(value as Map<unknown, unknown>)] : Object.entries(value);
  return [
    'map',
    pairs.map(([name, atom]) => [
      encodeAtom(key, isMap ? name : keyFromName(key, name as string), where),
      encodeAtom(valueType, atom, where),
    ]),
  ];
}

/** An object's keys are strings, whatever the map's keys are. */
function keyFromName(type: AtomicType, name: string): unknown {
  if (type === 'integer' || type === 'real') return name.trim() === '' ? name : Number(name);
  if (type === 'boolean') return name === 'true' ? true : name === 'false' ? false : name;
  return name;
}

/** One atom to wire. Throws InvalidValue. */
export function encodeAtom(type: AtomicType, atom: unknown, where: string): WireAtom {
  switch (type) {
    case 'uuid':
      if (atom instanceof NamedUuid) return ['named-uuid', atom.name];
      if (isUuid(atom)) return ['uuid', atom];
      break;
    case 'string':
      if (typeof atom === 'string') return atom;
      break;
    case 'boolean':
      if (typeof atom === 'boolean') return atom;
      break;
    case 'integer':
      if (Number.isSafeInteger(atom)) return atom as number;
      break;
    case 'real':
      if (Number.isFinite(atom)) return atom as number;
  }
  throw new InvalidValue(`${where} takes ${type}, not ${atom instanceof Object ? typeof atom : JSON.stringify(atom)}`);
}

/**
 * The new value after a `modify` of update2/update3: sets and maps of more than one element come as differences, all
 * else whole (ovsdb-server(7), "Update2 Notification").
 */
export function applyDiff(type: ColumnType, old: unknown, diff: unknown): unknown {
  if (type.max <= 1) return diff;
  if (type.value === undefined) return symmetricDifference(old as Decoded[], diff as Decoded[]);
  const result = new Map(old as Map<Decoded, Decoded>);
  for (const [key, value] of diff as Map<Decoded, Decoded>) {
    if (result.get(key) === value) result.delete(key);
    else result.set(key, value);
  }
  return result;
}

function symmetricDifference(old: readonly Decoded[], diff: readonly Decoded[]): Decoded[] {
  const toggled = new Set(diff);
  const result = old.filter((atom) => !toggled.delete(atom));
  result.push(...toggled);
  return result;
}

/** Whether two decoded values of a column are the same, sets and maps in any order. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    const atoms = new Set(a);
    return a.length === b.length && b.every((atom) => atoms.has(atom));
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...b].every(([key, value]) => a.get(key) === value);
  }
  return a === b;
}
