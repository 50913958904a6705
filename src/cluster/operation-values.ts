// Values of operations as another host sends them (RFC 7047 §5.1 and §5.2), read without trust: whatever is not as it should be
// reads as nothing.

export type Json = Readonly<Record<string, unknown>>;

/** What a change does to one column: `mutator` is undefined where it replaces it. */
export interface Change {
  readonly column: string;
  readonly mutator: unknown;
  readonly value: unknown;
}

export function changesOf(operation: Json): Change[] {
  if (operation['op'] === 'update') {
    const row = asObject(operation['row']);
    return Object.entries(row).map(([column, value]) => ({ column, mutator: undefined, value }));
  }
  return asList(operation['mutations'])
    .map(asList)
    .map(([column, mutator, value]) => ({ column: String(column), mutator, value }));
}

/** "insert" or "delete" of the own uuid. */
export function isOfOwn({ mutator, value }: Change, own: string): boolean {
  return (mutator === 'insert' || mutator === 'delete') && holdsOnly(value, own);
}

/** "insert" or "delete" of what a map has under this key. */
export function isOfOwnKey({ mutator, value }: Change, key: string): boolean {
  const [tag, elements] = asList(value);
  if (mutator === 'delete' && tag === 'set') return asList(elements).every((element) => element === key);
  return mutator === 'insert' && tag === 'map' && asList(elements).every((pair) => asList(pair)[0] === key);
}

/** "insert" of what the same transaction makes. */
export function isNewPart({ mutator, value }: Change): boolean {
  return mutator === 'insert' && existingRefs(value).length === 0;
}

export function isEmptySet(value: unknown): boolean {
  const [tag, elements] = asList(value);
  return tag === 'set' && asList(elements).length === 0;
}

/** A set of at most this one reference, in either spelling of one element (RFC 7047 §5.1). */
export function holdsOnly(value: unknown, uuid: string): boolean {
  if (value === undefined || isRef(value, uuid)) return true;
  const [tag, elements] = asList(value);
  return tag === 'set' && asList(elements).every((element) => isRef(element, uuid));
}

export function isRef(value: unknown, uuid: string): boolean {
  return uuidOf(value) === uuid;
}

/** The rows that are there already among the references of a value, in either spelling. */
export function existingRefs(value: unknown): string[] {
  const [tag, elements] = asList(value);
  return (tag === 'set' ? asList(elements) : [value]).flatMap((element) => uuidOf(element) ?? []);
}

export function uuidOf(value: unknown): string | undefined {
  const [tag, uuid] = asList(value);
  return tag === 'uuid' && typeof uuid === 'string' ? uuid : undefined;
}

export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

export function read<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
