// Who comes in by the desk of a server, and who does not: with a token that is used, over, or needs a yes; refused; put out.
import { parseIpv4, parseMac } from '../../src/base/addresses';
import { parseCidr } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { APPROVAL_MS, planVerdict, waitingHosts } from '../../src/cluster/approval';
import { Desk } from '../../src/cluster/desk';
import type { DirectoryServer } from '../../src/cluster/directory-server';
import type { ClusterFacts } from '../../src/cluster/files';
import { planFirst, planRemoval, planToken, TOKEN_LIFE_MS } from '../../src/cluster/membership';
import type { JoinRequest } from '../../src/cluster/newcomers';
import { newSecret } from '../../src/cluster/token';
import type { Ops, PlanContext } from '../../src/directory/store';
import { createAuthority, createRequest, fingerprintOf, type Identity } from '../../src/pki/authority';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const LOCATORS = parseCidr('100.64.0.0/10');
const SEEN = parseIpv4('203.0.113.7');
let now: number;
let authority: Identity;
let store: MemoryDirectory;
let desk: Desk;
let secret: string;
const said: string[] = [];

beforeAll(async () => {
  authority = await createAuthority(Date.now());
});

beforeEach(async () => {
  now = Date.now();
  said.length = 0;
  store = createMemoryDirectory({ host: 'h1', database: createMemoryDatabase(), wallClock: () => now });
  const address = parseIpv4('192.0.2.1');
  await run((c) => planFirst(c, { address, fingerprint: 'a'.repeat(64) }));
  const facts: ClusterFacts = {
    address,
    site: 'default',
    tunnel: { endpoint: { address, port: 7471 }, l2: 'auto' },
    datapathId: '0'.repeat(16),
    locatorRange: LOCATORS,
    clusterId: 'id',
    servers: [],
    authority,
    identity: authority,
  };
  desk = new Desk({
    store,
    server: { clusterId: () => Promise.resolve('id') } as unknown as DirectoryServer,
    facts: () => facts,
    locatorRange: LOCATORS,
    logger: { ...silentLogger, info: (message) => void said.push(message) },
    now: () => now,
  });
});

