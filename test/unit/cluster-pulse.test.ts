// Agents that ask one another whether they are there, over the door of one of them on loopback.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Front } from '../../src/cluster/front';
import { planCertificates } from '../../src/cluster/membership';
import { PulseLinks } from '../../src/cluster/pulse-links';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const locatorRange = parseCidr('100.64.0.0/10');
let authority: Identity;
const identities = new Map<string, Identity>();

interface Side {
  readonly store: MemoryDirectory;
  readonly links: PulseLinks;
  readonly front: Front;
  readonly heard: string[];
  isServing: boolean;
}

let port: number;
let sides: Side[];
let first: Side;
let second: Side;

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  for (const name of ['h1', 'h2']) {
    const { request, key } = await createRequest(name);
    identities.set(name, { certificate: await issue(authority, request, name, Date.now()), key });
  }
});

beforeEach(async () => {
  const database = createMemoryDatabase();
  port = await freePort();
  sides = ['h1', 'h2'].map((host, index) => {
    const address = parseIpv4(`127.0.0.${index + 1}`);
    return createSide(createMemoryDirectory({ host, database, address }), port);
  });
  [first, second] = sides as [Side, Side];
  for (const { store } of sides) {
    const fingerprint = fingerprintOf(identities.get(store.host)!.certificate);
    await store.transact((c) => ({ ops: planCertificates(c, store.host, [fingerprint]), result: undefined }));
  }
});
afterEach(() => {
  for (const { links, front } of sides) {
    links.stop();
    front.stop();
  }
});

function createSide(store: MemoryDirectory, port: number): Side {
  const own = { authority: authority.certificate, identity: identities.get(store.host)!, locatorRange, port };
  const heard: string[] = [];
  const links: PulseLinks = new PulseLinks({
    ...own,
    store,
    clock: systemClock,
    isServing: () => side.isServing,
    onPulse: (host, state) => void heard.push(`${host} ${state}`),
  });
  const refuse = (socket: { destroy(): void }) => socket.destroy();
  const front = new Front({
    ...own,
    address: () => store.view.host(store.host)!.address!,
    store,
    socketPath: undefined,
    app: () => undefined,
    api: () => undefined,
    acceptMember: refuse,
    acceptWords: refuse,
    acceptOpenFlow: refuse,
    acceptPulse: (socket, { name }) => links.accept(socket, name),
    clock: systemClock,
    logger: silentLogger,
  });
  const side: Side = { store, links, front, heard, isServing: true };
  return side;
}

async function startAll(): Promise<void> {
  for (const { front } of sides) await front.start();
  first.links.setPeers(new Set(['h2']));
  second.links.setPeers(new Set(['h1']));
  for (const { links } of sides) links.start();
}

async function seen(side: Side, what: string): Promise<void> {
  for (let tries = 0; !side.heard.includes(what); tries += 1) {
    if (tries === 1_000) throw new Error(`${side.store.host} heard ${[...new Set(side.heard)].join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('both hear the other, whether it is in charge, and that it ends', async () => {
  await startAll();
  await Promise.all([seen(first, 'h2 serving'), seen(second, 'h1 serving')]);
  second.isServing = false;
  await seen(first, 'h2 idle');
  first.links.stop();
  await seen(second, 'h1 leaving');
});

test('one that was away is asked again when it is back', async () => {
  await startAll();
  await seen(first, 'h2 serving');
  // As an agent ends: what it said last gets out.
  second.links.stop();
  second.front.stop();
  await seen(first, 'h2 leaving');
  first.heard.length = 0;
  sides = [first, createSide(second.store, port)];
  await sides[1]!.front.start();
  sides[1]!.links.start();
  await seen(first, 'h2 serving');
});

test('nothing is heard of a host whose certificate is its own no more', async () => {
  await startAll();
  await seen(first, 'h2 serving');
  const { store } = first;
  await store.transact((c) => ({ ops: planCertificates(c, 'h2', []), result: undefined }));
  await new Promise((resolve) => setTimeout(resolve, 600));
  first.heard.length = 0;
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(first.heard).toEqual([]);
});
