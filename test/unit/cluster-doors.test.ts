// Where the door of a host is: at its address, and at addresses that come and go, as its locator does with br-int; and who comes
// by which.
import { connect } from 'node:net';
import { parseAddressPort } from '../../src/base/address-port';
import { parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import type { ClusterFacts } from '../../src/cluster/files';
import { Front } from '../../src/cluster/front';
import { planSettings } from '../../src/cluster/host-settings';
import { planCertificates, planFirst } from '../../src/cluster/membership';
import { RemoteAgents } from '../../src/cluster/remote-agents';
import { doorOf } from '../../src/cluster/sites';
import type { Ops, PlanContext } from '../../src/directory/store';
import { planTunnel } from '../../src/directory/tunnel-operations';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { z } from 'zod';
import { freePort } from '../fakes/free-port';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

/** All of it is this machine's own, without an interface that has it. */
const LOCATORS = parseCidr('127.64.0.0/10');
const LOOPBACK = parseIpv4('127.0.0.1');
const LOCATOR = parseIpv4('127.64.1.1');
/** RFC 5737: nobody has it. */
const ELSEWHERE = parseIpv4('203.0.113.99');

let authority: Identity;
let identities: { h1: Identity; h2: Identity };
let h1: MemoryDirectory;
let h2: MemoryDirectory;
let clock: ManualClock;
let port: number;
let front: Front;
let own: Ipv4;
let also: readonly Ipv4[];
const said: string[] = [];

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  const identity = async (name: string) => {
    const { request, key } = await createRequest(name);
    return { certificate: await issue(authority, request, name, Date.now()), key };
  };
  identities = { h1: await identity('h1'), h2: await identity('h2') };
});

beforeEach(async () => {
  const database = createMemoryDatabase();
  h1 = createMemoryDirectory({ host: 'h1', database, locatorRange: LOCATORS });
  h2 = createMemoryDirectory({ host: 'h2', database, locatorRange: LOCATORS, address: LOOPBACK });
  await run((c) =>
    planFirst(c, { address: parseIpv4('127.0.0.9'), fingerprint: fingerprintOf(identities.h1.certificate) }),
  );
  await run((c) => planCertificates(c, 'h2', [fingerprintOf(identities.h2.certificate)]));
  clock = new ManualClock();
  port = await freePort();
  also = [];
  said.length = 0;
});
afterEach(() => front.stop());

function run(make: (context: PlanContext) => Ops, store = h1): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

async function open(address = LOOPBACK): Promise<void> {
  own = address;
  front = new Front({
    address: () => own,
    alsoAt: () => also,
    port,
    authority: authority.certificate,
    identity: identities.h2,
    store: h2,
    socketPath: undefined,
    locatorRange: LOCATORS,
    app: () => undefined,
    api: (_request, response) => void response.end(JSON.stringify({ name: 'a' })),
    acceptMember: (socket) => void socket.destroy(),
    acceptWords: (socket) => void socket.destroy(),
    acceptPulse: (socket) => void socket.destroy(),
    acceptOpenFlow: (socket) => void socket.destroy(),
    logger: { ...silentLogger, error: (message) => void said.push(message) },
    clock,
  });
  await front.start();
}

function isOpen(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

/** The time of one look at the addresses. */
async function look(): Promise<void> {
  clock.advance(2_000);
  // As long as the kernel takes to listen.
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('the door', () => {
  test('is where an address has come, and no more where it has gone', async () => {
    also = [ELSEWHERE];
    await open();
    expect([await isOpen('127.0.0.1'), await isOpen('127.64.1.1')]).toEqual([true, false]);
    also = [ELSEWHERE, LOCATOR];
    await look();
    expect([await isOpen('127.0.0.1'), await isOpen('127.64.1.1')]).toEqual([true, true]);
    also = [];
    await look();
    expect([await isOpen('127.0.0.1'), await isOpen('127.64.1.1')]).toEqual([true, false]);
    expect(said).toEqual([]);
  });

  test('follows the host’s own address', async () => {
    await open();
    own = LOCATOR;
    await look();
    expect([await isOpen('127.0.0.1'), await isOpen('127.64.1.1')]).toEqual([false, true]);
  });

  test('is at the locator also where the host’s own address is not there: it has moved', async () => {
    also = [LOCATOR];
    await open(ELSEWHERE);
    expect(await isOpen('127.64.1.1')).toBe(true);
    expect(said).toEqual(['other hosts of its site cannot come in yet']);
    await look();
    expect(said).toHaveLength(1);
  });

  test('is shut everywhere when it is stopped, and stays so', async () => {
    also = [LOCATOR];
    await open();
    front.stop();
    await look();
    expect([await isOpen('127.0.0.1'), await isOpen('127.64.1.1'), clock.waiting]).toEqual([false, false, 0]);
  });
});

describe('another host is asked', () => {
  const door = () => doorOf(h1.view, 'h1', h1.view.host('h2')!, LOCATORS);
  const tell = (store: MemoryDirectory, letter: string) => {
    const own = {
      key: `${letter.repeat(42)}A=`,
      port: 7471,
      endpoint: parseAddressPort('192.0.2.1:7471'),
      noL2: false as const,
    };
    return run((c) => planTunnel(c, own), store);
  };
  const agents = () => {
    const facts = { identity: identities.h1, authority, servers: [] } as unknown as ClusterFacts;
    return new RemoteAgents({ store: h1, locatorRange: LOCATORS, facts: () => facts, port });
  };
  const ask = () =>
    agents()
      .at('h2')
      .get('/v1/thing', z.object({ name: z.string() }));

  test('at its address in the same site, whatever it encrypts', async () => {
    await run((c) => planSettings(c, 'h2', { encrypts: true }));
    expect(door()).toBe(LOOPBACK);
    await open();
    expect(await ask()).toEqual({ name: 'a' });
  });

  test('at its locator in another, once there are tunnels', async () => {
    await run((c) => planSettings(c, 'h2', { site: 'home' }));
    await open();
    await expect(ask()).rejects.toThrow('the agent of host h2 cannot be reached (no way leads there yet)');
    await tell(h1, 'a');
    await tell(h2, 'b');
    expect(door()).toBe(LOCATOR);
    await expect(ask()).rejects.toThrow(`the agent of host h2 cannot be reached at 127.64.1.1:${port}`);
    also = [LOCATOR];
    await look();
    expect(await ask()).toEqual({ name: 'a' });
  });
});