function run(make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

async function giveToken(needsApproval: boolean): Promise<void> {
  secret = newSecret();
  await run((c) => planToken(c, secret, needsApproval));
}

async function newcomer(name = 'h2', changes: Partial<JoinRequest> = {}): Promise<JoinRequest> {
  const number = name.slice(1);
  const address = parseIpv4(`192.168.1.${number}`);
  return {
    name,
    address,
    local: address,
    routerMac: parseMac(`02:00:00:00:00:0${number}`),
    datapathId: `000002000000000${number}`,
    site: 'home',
    isHub: false,
    encrypts: undefined,
    endpoint: undefined,
    secret,
    now,
    request: (await createRequest(name)).request,
    ...changes,
  };
}

const ask = (who: JoinRequest) => desk.letIn(who, SEEN, undefined);
const decide = (name: string, verdict: 'approved' | 'refused') => run((c) => planVerdict(c, name, verdict));
const hosts = () => [...store.view.hosts()].map(({ name }) => name).sort();
const waiting = () => waitingHosts({ view: store.view, nowMs: now }).map(({ name }) => name);
const certificateIn = (answer: object) => (answer as { certificate: string }).certificate;

/** A host that is let in by nobody’s yes has a row of its own nowhere. */
afterEach(() => {
  for (const table of ['Endpoint', 'Address', 'Network']) expect(store.database.table(table).size).toBe(0);
  expect(store.database.table('LocatorBlock').size).toBe(hosts().length);
});

describe('with a token that needs no yes', () => {
  test('a host is in at once, and told where it stands', async () => {
    await giveToken(false);
    const answer = await ask(await newcomer());
    expect(answer).toMatchObject({ site: 'home', endpoint: undefined, secrets: undefined });
    expect(store.view.host('h2')).toMatchObject({ site: 'home', certificates: [fingerprintOf(certificateIn(answer))] });
  });

  test('nobody comes in with one that is used, is over, or was never given', async () => {
    await giveToken(false);
    const first = await newcomer();
    await ask(first);
    await expect(ask(await newcomer('h3'))).rejects.toThrow('it was used, or another was made since');
    await expect(ask(first)).rejects.toThrow('it was used, or another was made since');
    await giveToken(false);
    await expect(ask(await newcomer('h3', { secret: newSecret() }))).rejects.toThrow(
      'the token is none of this cluster’s',
    );
    const late = await newcomer('h3');
    now += TOKEN_LIFE_MS;
    await expect(ask({ ...late, now })).rejects.toThrow('the token expired');
    expect(hosts()).toEqual(['h1', 'h2']);
  });
});

test.each(['127.0.0.1', '0.0.0.0', '239.1.1.1', '255.255.255.255', '100.64.0.1'])(
  'nobody comes in who says that it is at %s',
  async (text) => {
    await giveToken(false);
    const address = parseIpv4(text);
    const why = `no other host could reach this one at ${text}`;
    await expect(ask(await newcomer('h2', { address }))).rejects.toThrow(why);
    await expect(ask(await newcomer('h2', { endpoint: { address, port: 7471 } }))).rejects.toThrow(why);
    expect(hosts()).toEqual(['h1']);
  },
);

describe('with a token that needs a yes', () => {
  beforeEach(() => giveToken(true));

  test('a host waits, is told of once, and comes in when somebody has said yes', async () => {
    const who = await newcomer();
    expect(await ask(who)).toEqual({ isWaiting: true });
    expect(await ask(who)).toEqual({ isWaiting: true });
    expect([hosts(), waiting()]).toEqual([['h1'], ['h2']]);
    expect(said).toEqual(['a host waits to be let in: `daolictl host approve`, or `host refuse`']);
    await decide('h2', 'approved');
    expect(certificateIn(await ask(who))).toContain('BEGIN CERTIFICATE');
    expect([hosts(), waiting(), [...store.view.joinRequests()]]).toEqual([['h1', 'h2'], [], []]);
    await expect(ask(who)).rejects.toThrow('it was used, or another was made since');
  });

  test('nobody says anything: nothing of it is there but its request, and that is over after ten minutes', async () => {
    const who = await newcomer();
    await ask(who);
    now += APPROVAL_MS;
    expect([hosts(), waiting()]).toEqual([['h1'], []]);
    await expect(decide('h2', 'approved')).rejects.toThrow('no host h2 waits to be let in: nobody does');
    // Whoever asks then is asked about anew.
    expect(await ask({ ...(await newcomer('h3')), now })).toEqual({ isWaiting: true });
    expect([...store.view.joinRequests()].map(({ name }) => name)).toEqual(['h3']);
  });

  test('a yes that comes before the ten minutes are over, and is used after, is none', async () => {
    const who = await newcomer();
    await ask(who);
    await decide('h2', 'approved');
    now += APPROVAL_MS;
    expect(await ask({ ...who, now })).toEqual({ isWaiting: true });
    expect(hosts()).toEqual(['h1']);
  });

  test('a host that is refused does not come in, now or later', async () => {
    const who = await newcomer();
    await ask(who);
    await decide('h2', 'refused');
    await expect(ask(who)).rejects.toThrow('host h2 was refused by the people of the cluster');
    await expect(decide('h2', 'approved')).rejects.toThrow('no host h2 waits to be let in');
    expect([hosts(), waiting()]).toEqual([['h1'], []]);
  });

  test('a yes is taken back as long as it is not used', async () => {
    const who = await newcomer();
    await ask(who);
    await decide('h2', 'approved');
    await decide('h2', 'refused');
    await expect(ask(who)).rejects.toThrow('was refused');
    expect(hosts()).toEqual(['h1']);
  });

  test.each<[string, (who: JoinRequest) => JoinRequest | Promise<JoinRequest>]>([
    ['another key', async (who) => ({ ...who, request: (await createRequest('h2')).request })],
    ['another name', (who) => ({ ...who, name: 'h3' })],
    ['another site', (who) => ({ ...who, site: 'dc' })],
    ['another part', (who) => ({ ...who, isHub: true, endpoint: { address: SEEN, port: 7471 } })],
    ['another endpoint', (who) => ({ ...who, endpoint: { address: SEEN, port: 7471 } })],
    ['another address', (who) => ({ ...who, address: parseIpv4('192.168.1.99') })],
  ])('whoever has seen the token does not come in with the yes to another: with %s', async (_, change) => {
    const who = await newcomer();
    await ask(who);
    await decide('h2', 'approved');
    await expect(ask(await change(who))).rejects.toThrow('host h2 waits with this token already');
    expect(hosts()).toEqual(['h1']);
    await ask(who);
    expect(hosts()).toEqual(['h1', 'h2']);
  });

  test('two that come with it at the same moment: one waits', async () => {
    const results = await Promise.allSettled([ask(await newcomer()), ask(await newcomer('h3'))]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect([...store.view.joinRequests()]).toHaveLength(1);
  });

  test('the next token ends it', async () => {
    const who = await newcomer();
    await ask(who);
    await decide('h2', 'approved');
    await giveToken(true);
    expect([...store.view.joinRequests()]).toEqual([]);
    await expect(ask(who)).rejects.toThrow('another was made since');
  });

  test('one who could not come in anyway does not wait', async () => {
    await expect(ask(await newcomer('h2', { name: 'h1' }))).rejects.toThrow('a host h1 is in the cluster already');
    await expect(ask(await newcomer('h2', { isHub: true }))).rejects.toThrow('cannot be a hub');
    expect([...store.view.joinRequests()]).toEqual([]);
  });
});

test('a host that was put out gets no other certificate, nor what a server has', async () => {
  await giveToken(false);
  const { request } = await createRequest('h2');
  const fingerprint = fingerprintOf(certificateIn(await ask(await newcomer())));
  await run((c) => planRemoval(c, 'h2'));
  const gone = 'the certificate is no host’s of this cluster (any more)';
  await expect(desk.renew(fingerprint, request)).rejects.toThrow(gone);
  await expect(desk.settle(fingerprint)).rejects.toThrow(gone);
  await expect(desk.secrets(fingerprint)).rejects.toThrow(gone);
  expect(hosts()).toEqual(['h1']);
});
