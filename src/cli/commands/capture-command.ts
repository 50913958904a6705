// daolictl capture: what passes a container's interface, into a file or a pipe, until it ends or Ctrl-C.

import { InvalidArgumentError, type Command } from 'commander';
import { createWriteStream } from 'node:fs';
import { Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ApiError } from '../api-client';
import { withExamples, type CommandContext } from '../command-context';
import { queryOf } from '../formats';
import { PcapCount } from '../pcap-count';

interface CaptureOptions {
  readonly file?: string;
  readonly count?: number;
  readonly seconds?: number;
  readonly filter?: string;
  readonly network?: string;
}

const STDOUT = '-';

export function captureCommand(daolictl: Command, context: CommandContext): void {
  withExamples(
    daolictl.command('capture <container>'),
    'daolictl capture web -o web.pcap',
    "daolictl capture h2/db --filter 'tcp port 5432' --count 100 -o db.pcap",
    'daolictl capture web -o - | tcpdump -nr -',
  )
    .description('record what passes a container’s interface, both ways, as a pcap file, until its end or Ctrl-C')
    .option('-o, --file <file>', 'where to; - is standard output (default: CONTAINER.pcap)')
    .option('--count <n>', 'end after so many packets', wholeNumber(1_000_000_000))
    .option('--seconds <n>', 'end after so long, an hour at most (default: 60)', wholeNumber(3_600))
    .option('--filter <words>', 'only what pcap-filter(7) says, as in "tcp port 80"')
    .option('--network <name>', 'which of its interfaces, where it is in several networks')
    .action(async (container: string, { file: given, ...rest }: CaptureOptions) => {
      const file = given ?? `${container.replaceAll('/', '-')}.pcap`;
      if (file === STDOUT && process.stdout.isTTY) {
        const remedy = 'pipe it, as in `daolictl capture web -o - | tcpdump -nr -`, or give -o a file';
        throw new ApiError(`a capture is no text for a terminal: ${remedy}`);
      }
      await capture(context, `/v1/capture${queryOf({ container, ...rest })}`, file);
    });
}

async function capture(context: CommandContext, path: string, file: string): Promise<void> {
  const end = new AbortController();
  const interrupt = () => end.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  const counted = new PcapCount();
  try {
    const response = await context.client().content(path);
    end.signal.addEventListener('abort', () => response.destroy());
    if (end.signal.aborted) response.destroy();
    const into: Writable = file === STDOUT ? process.stdout : createWriteStream(file, { mode: 0o600 });
    say(file === STDOUT ? 'capturing; Ctrl-C ends it' : `capturing into ${file}; Ctrl-C ends it`);
    await pipeline(response, wholePackets(counted), into);
  } catch (error) {
    // Whoever reads has had enough, or whoever records has.
    const isOver = end.signal.aborted || (error as NodeJS.ErrnoException).code === 'EPIPE';
    if (!isOver) throw error instanceof ApiError ? error : new ApiError(messageOf(error, file));
  } finally {
    process.removeListener('SIGINT', interrupt);
    process.removeListener('SIGTERM', interrupt);
  }
  say(`${counted.packets} ${counted.packets === 1 ? 'packet' : 'packets'}`);
}

/** A file that is cut off ends with a whole packet. */
function wholePackets(counted: PcapCount): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      done(null, counted.push(chunk));
    },
  });
}

function messageOf(error: unknown, file: string): string {
  const { message = String(error), code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') return `the agent ended the capture into ${file}`;
  return message;
}

function wholeNumber(max: number) {
  return (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (value >= 1 && value <= max) return value;
    throw new InvalidArgumentError(`It has to be a whole number from 1 to ${max}.`);
  };
}
