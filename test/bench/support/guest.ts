// A guest of QEMU that boots Debian's cloud kernel, for what this machine's kernel need not have: two hosts, each a network
// namespace with an Open vSwitch of its own, and on them the product's own links, bridge and controller
// (../guest/product-host.ts), so that what is measured are real hot-plug routes. Beside them, in the same run and in turn, the
// other paths of the scene. The guest's processor is emulated unless DAOLINET_BENCH_PROCESSOR says kvm: then only the ratios count.

import { spawn } from 'node:child_process';
import { buildSync } from 'esbuild';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathsOf, productOf, TITLES, type Path, type Scene } from '../guest/layout';
import type { Sample } from '../guest/measure';
import { median } from './report';
import { publish, type Result } from './results';

/** The Debian release whose cloud kernel the guest boots: trixie has Linux 6.12, bookworm 6.1. */
const KERNEL = process.env['DAOLINET_BENCH_KERNEL'] ?? 'trixie';
const FOLDER = resolve('build/guest', KERNEL);
const GUEST = resolve('test/bench/guest');
const ROUNDS: Readonly<Record<Scene, number>> = { site: 5, sites: 3 };
const TIMEOUT_MS = 1_800_000;
const MEMORY_MB = 1536;
/**
 * The emulated processors, by default with a clock that counts instructions, each of 2^shift ns: what else this machine does
 * makes the run longer, and the figures no different. Between sites the clock is faster and there are two: encrypting takes so
 * many instructions that TCP, which sends at once what takes it a millisecond, would send single packets otherwise, and
 * WireGuard hands on what it has decrypted in batches only where another processor decrypts.
 */
const COUNTED: Readonly<Record<Scene, string[]>> = { site: counted(1, 3), sites: counted(2, 0) };
const TIMED = ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2'];
const KVM = ['-accel', 'kvm', '-cpu', 'host', '-smp', '2'];
const PROCESSOR = process.env['DAOLINET_BENCH_PROCESSOR'] ?? 'counted';

type RoundSample = Sample & { readonly round: number; readonly path: Path };

interface Finding {
  readonly kernel: string;
  readonly routes: readonly { source?: string; destination?: string; packets?: number }[];
}

function counted(processors: number, shift: number): string[] {
  return [
    '-accel',
    'tcg,thread=single',
    '-icount',
    `shift=${shift},sleep=off`,
    '-cpu',
    'max',
    '-smp',
    String(processors),
  ];
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
async function makeWork(folder: string, scene: Scene): Promise<void> {
  const files = `${folder}/files`;
  mkdirSync(files);
  buildSync({
    entryPoints: [`${GUEST}/main.ts`],
    outfile: `${files}/main.cjs`,
    bundle: true,
    platform: 'node',
    target: 'node20',
    define: { ROUNDS: String(ROUNDS[scene]), SCENE: JSON.stringify(scene) },
    external: ['cpu-features', '*.node'],
    logLevel: 'warning',
  });
  cpSync(`${GUEST}/init.sh`, `${files}/init.sh`);
  await run('truncate', ['--size', '64M', `${folder}/work`], TIMEOUT_MS);
  await run('mkfs.ext4', ['-q', '-F', '-d', files, `${folder}/work`], TIMEOUT_MS);
}

async function boot(folder: string, scene: Scene): Promise<void> {
  const kernel = 'root=/dev/vda ro init=/sbin/bench console=ttyS0 quiet ipv6.disable=1 mitigations=off panic=-1';
  const drive = (file: string) => ['-drive', `file=${file},if=virtio,format=raw,snapshot=on`];
  const processors: Readonly<Record<string, string[]>> = { counted: COUNTED[scene], timed: TIMED, kvm: KVM };
  const hardware = processors[PROCESSOR];
  if (hardware === undefined)
    throw new Error(`DAOLINET_BENCH_PROCESSOR is one of ${Object.keys(processors).join(', ')}`);
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

/** What a path must have of another's, by what is measured. */
export type Bounds = Partial<
  Record<keyof Sample, Partial<Record<Path, { readonly floor: number; readonly goal?: number }>>>
>;

const MEASURES = [
  { name: 'TCP stream', key: 'tcp', unit: 'Gbit/s' },
  { name: 'packets of 18 bytes', key: 'packets', unit: '1/s' },
  { name: 'round trip, p50', key: 'roundTrip', unit: 'µs' },
] as const satisfies readonly { name: string; key: keyof Sample; unit: string }[];

/** The absolutes, and DaoliNet over each other path: the median of the rounds' ratios. */
function resultsOf(scene: Scene, samples: readonly RoundSample[], bounds: Bounds): Result[] {
  const product = productOf(scene);
  const values = (path: Path, key: keyof Sample) =>
    samples.filter((sample) => sample.path === path).map((sample) => sample[key]);
  return MEASURES.flatMap(({ name, key, unit }) => {
    const ours = values(product, key);
    return pathsOf(scene).map((path): Result => {
      const theirs = values(path, key);
      const peer = { name: `${TITLES[path]}, ${unit}`, value: median(theirs) };
      if (path === product) return { measure: name, value: median(ours), unit };
      const ratio = median(ours.map((value, round) => value / (theirs[round] ?? NaN)));
      return { measure: `  over ${TITLES[path]}`, value: ratio, unit: '×', peer, ...bounds[key]?.[path] };
    });
  });
}

async function measureScene(name: string, scene: Scene, bounds: Bounds): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  await run('bash', [`${GUEST}/image.sh`, FOLDER, KERNEL], TIMEOUT_MS);
  const folder = mkdtempSync(`${FOLDER}/run-`);
  try {
    await makeWork(folder, scene);
    await boot(folder, scene);
    const { samples, finding } = readResults(folder);
    cpSync(`${folder}/console`, `${FOLDER}/${name}.log`);
    const rounds = new Set(samples.map(({ round }) => round)).size;
    const where = scene === 'sites' ? 'two sites' : 'two hosts';
    publish(
      name,
      `containers of ${where}, kernel datapath, Linux ${finding.kernel} in QEMU (${PROCESSOR}), ${rounds} rounds`,
      resultsOf(scene, samples, bounds),
    );
    for (const { source, destination, packets } of finding.routes) {
      console.log(`the route from ${source ?? '?'} to ${destination ?? '?'} has carried ${packets ?? 0} packets`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Measures a scene in the guest and publishes it as `name`. A failure is told, and is this process's exit code. */
export function benchGuest(name: string, scene: Scene, bounds: Bounds): void {
  measureScene(name, scene, bounds).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
