// Hosts of several sites and behind NAT: who comes in as what, who becomes a server, and by which address servers are dialled.
import type { AddressPort } from '../../src/base/address-port';
import { parseAddressPort } from '../../src/base/address-port';
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { planSettings } from '../../src/cluster/host-settings';
import { planFirst, planJoin, planPromotion, planToken, type Newcomer } from '../../src/cluster/membership';
import { knownServers, remotesOf } from '../../src/cluster/server-role';
import { endpointOf, seenFrom } from '../../src/cluster/sites';
import { doorsOf, newSecret } from '../../src/cluster/token';
import { wayOf } from '../../src/directory/reach';
import type { HostRow } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { planTunnel } from '../../src/directory/tunnel-operations';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const RANGE = parseCidr('100.64.0.0/10');
let database: ReturnType<typeof createMemoryDatabase>;
let server: MemoryDirectory;

beforeEach(async () => {
  database = createMemoryDatabase();
  server = createMemoryDirectory({ host: 'h1', database, wallClock: () => 1_000 });
  const first = { address: parseIpv4('192.0.2.1'), fingerprint: 'a'.repeat(64), site: 'dc' };
  await run((c) => planFirst(c, first));
});

function run(make: (context: PlanContext) => Ops, store = server): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

/** `endpoint`: "nat", or where it is reached; by default at its address. */
async function join(
  name: string,
  changes: Omit<Partial<Newcomer>, 'endpoint'> & { endpoint?: string } = {},
): Promise<void> {
  const { endpoint = `192.0.2.${name.slice(1)}:7471`, ...rest } = changes;
  const secret = newSecret();
  await run((c) => planToken(c, secret));
  const number = name.slice(1);
  const newcomer: Newcomer = {
    name,
    address: parseIpv4(`192.0.2.${number}`),
    routerMac: parseMac(`02:00:00:00:00:0${number}`),
    datapathId: `000002000000000${number}`,
    site: 'dc',
    isHub: false,
    digest: 'd'.repeat(64),
    encrypts: undefined,
    endpoint: endpoint === 'nat' ? undefined : parseAddressPort(endpoint),
    secret,
    now: 1_000,
    ...rest,
  };
  await run((c) => planJoin(c, newcomer, name.padEnd(64, 'f'), RANGE));
}

/** The host tells of its tunnel, as it does once it is up. */
function tell(name: string, endpoint: AddressPort | undefined): Promise<void> {
  const key = `${name.repeat(21)}A=`;
  const own = createMemoryDirectory({ host: name, database });
  return run((c) => planTunnel(c, { key, port: 7471, endpoint, noL2: false }), own);
}

const hostRow = (name: string) => server.view.host(name) as HostRow;
const servers = () => [...server.view.hosts()].flatMap(({ name, isServer }) => (isServer ? [name] : [])).sort();

describe('who comes in', () => {
  test('has the site, the part and the wishes that it says', async () => {
    await join('h2', { site: 'cloud', isHub: true, encrypts: true });
    expect(hostRow('h2')).toMatchObject({ site: 'cloud', isHub: true, encrypts: true });
    expect(hostRow('h1')).toMatchObject({ site: 'dc', isHub: false, encrypts: false });
  });

  test('encrypts as the server does that lets it in, unless it says otherwise', async () => {
    await run((c) => planSettings(c, 'h1', { encrypts: true }));
    await join('h2');
    await join('h3', { encrypts: false });
    expect([hostRow('h2').encrypts, hostRow('h3').encrypts]).toEqual([true, false]);
  });

  test('may have an address that another site has, too', async () => {
    await join('h2', { site: 'home', address: parseIpv4('192.0.2.1') });
    const same = join('h3', { site: 'home', address: parseIpv4('192.0.2.1') });
    await expect(same).rejects.toThrow('192.0.2.1 is the address of host h2: join with --address, or with --site');
    await expect(run((c) => planSettings(c, 'h2', { site: 'dc' }))).rejects.toThrow(
      '192.0.2.1 is the address of host h1',
    );
  });

  test('is no hub behind NAT', async () => {
    await expect(join('h2', { isHub: true, endpoint: 'nat' })).rejects.toThrow(
      'host h2 is behind NAT, so it cannot be a hub: where others reach it nevertheless, say so with --endpoint ADDRESS[:PORT]',
    );
  });
});

