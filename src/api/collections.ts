// The lists of the API that can be watched: their items by keys that stay the same, and which fields change by themselves with
// time. What was seen of them is compared here with what is there now; the loop is in operations/watch.ts.

/** A list that an operation answers, and how its items are told apart. */
export interface Collection {
  /** The operation, which takes nothing. */
  readonly operation: string;
  /** Its list, where the answer is more than that. */
  readonly list?: string;
  /** The fields that together are an item's own. */
  readonly key: readonly string[];
  /** Whether the order of the list means something: then each item has its `place`. */
  readonly isOrdered?: boolean;
  /** Fields that grow with time: who watches counts on by itself. */
  readonly clocks?: readonly string[];
  /** Whether it comes from the datapath, and not from the directory, which says when it has changed. */
  readonly isLive?: boolean;
}

/** By name. One whose operation the agent has not got is left out. */
export const COLLECTIONS: Readonly<Record<string, Collection>> = {
  hosts: { operation: 'getCluster', list: 'hosts', key: ['name'] },
  networks: { operation: 'listNetworks', key: ['id'] },
  endpoints: { operation: 'listEndpoints', key: ['id'] },
  ports: { operation: 'listPorts', key: ['endpoint', 'protocol', 'hostIp', 'hostPort'] },
  groups: { operation: 'listGroups', key: ['name'] },
  defaults: { operation: 'listDefaults', key: ['network'] },
  policies: { operation: 'listPolicies', key: ['name'], isOrdered: true },
  pairs: { operation: 'listPairs', key: ['a', 'b'] },
  firewall: { operation: 'listFirewallRules', key: ['name'] },
  routes: {
    operation: 'listRoutes',
    key: ['kind', 'source', 'destination', 'conversation'],
    clocks: ['ageSeconds', 'idleSeconds'],
    isLive: true,
  },
  denials: {
    operation: 'listDrops',
    list: 'denials',
    key: ['from', 'to', 'protocol'],
    clocks: ['secondsAgo'],
    isLive: true,
  },
};

export type Item = Readonly<Record<string, unknown>>;

/** What was seen of a collection: by key, each item and its text without clocks. */
export type Seen = ReadonlyMap<string, { readonly item: Item; readonly text: string }>;

/** What has become of it since. */
export interface Difference {
  /** New, or changed. */
  readonly set: Readonly<Record<string, Item>>;
  readonly gone: string[];
}

export function seen({ key, clocks = [], isOrdered = false }: Collection, items: readonly Item[]): Seen {
  const stopped = Object.fromEntries(clocks.map((clock) => [clock, undefined]));
  return new Map(
    items.map((listed, place) => {
      const item = isOrdered ? { ...listed, place } : listed;
      return [keyOf(key, item), { item, text: JSON.stringify({ ...item, ...stopped }) }] as const;
    }),
  );
}

/** Undefined where nothing has changed; all of `now` where nothing was seen before. */
export function difference(before: Seen | undefined, now: Seen): Difference | undefined {
  const changed = [...now].filter(([key, { text }]) => before?.get(key)?.text !== text);
  const gone = before === undefined ? [] : [...before.keys()].filter((key) => !now.has(key));
  if (changed.length === 0 && gone.length === 0) return undefined;
  return { set: Object.fromEntries(changed.map(([key, { item }]) => [key, item])), gone };
}

function keyOf(fields: readonly string[], item: Item): string {
  const values = fields.map((field) => item[field] ?? '');
  return values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ');
}
