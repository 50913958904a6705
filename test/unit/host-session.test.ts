// The conversation with helper processes: replies belong to their commands, whatever dies, hangs, or looks like a marker.
import { systemClock } from '../../src/base/clock';
import { CoProcessSession, type Dialogue, type Reply } from '../../src/host/co-process-session';
import { ipBatchDialogue, shellDialogue, withInput } from '../../src/host/dialogues';
import { createRunner } from '../../src/host/runner';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner, type Script } from '../fakes/scripted-runner';

function scripted(
  dialogue: Dialogue,
  script: Script,
): { session: CoProcessSession; runner: ScriptedRunner; clock: ManualClock } {
  const runner = new ScriptedRunner(script);
  const clock = new ManualClock();
  return { session: new CoProcessSession({ runner, clock, dialogue }), runner, clock };
}

describe.each([ipBatchDialogue, shellDialogue])('$file', (dialogue) => {
  test('replies come in the order of the commands, one process serves all', async () => {
    const { session, runner } = scripted(dialogue, (command) => ({ stderr: `cannot ${command}`, status: 1 }));
    const replies = await Promise.all(['a', 'b', 'c'].map((command) => session.run(command)));
    expect(replies.map(({ stderr, status }) => [stderr.trim(), status])).toEqual([
      ['cannot a', 1],
      ['cannot b', 1],
      ['cannot c', 1],
    ]);
    expect(runner.processes).toHaveLength(1);
  });

  test('a process that dies fails its command, and the next has a new one', async () => {
    const { session, runner } = scripted(dialogue, (command) => (command === 'bad' ? 'die' : {}));
    const [bad, good] = await Promise.allSettled([session.run('bad'), session.run('good')]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
    expect(good).toMatchObject({ status: 'fulfilled', value: { status: 0 } });
    expect(runner.processes).toHaveLength(2);
  });

  test('one that does not answer is ended', async () => {
    const { session, runner, clock } = scripted(dialogue, (command) => (command === 'slow' ? 'hang' : {}));
    const slow = session.run('slow');
    const next = session.run('next');
    await Promise.resolve();
    clock.advance(5000);
    await expect(slow).rejects.toThrow(`the helper process ${dialogue.file} did not answer within 5 s`);
    await expect(next).resolves.toMatchObject({ status: 0 });
    expect(runner.processes.map(({ killed }) => killed)).toEqual([true, false]);
    expect(clock.waiting).toBe(0);
  });

  test('after stop() everything is refused', async () => {
    const { session, runner } = scripted(dialogue, () => ({}));
    await session.start();
    await session.stop();
    await session.stop();
    await expect(session.run('late')).rejects.toMatchObject({ code: 'unavailable' });
    expect(runner.processes[0]?.ended).toBe(true);
  });

  test('stop() refuses what waits and ends what hangs', async () => {
    const { session, clock } = scripted(dialogue, () => 'hang');
    const running = session.run('a');
    const waiting = session.run('b');
    const settled = Promise.allSettled([running, waiting]);
    await session.stop();
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(clock.waiting).toBe(0);
  });
});

describe('the end of a reply', () => {
  /** Feeds a reply byte by byte, both streams in turn: it must be complete at the last byte and not before. */
  function feed(dialogue: Dialogue, stdout: string, stderr: string): Reply | undefined {
    for (let length = 0; length < Math.max(stdout.length, stderr.length); length += 1) {
      expect(dialogue.parse(7, stdout.slice(0, length), stderr.slice(0, length))).toBeUndefined();
    }
    return dialogue.parse(7, stdout, stderr);
  }

  test('of ip: the marker, and nothing that looks like it', () => {
    const failure = 'RTNETLINK answers: File exists\nCommand failed -:12\n';
    const mark = 'Object "end-7" is unknown, try "ip help".\nCommand failed -:13\n';
    expect(feed(ipBatchDialogue, '', failure + mark)).toMatchObject({
      stderr: 'RTNETLINK answers: File exists\n',
      status: 1,
    });
    expect(feed(ipBatchDialogue, '', mark)).toMatchObject({ stderr: '', status: 0 });
    expect(ipBatchDialogue.parse(7, '', mark.replace('end-7', 'end-77'))).toBeUndefined();
  });

  test('of sh: the marker on both outputs', () => {
    const reply = feed(shellDialogue, 'out\n\u001e7 3\n', 'words\n\u001e7\n');
    expect(reply).toEqual({ stdout: 'out\n', stderr: 'words\n', status: 3 });
    expect(shellDialogue.parse(7, '\u001e7 0\n', '')).toBeUndefined();
    expect(shellDialogue.parse(7, '', '\u001e7\n')).toBeUndefined();
  });
});

describe('a real shell', () => {
  let session: CoProcessSession;
  beforeEach(() => {
    session = new CoProcessSession({ runner: createRunner(), clock: systemClock, dialogue: shellDialogue });
  });
  afterEach(() => session.stop());

  test('gives output, errors and status of each command', async () => {
    expect(await session.run('echo out; echo err >&2; (exit 3)')).toEqual({
      stdout: 'out\n',
      stderr: 'err\n',
      status: 3,
    });
    expect(await session.run('printf unended')).toEqual({ stdout: 'unended', stderr: '', status: 0 });
    expect(await session.run('no-such-program')).toMatchObject({ status: 127 });
  });

  test('a program gets the input meant for it and cannot read what comes after', async () => {
    const input = 'line $HOME `id` "quoted" \\n';
    expect(await session.run(withInput('cat', input))).toMatchObject({ stdout: `${input}\n` });
    expect(await session.run('cat')).toMatchObject({ stdout: '' });
    expect(await session.run('echo still here')).toMatchObject({ stdout: 'still here\n' });
  });

  test('one that was ended from outside is replaced', async () => {
    const { stdout } = await session.run('echo $$');
    process.kill(Number(stdout), 'SIGKILL');
    await session.run(':').catch(() => undefined);
    expect(await session.run('echo again')).toMatchObject({ stdout: 'again\n' });
  });
});

test('a program that is not installed is named', async () => {
  const dialogue = { ...shellDialogue, file: 'daolinet-no-such-program' };
  const session = new CoProcessSession({ runner: createRunner(), clock: systemClock, dialogue });
  await expect(session.start()).rejects.toThrow('daolinet-no-such-program is not installed');
  await session.stop();
});
