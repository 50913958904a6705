// Containers of two hosts with the kernel's datapath, which this machine's kernel need not have: in a guest of QEMU that boots
// Debian's cloud kernel. There are two hosts, each a network namespace with an Open vSwitch of its own, and on them the
// product's own links, bridge and controller (guest/product-host.ts), so that what is measured are real hot-plug routes.
// Beside them, in the same run and in turn: Open vSwitch as a learning bridge, the kernel's bridge, VXLAN, plain forwarding,
// and host to host. The guest's processor is emulated unless DAOLINET_BENCH_ACCEL says kvm: then only the ratios count.

import { spawn } from 'node:child_process';
import { buildSync } from 'esbuild';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Path } from './guest/layout';
import { PATHS, TITLES } from './guest/layout';
import type { Sample } from './guest/measure';
import { median } from './support/report';
import { publish, type Result } from './support/results';

/** The Debian release whose cloud kernel the guest boots: trixie has Linux 6.12, bookworm 6.1. */
const KERNEL = process.env['DAOLINET_BENCH_KERNEL'] ?? 'trixie';
const FOLDER = resolve('build/guest', KERNEL);
const GUEST = resolve('test/bench/guest');
const ROUNDS = 5;
const TIMEOUT_MS = 900_000;
const MEMORY_MB = 1536;
/**
 * The emulated processor, by default with a clock that counts its instructions, eight ns each: what else this machine does
 * makes the run longer, and the figures no different.
 */
const COUNTED = ['-accel', 'tcg,thread=single', '-icount', 'shift=3,sleep=off', '-cpu', 'max', '-smp', '1'];
const TIMED = ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2'];
const KVM = ['-accel', 'kvm', '-cpu', 'host', '-smp', '2'];
const PROCESSORS: Readonly<Record<string, string[]>> = { counted: COUNTED, timed: TIMED, kvm: KVM };
const PROCESSOR = process.env['DAOLINET_BENCH_PROCESSOR'] ?? 'counted';

type RoundSample = Sample & { readonly round: number; readonly path: Path };

interface Finding {
  readonly kernel: string;
  readonly routes: readonly { source?: string; destination?: string; packets?: number }[];
}

/** Runs a program to its end; its output is this one's. */
function run(file: string, args: readonly string[], timeout: number): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'], timeout, killSignal: 'SIGKILL' });
    child.on('error', fail);
    child.on('close', (code, signal) => {
      if (code === 0) done();
      else fail(new Error(`${file} ended with ${code ?? signal}`));
    });
  });
}

/** The second disk: what the guest runs, from the sources as they are. */
async function makeWork(folder: string): Promise<void> {
  const files = `${folder}/files`;
  mkdirSync(files);
  buildSync({
    entryPoints: [`${GUEST}/main.ts`],
    outfile: `${files}/main.cjs`,
    bundle: true,
    platform: 'node',
    target: 'node20',
    define: { ROUNDS: String(ROUNDS) },
    external: ['cpu-features', '*.node'],
    logLevel: 'warning',
  });
  cpSync(`${GUEST}/init.sh`, `${files}/init.sh`);
  await run('truncate', ['--size', '64M', `${folder}/work`], TIMEOUT_MS);
  await run('mkfs.ext4', ['-q', '-F', '-d', files, `${folder}/work`], TIMEOUT_MS);
}

async function boot(folder: string): Promise<void> {
  const kernel = 'root=/dev/vda ro init=/sbin/bench console=ttyS0 quiet ipv6.disable=1 mitigations=off panic=-1';
  const drive = (file: string) => ['-drive', `file=${file},if=virtio,format=raw,snapshot=on`];
  const hardware = PROCESSORS[PROCESSOR];
  if (hardware === undefined)
    throw new Error(`DAOLINET_BENCH_PROCESSOR is one of ${Object.keys(PROCESSORS).join(', ')}`);
  const ports = ['-serial', `file:${folder}/console`, '-serial', `file:${folder}/results`];
  // It ends with this process, however that ends.
  await run(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'qemu-system-x86_64'],
      ...['-kernel', `${FOLDER}/kernel`, '-initrd', `${FOLDER}/initrd`, '-append', kernel],
      ...[...hardware, '-m', String(MEMORY_MB), ...drive(`${FOLDER}/disk`), ...drive(`${folder}/work`)],
      ...[...ports, '-nic', 'none', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    ],
    TIMEOUT_MS,
  );
}

/** What the guest has written, or an error with the end of its console. */
function readResults(folder: string): { samples: RoundSample[]; finding: Finding } {
  const lines = readFileSync(`${folder}/results`, 'utf8').split(/\r?\n/).filter(Boolean);
  const records = lines.map((line) => JSON.parse(line) as RoundSample | Finding);
  const finding = records.find((record): record is Finding => 'kernel' in record);
  const samples = records.filter((record): record is RoundSample => 'path' in record);
  if (finding !== undefined) return { samples, finding };
  const console = readFileSync(`${folder}/console`, 'utf8').trim().split('\n').slice(-30).join('\n');
  throw new Error(`the guest has not measured everything; it said\n${console}`);
}

const MEASURES = [
  { name: 'TCP stream', key: 'tcp', unit: 'Gbit/s', bounds: { normal: 0.95, vxlan: 1.15 } },
  { name: 'packets of 18 bytes', key: 'packets', unit: '1/s', bounds: { vxlan: 1.35 } },
  { name: 'round trip, p50', key: 'roundTrip', unit: 'µs', bounds: { vxlan: 1 } },
] as const satisfies readonly {
  name: string;
  key: keyof Sample;
  unit: string;
  bounds: Partial<Record<Path, number>>;
}[];

/** The absolutes, and DaoliNet over each other path: the median of the rounds' ratios. */
function resultsOf(samples: readonly RoundSample[]): Result[] {
  const values = (path: Path, key: keyof Sample) =>
    samples.filter((sample) => sample.path === path).map((sample) => sample[key]);
  return MEASURES.flatMap(({ name, key, unit, bounds }) => {
    const ours = values('daolinet', key);
    return PATHS.map((path): Result => {
      const theirs = values(path, key);
      const peer = { name: `${TITLES[path]}, ${unit}`, value: median(theirs) };
      if (path === 'daolinet') return { measure: name, value: median(ours), unit };
      const ratio = median(ours.map((value, round) => value / (theirs[round] ?? NaN)));
      const floor = (bounds as Partial<Record<Path, number>>)[path];
      return {
        measure: `  over ${TITLES[path]}`,
        value: ratio,
        unit: '×',
        peer,
        ...(floor !== undefined && { floor }),
      };
    });
  });
}

async function main(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  await run('bash', [`${GUEST}/image.sh`, FOLDER, KERNEL], TIMEOUT_MS);
  const folder = mkdtempSync(`${FOLDER}/run-`);
  try {
    await makeWork(folder);
    await boot(folder);
    const { samples, finding } = readResults(folder);
    cpSync(`${folder}/console`, `${FOLDER}/console.log`);
    const rounds = new Set(samples.map(({ round }) => round)).size;
    publish(
      'kernel',
      `containers of two hosts, kernel datapath, Linux ${finding.kernel} in QEMU (${PROCESSOR}), ${rounds} rounds`,
      resultsOf(samples),
    );
    for (const { source, destination, packets } of finding.routes) {
      console.log(`the route from ${source ?? '?'} to ${destination ?? '?'} has carried ${packets ?? 0} packets`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