describe('where a newcomer is reached from other sites', () => {
  const at = (address: string) => ({ address: parseIpv4(address), local: parseIpv4(address), site: 'home' });
  const inDc = (endpoint: string) => ({
    ...{ address: parseIpv4('10.0.0.1'), site: 'dc' },
    tunnel: { endpoint: parseAddressPort(endpoint), l2: 'auto' as const },
  });

  test('at its address, where that is seen', () => {
    const seen = endpointOf(at('192.0.2.2'), parseIpv4('192.0.2.2'), inDc('10.0.0.1:7471'));
    expect(seen).toEqual(parseAddressPort('192.0.2.2:7471'));
  });
  test('nowhere, where it comes from another: behind NAT', () => {
    expect(endpointOf(at('192.168.1.10'), parseIpv4('203.0.113.7'), inDc('10.0.0.1:7471'))).toBeUndefined();
  });
  test('at the address that it has chosen among its own', () => {
    const newcomer = { ...at('192.0.2.2'), local: parseIpv4('10.0.0.2') };
    expect(endpointOf(newcomer, parseIpv4('10.0.0.2'), inDc('10.0.0.1:7471'))).toEqual(
      parseAddressPort('192.0.2.2:7471'),
    );
  });
  test('nowhere, where the server of its site is behind NAT, too, with a port that is let through', () => {
    const newcomer = { ...at('10.0.0.2'), site: 'dc' };
    expect(endpointOf(newcomer, parseIpv4('10.0.0.2'), inDc('203.0.113.7:7471'))).toBeUndefined();
    expect(endpointOf(at('10.0.0.2'), parseIpv4('10.0.0.2'), inDc('203.0.113.7:7471'))).toBeDefined();
  });
});

describe('who becomes a server by itself', () => {
  test('the third that others reach makes three, at whatever site; hosts behind NAT do not count', async () => {
    await join('h2', { endpoint: 'nat', site: 'home' });
    await tell('h2', undefined);
    await join('h3', { site: 'cloud' });
    await tell('h3', parseAddressPort('192.0.2.3:7471'));
    expect(servers()).toEqual(['h1']);
    await join('h4', { endpoint: 'nat', site: 'home' });
    expect(servers()).toEqual(['h1']);
    await join('h5', { site: 'cloud' });
    expect(servers()).toEqual(['h1', 'h3', 'h5']);
  });

  test('a place that is free is not for one behind NAT', async () => {
    await join('h2');
    await join('h3', { endpoint: 'nat', site: 'home' });
    expect(servers()).toEqual(['h1']);
    await join('h4');
    expect(servers()).toEqual(['h1', 'h2', 'h4']);
  });

  test('nor is one promoted', async () => {
    await join('h2', { endpoint: 'nat', site: 'home' });
    const promoted = () => run((c) => planPromotion(c, 'h2'));
    await expect(promoted()).rejects.toThrow('host h2 has not told yet how other sites reach it');
    await tell('h2', undefined);
    await expect(promoted()).rejects.toThrow('host h2 is behind NAT: the other servers could not reach it');
    await tell('h2', parseAddressPort('203.0.113.7:7471'));
    await promoted();
    expect(servers()).toEqual(['h1', 'h2']);
  });
});

