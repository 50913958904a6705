// The database in memory against the real ovsdb-server: random transactions with the directory's schema, good and bad,
// give the same outcome and the same rows in both.
import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { OvsdbClient } from '../../src/ovsdb/client';
import { OvsdbError } from '../../src/ovsdb/errors';
import { named, type NamedUuid, type Operation, type Uuid } from '../../src/ovsdb/notation';
import { insert, isRow, mutate, remove, update, wait } from '../../src/ovsdb/operations';
import { MemoryDatabase } from '../fakes/memory-database';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

const TABLES = ['LocatorBlock', 'Host', 'Tenant', 'Network', 'Pool', 'Address', 'PublishedPort', 'Endpoint'] as const;
type Table = (typeof TABLES)[number];
type Ref = Uuid | NamedUuid;

let server: OvsdbServer;
let client: OvsdbClient;
let rowsOf: (table: string) => ReadonlyMap<Uuid, object>;

beforeAll(async () => {
  server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
  client = new OvsdbClient({ remotes: [server.remote], database: 'DaoliNet' });
  const tables = Object.fromEntries(TABLES.map((table) => [table, {}]));
  const monitor = client.monitor(tables, { onChanges: () => undefined, onSynced: () => undefined });
  rowsOf = (table) => monitor.rows(table);
  client.start();
  await client.whenReady();
});
afterAll(async () => {
  client.stop();
  await server.stop();
});

/** Three uuids for each table, so that collisions and dangling references are usual. */
function uuidOf(table: Table, n: number): Uuid {
  return `00000000-0000-4000-8000-0000000000${TABLES.indexOf(table)}${n}` as Uuid;
}

