// Containers by the API: where one is, the steps of a move as they are told, and one host's half of it, asked for from elsewhere.
import { DaoliError } from '../../src/base/errors';
import type { Operation, Outgoing } from '../../src/api/operation';
import { containerOperations, type ContainerAgent } from '../../src/api/operations/containers';
import { movingOperations } from '../../src/api/operations/moving';
import type { MoveHost } from '../../src/move/move-host';
import type { MovedContainer, MoveRequest, MoveStep } from '../../src/move/mover';
import { RemoteHost } from '../../src/move/remote-host';
import { MemoryMoveHost, movingContainer } from '../fakes/memory-move-host';
import { createSmallCluster, networkIdOf, type SmallCluster } from '../fakes/small-cluster';

const OPERATIONS: readonly Operation<ContainerAgent>[] = [...containerOperations, ...movingOperations];

let cluster: SmallCluster;
let host: MemoryMoveHost;
let asked: MoveRequest[];
let move: (tell: (step: MoveStep) => void) => Promise<MovedContainer>;

const MOVED: MovedContainer = {
  ...{ name: 'ann', from: 'h1', to: 'h2', containerId: 'x', state: 'running', awayMs: 1, kept: null },
  ...{ addresses: [], warnings: [] },
};

beforeEach(async () => {
  cluster = await createSmallCluster();
  host = new MemoryMoveHost(cluster.h1);
  asked = [];
  move = async () => MOVED;
});

async function call(
  find: (operation: Operation<ContainerAgent>) => boolean,
  parameters: object,
  body?: object,
): Promise<Outgoing> {
  const agent: ContainerAgent = {
    view: cluster.h1.view,
    settled: () => Promise.resolve(),
    status: () => ({ state: 'ready' }),
    moveHost: host,
    mover: {
      move: (request, tell) => {
        asked.push(request);
        return move(tell);
      },
    },
  };
  const { signal } = new AbortController();
  return OPERATIONS.find(find)!.run(agent, { parameters, query: {}, body, signal });
}
const byId = (id: string) => (operation: Operation<ContainerAgent>) => operation.id === id;

