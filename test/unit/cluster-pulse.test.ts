// Agents that ask one another whether they are there, over the door of one of them on loopback.
import { connect, type TLSSocket } from 'node:tls';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock, type Clock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Front } from '../../src/cluster/front';
import { planCertificates } from '../../src/cluster/membership';
import { ASK_EVERY_MS, PULSE_PROTOCOL, PulseLinks } from '../../src/cluster/pulse-links';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { ManualClock } from '../fakes/manual-clock';
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

/** `accept` is given who dials; default: its links. */
function createSide(
  store: MemoryDirectory,
  port: number,
  { clock = systemClock, accept }: { clock?: Clock; accept?: (socket: TLSSocket) => void } = {},
): Side {
  const own = { authority: authority.certificate, identity: identities.get(store.host)!, locatorRange, port };
  const heard: string[] = [];
  const links: PulseLinks = new PulseLinks({
    ...own,
    store,
    clock,
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
    acceptPulse: accept ?? ((socket, { name }) => links.accept(socket, name)),
    clock: systemClock,
    logger: silentLogger,
  });
  const side: Side = { store, links, front, heard, isServing: true };
  return side;
}

function use(...both: [Side, Side]): void {
  sides = both;
  [first, second] = both;
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

test('what a later version says is passed over, and what is known of the same is heard', async () => {
  await second.front.start();
  const { certificate: cert, key } = identities.get('h1')!;
  const socket = connect({
    host: '127.0.0.2',
    port,
    ca: authority.certificate,
    cert,
    key,
    ALPNProtocols: [PULSE_PROTOCOL],
    checkServerIdentity: () => undefined,
  });
  try {
    const answer = new Promise((resolve) => socket.once('data', (chunk: Buffer) => resolve(String(chunk))));
    socket.write('~?~');
    expect(await answer).toBe('+');
    socket.write('-~');
    await seen(second, 'h1 idle');
  } finally {
    socket.destroy();
  }
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

describe('a connection on which nothing is heard, as of a host that hangs, or where the way was cut,', () => {
  const clock = new ManualClock();
  const turn = () => new Promise((resolve) => setTimeout(resolve, 20));
  async function ask(times: number): Promise<void> {
    for (let asked = 0; asked < times; asked += 1) {
      clock.advance(ASK_EVERY_MS);
      await turn();
    }
  }

  test('is given up after two seconds by who has dialled, who dials another one', async () => {
    const accepted: TLSSocket[] = [];
    const accept = (socket: TLSSocket) => void accepted.push(socket.on('error', () => undefined));
    use(createSide(first.store, port, { clock }), createSide(second.store, port, { accept }));
    const whenDialled = async (count: number) => {
      for (let tries = 0; accepted.length < count && tries < 300; tries += 1) await turn();
      expect(accepted).toHaveLength(count);
    };
    await second.front.start();
    first.links.setPeers(new Set(['h2']));
    first.links.start();
    await whenDialled(1);
    await ask(4);
    expect([accepted.length, first.heard]).toEqual([1, []]);
    await ask(1);
    await whenDialled(2);
    // This one answers, late as it is.
    accepted[1]!.on('data', () => accepted[1]!.write('+'));
    await seen(first, 'h2 serving');
    for (let answers = 1; answers <= 10; answers += 1) {
      for (let tries = 0; first.heard.length < answers && tries < 300; tries += 1) await turn();
      clock.advance(ASK_EVERY_MS);
    }
    expect(accepted).toHaveLength(2);
    for (const socket of accepted) socket.destroy();
  });

  test('is given up by who was dialled, too', async () => {
    let isTaken = false;
    const accept = (socket: TLSSocket) => {
      second.links.accept(socket, 'h1');
      isTaken = true;
    };
    use(first, createSide(second.store, port, { clock, accept }));
    await second.front.start();
    second.links.setPeers(new Set(['h1']));
    second.links.start();
    const { certificate: cert, key } = identities.get('h1')!;
    const tls = { ca: authority.certificate, cert, key, checkServerIdentity: () => undefined };
    const socket = connect({ host: '127.0.0.2', port, ALPNProtocols: [PULSE_PROTOCOL], ...tls });
    let isOver = false;
    socket.on('close', () => (isOver = true)).resume();
    for (let tries = 0; !isTaken && tries < 150; tries += 1) await turn();
    await ask(4);
    expect(isOver).toBe(false);
    await ask(1);
    for (let tries = 0; !isOver && tries < 300; tries += 1) await turn();
    expect(isOver).toBe(true);
  });
});