const small = fc.nat({ max: 2 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const few = <T>(arbitrary: fc.Arbitrary<T>) => fc.uniqueArray(arbitrary, { maxLength: 2 });
const mac = small.map((n) => `02:00:00:00:00:0${n}`);
/** Once in ten times the value that the schema forbids. */
const mostly = <T>(good: fc.Arbitrary<T>, bad: T) =>
  fc.oneof({ weight: 9, arbitrary: good }, { weight: 1, arbitrary: fc.constant(bad) });

interface Refs {
  readonly one: (table: Table) => fc.Arbitrary<Ref>;
  readonly several: (table: Table) => fc.Arbitrary<Ref[]>;
}
const byUuid: Refs = {
  one: (table) => small.map((n) => uuidOf(table, n)),
  several: (table) => few(small.map((n) => uuidOf(table, n))),
};
const byName: Refs = {
  one: (table) => fc.constant<Ref>(named(`n${table}`)),
  several: (table) => fc.constantFrom<Ref[][]>([named(`n${table}`)], []),
};

/** Rows of each table. */
function rowsWith({ one, several }: Refs): { readonly [T in Table]: fc.Arbitrary<object> } {
  return {
    LocatorBlock: fc.record({ cidr: small.map((n) => `100.64.${n}.0/24`) }),
    Host: fc.record({
      name: small.map((n) => `host${n}`),
      router_mac: mac,
      datapath_id: small.map((n) => `000000000000000${n}`),
      locator_blocks: several('LocatorBlock'),
    }),
    Tenant: fc.record({ name: small.map((n) => `t${n}`), number: mostly(fc.integer({ min: 1, max: 4 }), 0) }),
    Network: fc.record({
      id: small.map((n) => `network${n}`),
      key: fc.integer({ min: 1, max: 4 }),
      name: maybe(fc.constant('demo')),
      tenant: one('Tenant'),
      ipam: mostly(fc.constantFrom('daolinet', 'docker'), 'none'),
      mtu: mostly(fc.constantFrom(1500, 9000), 12),
      options: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2')),
    }),
    Pool: fc.record({
      id: small.map((n) => `t/10.${n}.0.0/16`),
      tenant: one('Tenant'),
      cidr: fc.constant('10.0.0.0/16'),
      network: maybe(one('Network')),
      holders: several('Host'),
    }),
    Address: fc.record({
      tenant: one('Tenant'),
      address: small.map((n) => `10.0.0.${n}`),
      pool: one('Pool'),
      use: mostly(fc.constantFrom('gateway', 'endpoint'), 'other'),
      mac: maybe(mac),
      holders: several('Host'),
    }),
    PublishedPort: fc.record({
      host: one('Host'),
      protocol: fc.constantFrom('tcp', 'udp'),
      host_ip: fc.constant('0.0.0.0'),
      host_port: mostly(fc.constantFrom(1, 2), 0),
      container_port: fc.constant(80),
    }),
    Endpoint: fc.record({
      id: small.map((n) => `endpoint${n}`),
      network: one('Network'),
      address: one('Address'),
      mac,
      host: one('Host'),
      locator: small.map((n) => `100.64.0.${n}`),
      port_no: mostly(fc.integer({ min: 1, max: 3 }), 0),
      aliases: few(fc.constantFrom('x', 'y', 'z')),
      published_ports: several('PublishedPort'),
    }),
  };
}
const ROWS = rowsWith(byUuid);
const NAMED_ROWS = rowsWith(byName);

const MUTABLE: Readonly<Partial<Record<Table, readonly string[]>>> = {
  Host: ['locator_blocks'],
  Tenant: ['revision'],
  Network: ['name', 'options'],
  Pool: ['network', 'holders'],
  Address: ['mac', 'holders'],
  Endpoint: ['host', 'locator', 'port_no', 'aliases', 'published_ports'],
};
const SETS = { Host: 'locator_blocks', Pool: 'holders', Address: 'holders', Endpoint: 'published_ports' } as const;
const REFERRED = { Host: 'LocatorBlock', Pool: 'Host', Address: 'Host', Endpoint: 'PublishedPort' } as const;

/** Some columns of a row: mostly mutable ones. */
function change(table: Table, row: object, onlyMutable: boolean): object {
  const columns = onlyMutable ? (MUTABLE[table] ?? []) : Object.keys(row).slice(0, 1);
  return Object.fromEntries(Object.entries(row).filter(([column]) => columns.includes(column)));
}

const anyTable = fc.constantFrom(...TABLES);
const inserted = anyTable.chain((table) =>
  fc
    .tuple(ROWS[table], small, fc.boolean())
    .map(([row, n, isNamed]): Operation[] => [
      insert(table, row, { uuid: uuidOf(table, n), ...(isNamed && { uuidName: `n${table}` }) }),
    ]),
);
const updated = anyTable.chain((table) =>
  fc
    .tuple(ROWS[table], small, fc.nat({ max: 9 }))
    .map(([row, n, luck]): Operation[] => [update(table, isRow(uuidOf(table, n)), change(table, row, luck > 0))]),
);
const mutated = fc
  .constantFrom(...(Object.keys(SETS) as Array<keyof typeof SETS>))
  .chain((table) =>
    fc
      .tuple(small, fc.constantFrom('insert' as const, 'delete' as const), byUuid.several(REFERRED[table]))
      .map(([n, mutator, refs]): Operation[] => [
        mutate(table, isRow(uuidOf(table, n)), [[SETS[table], mutator, refs]]),
      ]),
  );
const deleted = anyTable.chain((table) => small.map((n): Operation[] => [remove(table, isRow(uuidOf(table, n)))]));
const deletedByPool = small.map((n): Operation[] => [remove('Address', [['pool', '==', uuidOf('Pool', n)]])]);
const waited = fc.oneof(
  fc
    .tuple(small, small)
    .map(([n, revision]): Operation[] => [wait('Tenant', isRow(uuidOf('Tenant', n)), [{ revision }])]),
  fc
    .tuple(small, byUuid.several('Host'))
    .map(([n, holders]): Operation[] => [wait('Pool', isRow(uuidOf('Pool', n)), [{ holders }])]),
);

/** Tables in the order of their references, so that many transactions succeed. */
const chain = fc.tuple(...TABLES.map((table) => NAMED_ROWS[table]), small).map((parts): Operation[] => {
  const n = parts.at(-1) as number;
  return TABLES.map((table, index) =>
    insert(table, parts[index] as object, { uuid: uuidOf(table, n), uuidName: `n${table}` }),
  );
});
const step = fc.oneof(
  { weight: 6, arbitrary: inserted },
  { weight: 4, arbitrary: updated },
  { weight: 3, arbitrary: mutated },
  { weight: 3, arbitrary: deleted },
  { weight: 1, arbitrary: deletedByPool },
  { weight: 1, arbitrary: waited },
  { weight: 6, arbitrary: chain },
);
const transaction = fc.array(step, { minLength: 1, maxLength: 2 }).map((parts) => parts.flat());

/** An outcome in words: done, or the kind of error and whether it came at the commit. */
async function outcomeOf(operations: readonly Operation[], act: () => unknown): Promise<string> {
  try {
    await act();
    return 'done';
  } catch (error) {
    if (!(error instanceof OvsdbError)) throw error;
    return `${error.code} at ${error.operation?.index === operations.length ? 'the commit' : error.operation?.index}`;
  }
}

function comparable(rows: ReadonlyMap<string, object>): object {
  const sorted = (value: unknown): unknown => (Array.isArray(value) ? [...(value as string[])].sort() : value);
  const columnsOf = (row: object) => Object.entries(row).filter(([column]) => column !== '_uuid');
  return Object.fromEntries(
    [...rows].map(([uuid, row]) => [
      uuid,
      Object.fromEntries(columnsOf(row).map(([column, value]) => [column, sorted(value)])),
    ]),
  );
}

const seen = new Map<string, number>();

test('random transactions end alike and leave the same rows', async () => {
  const property = fc.asyncProperty(fc.array(transaction, { minLength: 1, maxLength: 12 }), async (transactions) => {
    const memory = new MemoryDatabase(JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as object);
    await client.transact([...TABLES].reverse().map((table) => remove(table, [])));
    for (const operations of transactions) {
      const real = await outcomeOf(operations, () => client.transact(operations));
      const fake = await outcomeOf(operations, () => memory.transact(operations));
      seen.set(real.replace(/\d+$/, 'an operation'), (seen.get(real.replace(/\d+$/, 'an operation')) ?? 0) + 1);
      expect(fake).toBe(real);
      for (const table of TABLES) expect(comparable(memory.table(table))).toEqual(comparable(rowsOf(table)));
    }
  });
  await fc.assert(property, { numRuns: 300 });
  // The generator is worth something only while all of this happens.
  for (const outcome of [
    'done',
    'constraint violation at the commit',
    'referential integrity violation at the commit',
  ]) {
    expect(seen.get(outcome)).toBeGreaterThan(20);
  }
}, 60_000);
