// npm run test:faults: makes all faults, or those that are named, and writes what came of them into docs/reliability.md; or a soak.

import { Command } from 'commander';
import * as path from 'node:path';
import type { Fault } from './fault';
import { FAULTS, faultCalled } from './faults/all';
import { tableLine, writeTable } from './report';
import { seeded } from './seeded';
import { soak } from './soak';
import { Stage } from './stage';
import { misses, Trial, type Outcome } from './trial';

const DOCUMENT = 'docs/reliability.md';
const MINUTE_MS = 60_000;

interface Options {
  readonly hosts: string;
  readonly soak?: string;
  readonly seed: string;
  readonly log?: true;
}

/** A stage with a load that runs. */
async function start({ hosts, seed }: Options): Promise<{ stage: Stage; trial: Trial }> {
  const stage = await Stage.start(Number(hosts), seeded(Number(seed)));
  const trial = new Trial(stage);
  try {
    await trial.begin();
    return { stage, trial };
  } catch (error) {
    await stage.stop();
    throw error;
  }
}

function tell(outcome: Outcome): void {
  console.log(`${outcome.fault.name} (${outcome.victims.join(', ')})\n  ${tableLine(outcome)}`);
}

/** Each on the stage that the one before has left, where it can be used again. Resolves with how many were not as promised. */
async function makeAll(faults: readonly Fault[], options: Options): Promise<number> {
  const order = FAULTS.map(({ what }) => what);
  let set: Awaited<ReturnType<typeof start>> | undefined;
  let missed = 0;
  for (const fault of faults) {
    set ??= await start(options);
    const { stage, trial } = set;
    const outcome = await trial.run(fault);
    tell(outcome);
    writeTable(path.resolve(DOCUMENT), [outcome], order);
    if (misses(outcome).length > 0) missed += 1;
    if (options.log === true || outcome.broken.length > 0) for (const host of stage.hosts) console.log(host.log());
    if (fault.isLast === true || outcome.broken.length > 0) {
      for (const failure of trial.failures) console.log(`  ${JSON.stringify(failure)}`);
      await stage.stop();
      set = undefined;
    }
  }
  await set?.stage.stop();
  console.log(`${faults.length - missed} of ${faults.length} faults were as promised`);
  return missed;
}

async function soakFor(minutes: number, options: Options): Promise<number> {
  console.log(`${minutes} minutes, seed ${options.seed}`);
  const { stage, trial } = await start(options);
  const { outcomes, broken } = await soak(stage, trial, minutes * MINUTE_MS, (outcome, vitals) => {
    tell(outcome);
    console.log(`  ${JSON.stringify(vitals)}`);
  });
  await stage.stop();
  console.log(`${outcomes.length} faults; ${broken.length === 0 ? 'nothing was broken' : broken.join('\n')}`);
  return broken.length;
}

async function main(): Promise<number> {
  const command = new Command('npm run test:faults --')
    .description('breaks things on emulated hosts with a load, and says what came of it')
    .argument('[names...]', `some faults: ${FAULTS.map(({ name }) => name).join(', ')}`)
    .option('--hosts <n>', 'how many', '3')
    .option('--soak <minutes>', 'faults by chance for so long')
    .option('--seed <n>', 'what chance begins with', String(Date.now() % 100_000))
    .option('--log', 'show the last lines of the hosts’ logs after each fault')
    .parse();
  const options = command.opts<Options>();
  if (options.soak !== undefined) return soakFor(Number(options.soak), options);
  return makeAll(command.args.length === 0 ? FAULTS : command.args.map(faultCalled), options);
}

main().then(
  (count) => process.exit(count === 0 ? 0 : 1),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
