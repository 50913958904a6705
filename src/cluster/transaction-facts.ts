// What operations of one transaction say of one another, worked out once for all of them. See inspection.ts.

import { parseCidr, type Cidr } from '../base/addresses';
import { asList, asObject, changesOf, isRef, read, uuidOf } from './operation-values';

export interface TransactionFacts {
  /** The locator blocks that it makes, each by its uuid-name where it has one. */
  readonly newBlocks: readonly NewBlock[];
  /** The uuid-names of those that this host enters as its own. */
  readonly entered: ReadonlySet<unknown>;
  /** The pools of the addresses that it makes, by their uuid-name. */
  readonly newAddresses: ReadonlyMap<string, string | undefined>;
  /** The rows of Switch, by uuid, that it holds to be of a generation. */
  readonly generations: ReadonlyMap<string, number>;
}

export interface NewBlock {
  readonly name: unknown;
  readonly block: Cidr;
}

/** `own` is the uuid of the Host row of who sends it. */
export function factsOf(operations: readonly unknown[], own: string): TransactionFacts {
  return {
    newBlocks: newBlocks(operations),
    entered: enteredBlocks(operations, own),
    newAddresses: newAddresses(operations),
    generations: generations(operations),
  };
}

/** The uuid-names that the host's own row gets as locator blocks. */
function enteredBlocks(operations: readonly unknown[], own: string): Set<unknown> {
  const names = new Set<unknown>();
  for (const operation of operations.map(asObject)) {
    const [condition] = asList(operation['where']).map(asList);
    if (operation['op'] !== 'mutate' || operation['table'] !== 'Host' || !isRef(condition?.[2], own)) continue;
    for (const { column, mutator, value } of changesOf(operation)) {
      if (column !== 'locator_blocks' || mutator !== 'insert') continue;
      const [tag, elements] = asList(value);
      for (const element of tag === 'set' ? asList(elements) : [value]) {
        const [kind, name] = asList(element);
        if (kind === 'named-uuid') names.add(name);
      }
    }
  }
  return names;
}

function newBlocks(operations: readonly unknown[]): NewBlock[] {
  return operations.flatMap((operation) => {
    const { op, table, row, 'uuid-name': name } = asObject(operation);
    if (op !== 'insert' || table !== 'LocatorBlock') return [];
    const block = read(() => parseCidr(String(asObject(row)['cidr'])));
    return block === undefined ? [] : [{ name, block }];
  });
}

function newAddresses(operations: readonly unknown[]): Map<string, string | undefined> {
  const made = new Map<string, string | undefined>();
  for (const { op, table, row, 'uuid-name': name } of operations.map(asObject)) {
    if (op !== 'insert' || typeof name !== 'string') continue;
    // The same name twice is refused by the database.
    made.set(name, table === 'Address' ? uuidOf(asObject(row)['pool']) : undefined);
  }
  return made;
}

/** What "wait" says of rows of Switch: that they are of a generation when the transaction is carried out. */
function generations(operations: readonly unknown[]): Map<string, number> {
  const held = new Map<string, number>();
  for (const { op, table, where, until, columns, rows } of operations.map(asObject)) {
    const [[column, sign, ref], more] = [asList(asList(where)[0]), asList(where)[1]];
    const [row, other] = asList(rows).map(asObject);
    const uuid = uuidOf(ref);
    const isOfRow = column === '_uuid' && sign === '==' && more === undefined && uuid !== undefined;
    const [first, second] = asList(columns);
    const isOfGeneration = first === 'generation' && second === undefined && other === undefined;
    if (op !== 'wait' || table !== 'Switch' || until !== '==' || !isOfRow || !isOfGeneration) continue;
    if (typeof row?.['generation'] === 'number') held.set(uuid, row['generation']);
  }
  return held;
}
