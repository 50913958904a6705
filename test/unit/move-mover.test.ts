// A move from host to host: what is done in which order, and that whatever fails, all is as it was. The hosts are fakes, the
// directory with its addresses is as the real one.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import { handOver } from '../../src/directory/hand-over';
import { insertNetwork, insertPool, poolIdOf, renameNetwork } from '../../src/directory/operations';
import type { NetworkId } from '../../src/directory/rows';
import type { MoveHost, MovingContainer } from '../../src/move/move-host';
import { Mover, type MoveRequest, type MoveStep } from '../../src/move/mover';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';
import { MemoryMoveHost, movingContainer, type Step } from '../fakes/memory-move-host';

const RED = 'a'.repeat(64) as NetworkId;
const BLUE = 'b'.repeat(64) as NetworkId;
const NETWORKS = {
  red: { id: RED, address: '10.1.0.5', mac: '02:42:0a:01:00:05' },
  blue: { id: BLUE, address: '10.2.0.5', mac: '02:42:0a:02:00:05' },
};
const SUBNETS = { red: '10.1.0.0/24', blue: '10.2.0.0/24' } as const;

let directory: MemoryDirectory;
let hosts: Record<string, MemoryMoveHost>;
let mover: Mover;
let web: MovingContainer;
let told: MoveStep[];
let refuse: () => void;

/** Time passes as soon as somebody waits for it. */
const hasty = () => {
  let now = 0;
  return {
    now: () => now,
    after: (ms: number, call: () => void) => {
      now += ms;
      const timer = setImmediate(call);
      return () => clearImmediate(timer);
    },
  };
};

beforeEach(async () => {
  const database = createMemoryDatabase();
  const stores = ['h1', 'h2', 'h3'].map((host) => createMemoryDirectory({ host, database }));
  directory = stores[0]!;
  for (const name of ['red', 'blue'] as const) {
    const id = NETWORKS[name].id;
    const cidr = parseCidr(SUBNETS[name]);
    await directory.transact((c) => ({ ops: insertPool(c, { tenant: 'default', cidr }), result: undefined }));
    const network = { id, tenant: 'default', internal: false, gateway: undefined, mtu: 1500, options: {} };
    const pools = { ipam: 'daolinet', poolIds: [poolIdOf('default', cidr)] } as const;
    await directory.transact((c) => ({ ops: insertNetwork(c, { ...network, ...pools }), result: undefined }));
    await directory.transact((c) => ({ ops: renameNetwork(c, id, name), result: undefined }));
  }
  hosts = Object.fromEntries(stores.map((store) => [store.host, new MemoryMoveHost(store)]));
  mover = new Mover({
    store: directory,
    refuseClients: () => refuse(),
    hostOf: (name): MoveHost => hosts[name]!,
    find: (text) => {
      const found = [...directory.view.endpoints()].find(({ containerName }) => containerName === text);
      if (found === undefined) throw new DaoliError('not-found', `no container ${text} is in a DaoliNet network`);
      return { containerId: found.containerId!, host: found.host };
    },
    clock: hasty(),
    logger: silentLogger,
  });
  web = movingContainer('web', NETWORKS);
  told = [];
  refuse = () => undefined;
});

const move = (request: Partial<MoveRequest> = {}) =>
  mover.move({ container: 'web', node: 'h2', force: false, keep: false, ...request }, (step) => told.push(step));
const holderOf = (address: string) => directory.view.endpointAt('default', parseIpv4(address))?.host;
const addressRow = (address: string) => directory.view.addressHolder('default', parseIpv4(address));

/** Where the container is, and who has its addresses. */
function state() {
  return {
    h1: hosts['h1']!.named('web'),
    h2: hosts['h2']!.named('web'),
    leftovers: hosts['h2']!.named('interim-web'),
    addresses: [holderOf('10.1.0.5'), holderOf('10.2.0.5')],
    holders: [addressRow('10.1.0.5')?.holders, addressRow('10.2.0.5')?.holders],
  };
}
const BEFORE = {
  h1: 'running',
  h2: undefined,
  leftovers: undefined,
  addresses: ['h1', 'h1'],
  holders: [['h1'], ['h1']],
};

