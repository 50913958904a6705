// What real Dockers said to the plugin, said again: as it was, each call twice, twice at once, and broken off at each of its
// steps and repeated. After each call the host is as if it had come once.
import { DriverWorld, type Accident } from '../fakes/driver-world';
import { DockerSide, stateOf, type RecordedCall, type Reply } from '../fakes/docker-calls';
import docker20 from './docker-calls-20.10.json';
import docker28 from './docker-calls-28.json';

type Say = (docker: DockerSide, call: RecordedCall, index: number) => Promise<Reply>;

const say = (docker: DockerSide, { method, body }: RecordedCall) => docker.say(method, body);

interface Passed {
  readonly states: string[][];
  /** How many steps each call took. */
  readonly steps: number[];
}

/** Says all calls in that way, and checks each answer, and each state where they are given. */
async function replay(calls: readonly RecordedCall[], how: Say, expected?: readonly string[][]): Promise<Passed> {
  const docker = await DockerSide.start(new DriverWorld());
  const given = new GivenAddresses();
  const states: string[][] = [];
  const steps: number[] = [];
  for (const [index, recorded] of calls.entries()) {
    const call = { ...recorded, body: given.inBody(recorded.body) };
    const before = docker.agent.failpoint.steps.length;
    const reply = await how(docker, call, index);
    await docker.settle();
    steps.push(docker.agent.failpoint.steps.length - before);
    const check = (is: string, wanted: string): void => {
      // An expectation takes longer than the call.
      if (is !== wanted) expect(`${index} ${call.command}: ${call.method}: ${is}`).toBe(wanted);
    };
    check(reply.kind, call.status === 200 ? 'answer' : 'error');
    if (reply.kind === 'answer') {
      given.note(recorded.answer, reply.answer);
      check(given.back(shown(reply.answer)), shown(call.answer));
    }
    const state = stateOf(docker)
      .map((line) => given.back(line))
      .sort();
    if (expected !== undefined) check(state.join('\n'), expected[index]?.join('\n') ?? '');
    states.push(state);
  }
  return { states, steps };
}

/** A process that was killed goes on with other free addresses than one that was not: Docker goes by what it is given. */
class GivenAddresses {
  private readonly byRecorded = new Map<string, string>();

  note(recorded: object | null, { Address }: Readonly<Record<string, unknown>>): void {
    const { Address: then } = (recorded ?? {}) as { Address?: string };
    if (then !== undefined) this.byRecorded.set(then.replace(/\/.*/, ''), String(Address).replace(/\/.*/, ''));
  }

  inBody(body: object | null): object | null {
    return JSON.parse(renamed(JSON.stringify(body), this.byRecorded)) as object | null;
  }

  back(text: string): string {
    return renamed(text, new Map([...this.byRecorded].map(([then, now]) => [now, then])));
  }
}

function renamed(text: string, names: ReadonlyMap<string, string>): string {
  return text.replace(/\b10\.1\.0\.\d+\b/g, (address) => names.get(address) ?? address);
}

/** Without the MAC address, if the driver made it up. */
function shown(answer: object | null): string {
  return JSON.stringify(answer).replace(/("MacAddress":")[^"]+/, '$1any');
}

describe.each([
  ['20.10', docker20.calls as RecordedCall[]],
  ['28', docker28.calls as RecordedCall[]],
])('the calls of Docker %s', (_version, calls) => {
  let once: Passed;
  beforeAll(async () => {
    once = await replay(calls, say);
  });

  test('as they were: they are answered as they were, and leave nothing', () => {
    expect(once.states.at(-1)).toEqual([]);
    expect(Math.max(...once.states.map((state) => state.length))).toBeGreaterThan(30);
    expect(Math.max(...once.steps)).toBeGreaterThanOrEqual(4);
  });

  test('each twice', async () => {
    await replay(
      calls,
      async (docker, call) => {
        const first = await say(docker, call);
        await docker.settle();
        expectSame(call, first, await say(docker, call));
        return first;
      },
      once.states,
    );
  });

  test('each twice at once', async () => {
    await replay(
      calls,
      async (docker, call) => {
        const [first, second] = await Promise.all([say(docker, call), say(docker, call)]);
        expectSame(call, first, second);
        return first;
      },
      once.states,
    );
  });

  test('each again without its body, as Docker repeats one whose connection broke', async () => {
    await replay(
      calls,
      async (docker, call) => {
        const reply = await say(docker, call);
        await docker.ask(call.method, undefined);
        return reply;
      },
      once.states,
    );
  });

  test.each<[Accident, 'before' | 'after']>([
    ['fail', 'before'],
    ['killed-before', 'after'],
    ['killed-after', 'before'],
  ])(
    'each with a step that goes wrong (%s), and repeated %s the reconciler looks',
    async (accident, when) => {
      for (let step = 1; step <= Math.max(...once.steps); step += 1) {
        await replay(
          calls,
          async (docker, call, index) => {
            if (step > (once.steps[index] ?? 0)) return say(docker, call);
            const first = await docker.sayWith(step, accident, call.method, call.body);
            if (when === 'after') await docker.agent.reconciler.run();
            if (call.method === 'IpamDriver.RequestPool') {
              if (first.kind === 'answer') return first;
              // Whoever makes the network again is refused until then: nothing tells that from another network.
              await docker.reconcile();
            }
            const reply = await say(docker, call);
            await docker.settle();
            await docker.agent.reconciler.run();
            return reply;
          },
          once.states,
        );
      }
    },
    60_000,
  );
});

/** A subnet that is requested twice could be another network's: it is refused, and changes nothing. */
function expectSame({ method }: RecordedCall, first: Reply, second: Reply): void {
  if (method === 'IpamDriver.RequestPool') expect(second.kind).toBe('error');
  else if (JSON.stringify(second) !== JSON.stringify(first)) expect(second).toEqual(first);
}
