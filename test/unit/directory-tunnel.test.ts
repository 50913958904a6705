// Sites and tunnels in the directory: what a host says of its tunnel, and how it reaches another.
import { parseAddressPort } from '../../src/base/address-port';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { conditionsOf, NO_NEEDS } from '../../src/directory/conditions';
import { planOwnHost } from '../../src/directory/own-host';
import { mayShareL2, reachOf, withoutL2 } from '../../src/directory/reach';
import type { DirectoryChange, HostRow } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { planTunnel, type OwnTunnel } from '../../src/directory/tunnel-operations';
import { update, isRow } from '../../src/ovsdb/operations';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const keyOf = (letter: string) => `${letter.repeat(42)}A=`;
const tunnel = (letter: string, rest: Partial<OwnTunnel> = {}): OwnTunnel => ({
  ...{ key: keyOf(letter), port: 7471, endpoint: undefined, noL2: false },
  ...rest,
});

let first: MemoryDirectory;
let second: MemoryDirectory;

beforeEach(() => {
  const database = createMemoryDatabase();
  first = createMemoryDirectory({ host: 'h1', database, address: parseIpv4('192.0.2.1') });
  second = createMemoryDirectory({ host: 'h2', database, address: parseIpv4('192.0.2.2') });
});

function run(store: MemoryDirectory, make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

describe('the tunnel of a host', () => {
  test('comes, changes and is told of; what is the same is not written again', async () => {
    const seen: string[] = [];
    first.onChange((changes: readonly DirectoryChange[]) => {
      for (const { table, kind } of changes) seen.push(`${kind} ${table}`);
    });
    const endpoint = parseAddressPort('203.0.113.9:7471');
    await run(second, (c) => planTunnel(c, tunnel('a', { endpoint })));
    expect(first.view.tunnel('h2')).toMatchObject({ host: 'h2', key: keyOf('a'), port: 7471, endpoint, noL2: false });
    await run(second, (c) => planTunnel(c, tunnel('a', { endpoint: parseAddressPort('203.0.113.9:7471') })));
    await run(second, (c) => planTunnel(c, tunnel('b', { port: 5000, noL2: 'said' })));
    expect(first.view.tunnel('h2')).toMatchObject({ key: keyOf('b'), port: 5000, endpoint: undefined, noL2: 'said' });
    expect([...first.view.tunnels()].map(({ host }) => host)).toEqual(['h2']);
    expect(seen).toEqual(['insert Tunnel', 'modify Tunnel']);
  });

  test('which hubs it does not hear stays told until it says otherwise; a hub that is removed is none', async () => {
    await run(second, (c) => planTunnel(c, tunnel('a', { unheard: ['h1', 'nobody'] })));
    expect(first.view.tunnel('h2')!.unheard).toEqual(['h1']);
    await run(second, (c) => planTunnel(c, tunnel('a', { port: 5000 })));
    expect(first.view.tunnel('h2')).toMatchObject({ port: 5000, unheard: ['h1'] });
    await run(second, (c) => planTunnel(c, tunnel('a', { port: 5000, unheard: [] })));
    expect(first.view.tunnel('h2')!.unheard).toEqual([]);
  });

  test('shares no L2 from the very moment on at which the host’s address is of another network', async () => {
    await run(second, (c) => planTunnel(c, tunnel('a')));
    await run(first, (c) => planTunnel(c, tunnel('b')));
    const reaches: unknown[] = [];
    first.onChange(() => reaches.push(reachOf(first.view, 'h1', first.view.host('h2')!)));
    const [locatorRange, address] = [parseCidr('100.64.0.0/10'), parseIpv4('10.0.0.9')];
    expect(reachOf(first.view, 'h1', first.view.host('h2')!)).toBe('fabric');
    await run(second, (c) => planOwnHost(c, { locatorRange, address, isElsewhere: true }, () => 0));
    expect([first.view.host('h2')!.address, reaches]).toEqual([address, ['tunnel']]);
  });

  test('the key of another host is refused, by name', async () => {
    await run(first, (c) => planTunnel(c, tunnel('a')));
    await expect(run(second, (c) => planTunnel(c, tunnel('a')))).rejects.toThrow(
      'the tunnel of host h2 has the key of host h1: is this server a copy of that one? ' +
        'Make this host a new key with `daolictl cluster rotate-keys`',
    );
    await run(second, (c) => planTunnel(c, tunnel('b')));
    await expect(run(second, (c) => planTunnel(c, tunnel('a')))).rejects.toMatchObject({ code: 'conflict' });
  });

  test('and by the database, where both write it at once', () => {
    const row = { key: keyOf('a'), port: 7471, no_l2: false };
    const insertFor = (host: string) =>
      first.database.transact([
        { op: 'insert', table: 'Tunnel', row: { ...row, host: first.view.host(host)!.uuid } } as never,
      ]);
    insertFor('h1');
    expect(() => insertFor('h2')).toThrow('constraint violation');
  });

  test.each(['', 'a'.repeat(44), `${'a'.repeat(42)}B=`, `${'!'.repeat(42)}A=`])('"%s" is no key', async (key) => {
    await expect(run(first, (c) => planTunnel(c, { ...tunnel('a'), key }))).rejects.toMatchObject({ code: 'invalid' });
  });

  test('what a hand has written, and what is no key, is nobody’s', () => {
    const row = { host: first.view.host('h1')!.uuid, port: 7471, no_l2: false, key: 'x'.repeat(44) };
    expect(() => first.database.transact([{ op: 'insert', table: 'Tunnel', row } as never])).toThrow('is left out');
    expect(first.view.tunnel('h1')).toBeUndefined();
  });
});

describe('how a host reaches another', () => {
  const other = () => first.view.host('h2') as HostRow;
  const change = (host: string, row: object) => {
    const { uuid } = first.view.host(host) as HostRow;
    first.database.transact([update('Host', isRow(uuid), row)]);
  };
  /** It is the same from both ends. */
  const reach = () => {
    const there = reachOf(second.view, 'h2', second.view.host('h1') as HostRow);
    expect(reachOf(first.view, 'h1', other())).toBe(there);
    return there;
  };

  test('over the fabric in one site, also where both have a tunnel', async () => {
    expect(reach()).toBe('fabric');
    await run(first, (c) => planTunnel(c, tunnel('a')));
    await run(second, (c) => planTunnel(c, tunnel('b')));
    expect(reach()).toBe('fabric');
  });

  test.each<[string, () => unknown]>([
    ['the sites are two', () => change('h2', { site: 'home' })],
    ['one encrypts', () => change('h1', { encrypt: true })],
    ['the other encrypts', () => change('h2', { encrypt: true })],
    ['one has no address', () => change('h2', { address: undefined })],
  ])('never in the clear where %s: by the tunnels, once both are there', async (_, make) => {
    make();
    expect(reach()).toBeUndefined();
    await run(first, (c) => planTunnel(c, tunnel('a')));
    expect(reach()).toBeUndefined();
    await run(second, (c) => planTunnel(c, tunnel('b')));
    expect(reach()).toBe('tunnel');
  });

  test('by the tunnels where one shares no L2', async () => {
    await run(first, (c) => planTunnel(c, tunnel('a', { noL2: 'said' })));
    expect(reach()).toBeUndefined();
    await run(second, (c) => planTunnel(c, tunnel('b')));
    expect(reach()).toBe('tunnel');
  });

  test('by the tunnels where one has found out that it shares none; both keep the port onto it, unless that was said', async () => {
    await run(first, (c) => planTunnel(c, tunnel('a', { noL2: 'detected' })));
    await run(second, (c) => planTunnel(c, tunnel('b')));
    const { view } = first;
    expect(view.tunnel('h1')?.noL2).toBe('detected');
    expect(reach()).toBe('tunnel');
    expect(mayShareL2(view, 'h1', other())).toBe(true);
    expect(withoutL2(view, 'h1', other())).toEqual(['h1 (detected)']);
    await run(second, (c) => planTunnel(c, tunnel('b', { noL2: 'said' })));
    expect(withoutL2(view, 'h1', other())).toEqual(['h1 (detected)', 'h2']);
    expect(mayShareL2(view, 'h1', other())).toBe(false);
  });

  test.each([{ site: 'home' }, { encrypt: true }, { address: undefined }])(
    'no L2 is shared where %j',
    async (facts) => {
      expect(mayShareL2(first.view, 'h1', other())).toBe(true);
      change('h2', facts);
      expect(mayShareL2(first.view, 'h1', other())).toBe(false);
    },
  );

  test('two hosts of another site that is one reach each other over it', () => {
    change('h1', { site: 'home' });
    change('h2', { site: 'home' });
    expect(reach()).toBe('fabric');
    expect(other()).toMatchObject({ site: 'home', isHub: false, encrypts: false });
  });

  test('not itself, nor before its row is there', () => {
    expect(reachOf(first.view, 'h1', first.view.host('h1') as HostRow)).toBeUndefined();
    expect(reachOf(first.view, 'h9', other())).toBeUndefined();
  });
});

test('every host follows all hosts and all tunnels', () => {
  expect(Object.keys(conditionsOf(NO_NEEDS))).toEqual(['NetworkReplica', 'Address', 'PublishedPort', 'Endpoint']);
});

test.each([
  ['192.0.2.1:7471', undefined, '192.0.2.1:7471'],
  ['192.0.2.1', 7471, '192.0.2.1:7471'],
  ['192.0.2.1:1', 7471, '192.0.2.1:1'],
  ['192.0.2.1', undefined, undefined],
  ['192.0.2.1:0', 7471, undefined],
  ['192.0.2.1:65536', 7471, undefined],
  ['192.0.2.1:', 7471, undefined],
  ['192.0.2:1', 7471, undefined],
  ['[2001:db8::1]:1', 7471, undefined],
])('"%s" with the default port %s', (text, port, expected) => {
  const parse = () => {
    const value = parseAddressPort(text, port);
    return `${value.address === parseIpv4('192.0.2.1') ? '192.0.2.1' : '?'}:${value.port}`;
  };
  if (expected === undefined) expect(parse).toThrow('"');
  else expect(parse()).toBe(expected);
});
