// Captures: what tcpdump is told, when one begins and ends, and what is said where it does not.
import { systemClock } from '../../src/base/clock';
import { MAX_CAPTURES, summaryOf, TcpdumpCaptures } from '../../src/host/captures';
import type { CaptureSpec } from '../../src/host/host';
import { createRunner } from '../../src/host/runner';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner, type ScriptedStream } from '../fakes/scripted-runner';

const SPEC: CaptureSpec = { interfaceName: 'dl0123', filter: '', seconds: 60 };
const LISTENING = 'tcpdump: listening on dl0123, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n';

let runner: ScriptedRunner;
let clock: ManualClock;
let captures: TcpdumpCaptures;
beforeEach(() => {
  runner = new ScriptedRunner();
  clock = new ManualClock();
  captures = new TcpdumpCaptures(runner, clock);
});

const last = (): ScriptedStream => runner.streams.at(-1)!;
async function begin(spec: Partial<CaptureSpec> = {}) {
  const starting = captures.start({ ...SPEC, ...spec });
  last().handlers.onStderr(LISTENING.slice(0, 12));
  last().handlers.onStderr(LISTENING.slice(12));
  return starting;
}

test('tcpdump is told the interface, the count and the filter, behind which no option can hide', async () => {
  await begin({ filter: 'tcp port 80', count: 7 });
  expect(last().args.slice(3)).toEqual([
    ...['-i', 'dl0123', '-n', '-U', '--immediate-mode', '-s', '0', '-B', '16384', '-w', '-'],
    ...['-c', '7', '--', 'tcp port 80'],
  ]);
});

test.each(['$(id)', '`id`', "'x'", 'a;b', 'a\nb', 'port "80"', 'x'.repeat(1001)])(
  'a filter like %j is none',
  async (filter) => {
    await expect(captures.start({ ...SPEC, filter })).rejects.toMatchObject({ code: 'invalid' });
    expect(runner.streams).toEqual([]);
  },
);

test('an interface that is none is refused', async () => {
  await expect(captures.start({ ...SPEC, interfaceName: '-w/tmp/x' })).rejects.toMatchObject({ code: 'invalid' });
});

test('it ends when its time is over, and is killed where it does not', async () => {
  const capture = await begin({ seconds: 5 });
  clock.advance(4_999);
  expect(last().ended).toBe(false);
  clock.advance(1);
  expect(last().ended).toBe(true);
  clock.advance(2_000);
  expect(last().killed).toBe(true);
  expect(await capture.ended).toEqual({ packets: 0, dropped: 0 });
});

test('it says how much it has seen', async () => {
  const capture = await begin();
  capture.stop();
  capture.stop();
  last().handlers.onStderr('12 packets captured\n13 packets received by filter\n3 packets dropped by kernel\n');
  last().exit('sh ended with 0');
  expect(await capture.ended).toEqual({ packets: 12, dropped: 3 });
  expect(summaryOf('1 packet captured\n')).toEqual({ packets: 1, dropped: 0 });
});

test('it ends when whoever reads leaves', async () => {
  await begin();
  last().output.destroy();
  await new Promise(setImmediate);
  expect(last().ended).toBe(true);
});

test('a filter that tcpdump does not understand is the caller’s fault; anything else is not', async () => {
  const wrong = captures.start({ ...SPEC, filter: 'tcp prot 80' });
  last().handlers.onStderr("tcpdump: can't parse filter expression: syntax error\n");
  last().exit('sh ended with 1');
  await expect(wrong).rejects.toMatchObject({
    code: 'invalid',
    message: "tcpdump: can't parse filter expression: syntax error",
  });
  const gone = captures.start(SPEC);
  last().handlers.onStderr('tcpdump: dl0123: No such device exists\n');
  last().exit('sh ended with 1');
  await expect(gone).rejects.toMatchObject({
    code: 'internal',
    message: 'the capture cannot begin: dl0123: No such device exists',
  });
  const missing = captures.start(SPEC);
  last().handlers.onStderr('sh: 2: tcpdump: not found\n');
  last().exit('sh ended with 127');
  await expect(missing).rejects.toThrow('the capture cannot begin: sh: 2: tcpdump: not found');
  const silent = captures.start(SPEC);
  clock.advance(5_000);
  expect(last().ended).toBe(true);
  clock.advance(2_000);
  await expect(silent).rejects.toThrow('the capture cannot begin: killed');
});

test('four at a time; stop() ends them all', async () => {
  const all = await Promise.all(Array.from({ length: MAX_CAPTURES }, () => begin()));
  await expect(captures.start(SPEC)).rejects.toMatchObject({ code: 'exhausted' });
  last().exit('sh ended with 0');
  await all[MAX_CAPTURES - 1]!.ended;
  await begin();
  const stopping = captures.stop();
  for (const stream of runner.streams) stream.exit('sh ended with 0');
  await stopping;
  expect(runner.streams.filter(({ ended }) => ended)).toHaveLength(MAX_CAPTURES);
});

describe('a program with bytes for output', () => {
  test('gives them as they are, and ends when its standard input does', async () => {
    const chunks: Buffer[] = [];
    const reason = await new Promise((onExit) => {
      const script = "printf '\\377\\000\\376'; read -r end; exit 3";
      const process = createRunner().stream('sh', ['-c', script], { onStderr: () => undefined, onExit });
      process.output.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        process.end();
      });
    });
    expect(Buffer.concat(chunks)).toEqual(Buffer.from([0xff, 0, 0xfe]));
    expect(reason).toBe('sh ended with 3');
  });

  test('that is not there says so', async () => {
    const reason = await new Promise((onExit) => {
      createRunner().stream('no-such-program', [], { onStderr: () => undefined, onExit });
    });
    expect(reason).toBe('no-such-program is not installed');
  });
});

test('where tcpdump cannot run, the shell beside it ends, too', async () => {
  const real = new TcpdumpCaptures(createRunner(['env', 'PATH=/bin']), systemClock);
  await expect(real.start({ ...SPEC, interfaceName: 'no-such-link' })).rejects.toThrow('the capture cannot begin');
});