describe('where a container is', () => {
  const shown = async (name: string) => {
    const outgoing = await call(byId('getContainerNetwork'), { name });
    return outgoing.kind === 'json' ? outgoing.value : undefined;
  };

  test('its networks, addresses, gateway and locator, by its name or with its host', async () => {
    const dan = {
      name: 'dan',
      host: 'h2',
      networks: [
        {
          network: 'red',
          tenant: 'default',
          address: '10.1.0.4/24',
          mac: '02:42:0a:01:00:04',
          gateway: '10.1.0.1',
          locator: '100.64.1.2',
          aliases: [],
          ports: [],
        },
      ],
    };
    expect(await shown('dan')).toMatchObject(dan);
    expect(await shown('h2/dan')).toMatchObject(dan);
    await expect(shown('dam')).rejects.toThrow('no container dam is in a DaoliNet network; did you mean dan?');
  });

  test('one that does not run, or is in no network of ours, is another thing than none', async () => {
    const red = { id: networkIdOf('red'), address: '10.1.0.9', mac: '02:42:0a:01:00:09' };
    await host.add(movingContainer('idle', { red }), 'exited');
    await host.add({ ...movingContainer('bridged', { bridge: red }), networks: {} }, 'exited');
    await expect(shown('idle')).rejects.toThrow('container h1/idle does not run (exited), so it has no interface');
    await expect(shown('h1/idle')).rejects.toThrow('container h1/idle does not run');
    await expect(shown('bridged')).rejects.toThrow('container h1/bridged is in no DaoliNet network; it has bridge');
    await expect(shown('h2/idle')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a move', () => {
  const begin = (body: object = {}) => call(byId('moveContainer'), { name: 'ann' }, body);

  async function stepsOf(outgoing: Outgoing): Promise<unknown[]> {
    const steps: unknown[] = [];
    if (outgoing.kind === 'stream') for await (const step of outgoing.items) steps.push(step);
    return steps;
  }

  test('its steps come as they are done', async () => {
    let finish = (): void => undefined;
    move = async (tell) => {
      tell({ kind: 'doing', message: 'making ann on h2' });
      await new Promise<void>((resolve) => (finish = resolve));
      tell({ kind: 'moved', moved: MOVED });
      return MOVED;
    };
    const outgoing = await begin({ node: 'h2', keep: true });
    expect(asked).toEqual([{ container: 'ann', node: 'h2', force: false, keep: true }]);
    const steps = stepsOf(outgoing);
    finish();
    expect(await steps).toEqual([
      { kind: 'doing', message: 'making ann on h2' },
      { kind: 'moved', moved: MOVED },
    ]);
  });

  test('what is refused beforehand begins no stream; what fails later ends it', async () => {
    move = async () => Promise.reject(new DaoliError('conflict', 'ann is on host h1 already'));
    await expect(begin()).rejects.toThrow('ann is on host h1 already');
    move = async (tell) => {
      tell({ kind: 'doing', message: 'making ann on h2' });
      throw new DaoliError('conflict', 'ann was not moved');
    };
    await expect(begin().then(stepsOf)).rejects.toThrow('ann was not moved');
  });

  test('it goes on when nobody listens any more', async () => {
    let isDone = false;
    let finish = (): void => undefined;
    move = async (tell) => {
      tell({ kind: 'doing', message: 'making ann on h2' });
      await new Promise<void>((resolve) => (finish = resolve));
      tell({ kind: 'moved', moved: MOVED });
      isDone = true;
      return MOVED;
    };
    const outgoing = await begin();
    if (outgoing.kind === 'stream') for await (const _ of outgoing.items) break;
    finish();
    await new Promise(setImmediate);
    expect(isDone).toBe(true);
  });

  test.each([
    [{ node: '' }, 'node: "" is empty'],
    [{ nod: 'h2' }, 'nod'],
    [{ force: 'yes' }, 'force: "yes" is not true or false'],
  ])('%j is refused', async (body, message) => {
    await expect(begin(body)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining(message) });
    expect(asked).toEqual([]);
  });
});

describe("another host's half", () => {
  /** As another host's agent asks for it: the calls are those of the operations. */
  const remote = (): MoveHost =>
    new RemoteHost('h1', {
      post: async (path, body, answer) => {
        const sent = JSON.parse(JSON.stringify(body)) as object;
        const outgoing = await call((operation) => operation.path === path, {}, sent);
        return answer.parse(JSON.parse(JSON.stringify(outgoing.kind === 'json' ? outgoing.value : null)));
      },
    });

  test('every step comes through as it is', async () => {
    const web = movingContainer('web', {
      red: { id: networkIdOf('red'), address: '10.1.0.9', mac: '02:42:0a:01:00:09' },
    });
    await host.add(web, 'exited');
    const described = await remote().describe('web');
    expect(described).toEqual(await host.describe('web'));
    expect(await remote().describe('nobody')).toBeUndefined();
    host.findings = { obstacles: ['a'], objections: ['b'], warnings: ['c'] };
    expect(await remote().check(web)).toEqual(host.findings);
    const { id, networksWithMac } = await remote().make(web);
    expect(networksWithMac).toEqual(['red']);
    await remote().rename(id, 'new');
    await remote().start(id);
    expect(await remote().look(id)).toEqual({ isRunning: true, exitCode: 0, output: '' });
    await remote().stop(id, 10);
    expect(await remote().keep(id, 'old')).toBe('old');
    await remote().remove(id);
    expect(await remote().revive(web)).toEqual({ red: '10.1.0.9' });
  });

  test('what is no id, name or container is refused', async () => {
    await expect(remote().start('web')).rejects.toThrow('id: "web" is not a container id');
    await expect(remote().rename('a'.repeat(64), '../x')).rejects.toThrow('name: "../x" is not a container name');
    await expect(remote().make({} as never)).rejects.toThrow('moving.container');
    expect(host.asked).toEqual([]);
  });
});