describe('what is decided of a host later', () => {
  test('its site, and what it does', async () => {
    await join('h2');
    await run((c) => planSettings(c, 'h2', { site: 'default', encrypts: true }));
    expect(hostRow('h2')).toMatchObject({ site: 'default', encrypts: true, isHub: false });
    await run((c) => planSettings(c, 'h2', { encrypts: false }));
    expect(hostRow('h2')).toMatchObject({ site: 'default', encrypts: false });
    await expect(run((c) => planSettings(c, 'h2', {}))).rejects.toThrow('nothing is said of it');
    await expect(run((c) => planSettings(c, 'h9', { site: 'x' }))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('a hub is one that others reach', async () => {
    await join('h2');
    await expect(run((c) => planSettings(c, 'h2', { isHub: true }))).rejects.toThrow('so it is no hub');
    await tell('h2', parseAddressPort('192.0.2.2:7471'));
    await run((c) => planSettings(c, 'h2', { isHub: true }));
    expect(hostRow('h2').isHub).toBe(true);
  });
});

test('the way from one host to another, as the directory says it', async () => {
  await join('h2');
  await join('h3', { site: 'cloud', isHub: true });
  await join('h4', { site: 'home', endpoint: 'nat' });
  await join('h5', { site: 'hut', endpoint: 'nat' });
  const way = (own: string, other: string) => wayOf(server.view, own, hostRow(other));
  expect(way('h1', 'h2')).toEqual({ kind: 'fabric', hubs: [] });
  expect(way('h1', 'h3')).toBeUndefined();
  for (const name of ['h1', 'h3']) await tell(name, parseAddressPort(`192.0.2.${name.slice(1)}:7471`));
  await tell('h4', undefined);
  expect(way('h4', 'h5')).toBeUndefined();
  await tell('h5', undefined);
  expect(way('h1', 'h3')).toEqual({ kind: 'tunnel', hubs: [] });
  expect(way('h4', 'h1')).toEqual({ kind: 'tunnel', hubs: [] });
  expect(way('h4', 'h5')).toEqual({ kind: 'hub', hubs: ['h3'] });
  expect(way('h5', 'h4')).toEqual({ kind: 'hub', hubs: ['h3'] });
  await run((c) => planSettings(c, 'h3', { isHub: false }));
  expect(way('h4', 'h5')).toBeUndefined();
});

describe('servers seen from another site', () => {
  test('are dialled where they are reached from there', async () => {
    await tell('h1', parseAddressPort('203.0.113.1:9000'));
    const known = knownServers(server.view);
    expect(known).toMatchObject([{ address: parseIpv4('192.0.2.1'), site: 'dc', outside: parseIpv4('203.0.113.1') }]);
    expect(seenFrom('dc', known)[0]?.address).toBe(parseIpv4('192.0.2.1'));
    expect(seenFrom('home', known)[0]?.address).toBe(parseIpv4('203.0.113.1'));
    const facts = { servers: known, datapathId: '0'.repeat(16), authority: { certificate: '', key: undefined } };
    expect(remotesOf({ ...facts, site: 'home' } as never)).toEqual(['ssl:203.0.113.1:7470']);
    expect(remotesOf({ ...facts, site: 'dc' } as never)).toEqual(['ssl:192.0.2.1:7470']);
  });

  test('at their own address, where that is the endpoint’s, or none is known', async () => {
    expect(seenFrom('home', knownServers(server.view))[0]?.address).toBe(parseIpv4('192.0.2.1'));
    await tell('h1', parseAddressPort('192.0.2.1:7471'));
    expect(Object.keys(knownServers(server.view)[0]!)).toEqual(['address', 'datapathId', 'certificates', 'site']);
  });

  test('a token names both addresses, the likelier one first', () => {
    const token = { server: '192.0.2.1', site: 'dc', certificate: '', secret: '' };
    expect(doorsOf(token, 'home')).toEqual(['192.0.2.1']);
    expect(doorsOf({ ...token, outside: '203.0.113.1' }, 'home')).toEqual(['203.0.113.1', '192.0.2.1']);
    expect(doorsOf({ ...token, outside: '203.0.113.1' }, 'dc')).toEqual(['192.0.2.1', '203.0.113.1']);
  });
});
