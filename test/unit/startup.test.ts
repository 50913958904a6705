// What Docker's calls wait for while the agent comes up, and what they end with where it does not.
import { Deadline } from '../../src/driver/deadline';
import { Startup } from '../../src/startup';
import { ManualClock } from '../fakes/manual-clock';

const settled = () => new Promise((resolve) => setImmediate(resolve));
const LIMIT_MS = 8_000;

let clock: ManualClock;
let startup: Startup;
beforeEach(() => {
  clock = new ManualClock();
  startup = new Startup();
  startup.begin();
});

/** A call of Docker's as the plugin's server makes it; the answer is { is: 'done' }. */
function call(name: string, error?: Error): Promise<unknown> {
  const deadline = new Deadline(clock, LIMIT_MS);
  const handler = startup.guard({ [name]: async () => ({ is: 'done' }) }, error)[name]!;
  const answer = deadline.wait(
    'DaoliNet',
    settled().then(() => handler({}, deadline)),
  );
  answer.catch(() => {});
  return answer;
}

test('a call waits until all is up', async () => {
  const answer = call('NetworkDriver.CreateNetwork');
  startup.haveRows();
  let isAnswered = false;
  void answer.then(() => (isAnswered = true));
  await settled();
  expect(isAnswered).toBe(false);
  startup.haveAll();
  expect(await answer).toEqual({ is: 'done' });
  expect(await call('NetworkDriver.CreateNetwork')).toEqual({ is: 'done' });
});

test('what gives back waits for the directory alone, and what Docker asks first for nothing', async () => {
  expect(await call('NetworkDriver.GetCapabilities')).toEqual({ is: 'done' });
  const answers = [call('NetworkDriver.DeleteEndpoint'), call('IpamDriver.ReleaseAddress')];
  startup.haveRows();
  expect(await Promise.all(answers)).toEqual([{ is: 'done' }, { is: 'done' }]);
});

test('a call that waits in vain ends with what is waited for by then, not with what was when it came', async () => {
  const first = call('NetworkDriver.CreateNetwork');
  startup.haveRows();
  await settled();
  clock.advance(LIMIT_MS);
  await expect(first).rejects.toThrow('Open vSwitch did not answer within 8 s: the call was given up, try it again');
  const second = call('NetworkDriver.CreateNetwork');
  startup.fail('the locator block overlaps a route: choose another range');
  startup.begin();
  await settled();
  clock.advance(LIMIT_MS);
  await expect(second).rejects.toThrow(
    'DaoliNet cannot start yet: the locator block overlaps a route: choose another range',
  );
});

test('what stands in the way is told until its part is up, also while everything is tried once more', () => {
  expect(startup.waitingFor).toBe('the DaoliNet database');
  expect(startup.fail('no such file')).toBe(true);
  startup.begin();
  expect(startup.waitingFor).toBe('a remedy: no such file');
  startup.haveRows();
  expect(startup.waitingFor).toBe('Open vSwitch');
  expect(startup.fail('no bridge')).toBe(true);
  startup.begin();
  startup.haveRows();
  expect(startup.waitingFor).toBe('a remedy: no bridge');
  expect(startup.fail('no bridge')).toBe(false);
  expect(startup.fail('another bridge')).toBe(true);
});

test('an agent that stops lets nobody wait', async () => {
  const answer = call('NetworkDriver.CreateNetwork');
  const asked = startup.settled(clock, 5_000);
  await settled();
  startup.stop();
  await expect(answer).rejects.toThrow('DaoliNet is stopping: try it again');
  await asked;
});

test('with a wrong setting every call ends with it at once', async () => {
  await expect(call('NetworkDriver.CreateNetwork', new Error('wrong setting'))).rejects.toThrow('wrong setting');
});

describe('who asks meanwhile waits', () => {
  /** Whether it has been told to go on. */
  const waiting = () => {
    const wait = { isOver: false };
    void startup.settled(clock, 5_000).then(() => (wait.isOver = true));
    return wait;
  };

  test.each([
    ['all is up', () => startup.haveAll()],
    ['something is in the way', () => void startup.fail('no bridge')],
    ['time is over', () => clock.advance(5_000)],
  ])('until %s', async (_what, event) => {
    const wait = waiting();
    startup.haveRows();
    await settled();
    expect(wait.isOver).toBe(false);
    event();
    await settled();
    expect(wait.isOver).toBe(true);
    expect(clock.waiting).toBe(0);
  });

  test('not at all where that is known already', async () => {
    startup.fail('no bridge');
    startup.begin();
    const wait = waiting();
    await settled();
    expect(wait.isOver).toBe(true);
  });
});