describe('a move', () => {
  beforeEach(() => hosts['h1']!.add(web));

  test('the new one runs with all its addresses, and the old one is gone', async () => {
    const moved = await move();
    expect(state()).toEqual({
      h1: undefined,
      h2: 'running',
      leftovers: undefined,
      addresses: ['h2', 'h2'],
      holders: [['h2'], ['h2']],
    });
    expect(moved).toMatchObject({ name: 'web', from: 'h1', to: 'h2', state: 'running', kept: null, warnings: [] });
    expect(moved.addresses).toEqual([
      { network: 'red', address: '10.1.0.5', mac: '02:42:0a:01:00:05' },
      { network: 'blue', address: '10.2.0.5', mac: '02:42:0a:02:00:05' },
    ]);
    expect(told.map((step) => (step.kind === 'moved' ? 'moved' : step.message))).toEqual([
      'making web on h2',
      'stopping web on h1',
      'starting web on h2',
      'looking whether web runs',
      'removing the old web from h1',
      'moved',
    ]);
  });

  test('the old one is stopped only when the new one is ready to start', async () => {
    const order: string[] = [];
    for (const host of Object.values(hosts)) host.asked.push = (step) => order.push(`${host.name} ${step}`);
    await move();
    expect(order.filter((step) => !step.endsWith('look'))).toEqual([
      'h1 describe',
      'h2 check',
      'h2 make',
      'h1 stop',
      'h2 rename',
      'h2 start',
      'h1 remove',
    ]);
  });

  test('between stop and start nobody else gets its address', async () => {
    const { h1, h2, h3 } = hosts;
    const stop = h1!.stop.bind(h1);
    const tried: string[] = [];
    h1!.stop = async (id) => {
      await stop(id);
      for (const other of [h1!, h3!]) {
        const intruder = movingContainer(`intruder-${other.name}`, {
          red: { ...NETWORKS.red, mac: '02:00:00:00:00:99' },
        });
        await other.add(intruder).catch((error: Error) => void tried.push(error.message));
      }
    };
    await move();
    expect(tried).toEqual(Array(2).fill(expect.stringContaining('10.1.0.5 is reserved in pool')));
    expect(h2!.named('web')).toBe('running');
  });

  test('the old one can be kept', async () => {
    expect(await move({ keep: true })).toMatchObject({ kept: 'web-moved-to-h2' });
    expect(hosts['h1']!.named('web-moved-to-h2')).toBe('exited');
  });

  test('twice at once is once', async () => {
    const both = await Promise.allSettled([move(), move({ node: 'h3' })]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { message: 'container web is being moved already' },
    });
    expect([hosts['h2']!.named('web'), hosts['h3']!.named('web')]).toEqual(['running', undefined]);
  });

  test('a move that another server has begun is not disturbed', async () => {
    const change = { networkId: BLUE, address: parseIpv4('10.2.0.5'), from: 'h1', to: 'h3', mac: undefined };
    await directory.transact((context) => ({ ops: handOver(context, change), result: undefined }));
    await expect(move()).rejects.toThrow('10.2.0.5 is going to host h3 already: wait for that; it is on h1 as before');
    expect(state()).toEqual({ ...BEFORE, holders: [['h1'], ['h1', 'h3']] });
    // After ten minutes it was cut off.
    const late = { ...change, to: 'h2' };
    await directory.transact((c) => ({ ops: handOver({ ...c, nowMs: c.nowMs + 600_001 }, late), result: undefined }));
    expect(addressRow('10.2.0.5')?.holders).toEqual(['h1', 'h2']);
  });

  test.each([
    ['make', 'before', 'web cannot move to h2: told to fail at make'],
    ['rename', 'before', 'web was not moved to h2: told to fail at rename'],
    ['rename', 'after', 'web was not moved to h2: told to fail after rename'],
    ['start', 'before', 'web was not moved to h2: told to fail at start'],
    ['start', 'after', 'web was not moved to h2: told to fail after start'],
    ['look', 'before', 'web was not moved to h2: told to fail at look'],
  ] as const)('where it fails at %s (%s it was done), all is as before', async (step: Step, when, message) => {
    hosts['h2']!.faults.set(step, when);
    await expect(move()).rejects.toMatchObject({ code: 'unavailable', message: `${message}; it is on h1 as before` });
    expect(state()).toEqual(BEFORE);
    // And it can be tried again.
    hosts['h2']!.faults.clear();
    await move();
    expect(state().h2).toBe('running');
  });

  test.each(['before', 'after'] as const)('where the old one does not stop (%s), all is as before', async (when) => {
    hosts['h1']!.faults.set('stop', when);
    await expect(move()).rejects.toThrow('it is on h1 as before');
    expect(state()).toEqual(BEFORE);
  });

  test('one that ends at once on the new host goes back, with what it said', async () => {
    hosts['h2']!.endsAtOnce = true;
    await expect(move()).rejects.toThrow(
      'web was not moved to h2: it ended at once on host h2, with exit code 1, saying "no configuration"; it is on h1 as before',
    );
    expect(state()).toEqual(BEFORE);
  });

  test('a host that goes away in the middle keeps what it has; what is left to do is said', async () => {
    hosts['h2']!.faults.set('look', 'before').set('remove', 'before');
    hosts['h1']!.faults.set('revive', 'before');
    await expect(move()).rejects.toThrow(
      'web was not moved to h2: told to fail at look. And then: the new one on h2 could not be removed: told to fail at remove; it could not be started again on h1: told to fail at revive',
    );
    // It runs there, with its addresses: the directory lets nobody else have them.
    expect(state()).toMatchObject({ h1: 'exited', h2: 'running', addresses: ['h2', 'h2'], holders: [['h2'], ['h2']] });
  });

  test('an old one that cannot be removed is no reason to go back', async () => {
    hosts['h1']!.faults.set('remove', 'before');
    const moved = await move();
    expect(moved.warnings).toEqual(['the old one on h1 is stopped, but could not be removed: told to fail at remove']);
    expect(state()).toMatchObject({ h1: 'exited', h2: 'running' });
  });
});

describe('whither', () => {
  beforeEach(() => hosts['h1']!.add(web));

  test('without a host: the one with the fewest endpoints that can have it', async () => {
    await hosts['h2']!.add(
      movingContainer('other', { red: { ...NETWORKS.red, address: '10.1.0.9', mac: '02:42:0a:01:00:09' } }),
    );
    expect(await move({ node: undefined })).toMatchObject({ to: 'h3' });
  });

  test('one that has no image is passed over; where none can have it, each says why', async () => {
    hosts['h2']!.findings = { obstacles: ['host h2 has no image busybox'], objections: [], warnings: [] };
    expect(await move({ node: undefined })).toMatchObject({ to: 'h3' });
    hosts['h1']!.faults.set('check', 'before');
    await expect(move({ node: undefined })).rejects.toThrow(
      /^no other host can have web: h[12]: (host h2 has no image busybox|told to fail at check)\. h[12]: /,
    );
    expect(hosts['h3']!.named('web')).toBe('running');
  });

  test.each([
    ['h9', 'not-found', 'there is no host h9 in the cluster; did you mean h1 or h2 or h3?'],
    ['somewhere', 'not-found', 'there is no host somewhere in the cluster: its hosts are h1, h2, h3'],
    ['h1', 'conflict', 'web is on host h1 already'],
  ])('to %s', async (node, code, message) => {
    await expect(move({ node })).rejects.toMatchObject({ code, message });
    expect(state()).toEqual(BEFORE);
  });

  test('what speaks against it can be insisted on, what makes it impossible cannot', async () => {
    const h2 = hosts['h2']!;
    h2.findings = { obstacles: ['no room'], objections: ['/x is /tmp of its host'], warnings: [] };
    await expect(move()).rejects.toThrow(/^web cannot move to h2: no room; \/x is \/tmp of its host$/);
    await expect(move({ force: true })).rejects.toThrow(/^web cannot move to h2: no room$/);
    h2.findings = { ...h2.findings, obstacles: [] };
    await expect(move()).rejects.toThrow('/x is /tmp of its host; --force moves it nevertheless');
    expect(state()).toEqual(BEFORE);
    await move({ force: true });
    expect(state().h2).toBe('running');
  });
});

describe('which', () => {
  test('one that does not run has no interface: the Dockers are asked; it is moved as it is', async () => {
    await hosts['h2']!.add(web, 'exited');
    // It has no address while it does not run.
    expect(await move({ node: 'h3' })).toMatchObject({ from: 'h2', state: 'stopped', awayMs: 0 });
    expect([hosts['h2']!.named('web'), hosts['h3']!.named('web')]).toEqual([undefined, 'created']);
  });

  test('of that name on several hosts: which has to be said', async () => {
    await hosts['h2']!.add(web, 'created');
    await hosts['h3']!.add(web, 'created');
    await expect(move({ node: 'h1' })).rejects.toThrow('web is 2 containers: h2/web, h3/web; say which');
    expect(await move({ container: 'h3/web', node: 'h1' })).toMatchObject({ from: 'h3' });
  });

  test('nothing is asked of anybody by a client of the cluster', async () => {
    await hosts['h1']!.add(web);
    refuse = () => {
      throw new DaoliError('conflict', 'only servers of the cluster move containers: do it on 192.0.2.1');
    };
    await expect(move()).rejects.toThrow('only servers of the cluster move containers');
    expect(Object.values(hosts).flatMap(({ asked }) => asked)).toEqual([]);
  });

  test('none of that name', async () => {
    await expect(move()).rejects.toMatchObject({ code: 'not-found' });
    await expect(move({ container: 'h9/web' })).rejects.toMatchObject({ code: 'not-found' });
  });

  test('--rm: not without insisting', async () => {
    await hosts['h1']!.add(movingContainer('web', NETWORKS, { autoRemove: true }));
    await expect(move()).rejects.toThrow('it was started with --rm');
    await expect(move({ node: undefined })).rejects.toThrow('web is not moved: it was started with --rm');
    expect(state()).toEqual(BEFORE);
    expect(await move({ force: true, keep: true })).toMatchObject({ to: 'h2', kept: null });
  });
});
