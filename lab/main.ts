// The command line of the lab. The hosts live in a process of their own (serve.ts), since they end with the one that started them;
// every command but `exec` is one call to it.

import { Command, CommanderError } from 'commander';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { ApiClient, ApiError } from '../src/cli/api-client';
import { table } from '../src/cli/table';
import { KILLABLE, LAB_FOLDER, LAB_SOCKET, serve, type LabHost } from './serve';

/** The plugin is built at the first time, which takes longest. */
const UP_MS = 900_000;
const print = (text: string) => void process.stdout.write(`${text}\n`);
const lab = () => new ApiClient(LAB_SOCKET);

async function hosts(): Promise<LabHost[]> {
  return lab()
    .get<LabHost[]>('/hosts')
    .catch(() => {
      throw new Error('no lab is there: npm run lab -- up');
    });
}

async function up({ hosts: count }: { hosts: string }): Promise<void> {
  if (!/^[1-9]\d?$/.test(count)) throw new Error(`--hosts ${count}: give a number from 1 to 99`);
  if (await isThere()) throw new Error('a lab is there already: npm run lab -- down takes it away');
  mkdirSync(LAB_FOLDER, { recursive: true });
  const logPath = path.join(LAB_FOLDER, 'log');
  const log = openSync(logPath, 'w');
  const child = spawn(process.execPath, [process.argv[1] ?? '', 'serve', count], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let ended = false;
  child.once('exit', () => (ended = true));
  print(`starting ${count} hosts (at the first time the plugin is built, which takes a minute or two)`);
  const start = Date.now();
  while (!(await isThere())) {
    if (ended || Date.now() - start > UP_MS)
      throw new Error(`the lab did not start:\n${readFileSync(logPath, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  child.unref();
  print(`up in ${Math.round((Date.now() - start) / 1000)} s\n`);
  await status();
  print(`
Go on with
  npm run lab -- exec h1 docker network create -d daolinet demo
  npm run lab -- exec h1 docker run -d --name web --network demo busybox sleep 3600
  npm run lab -- exec ${count === '1' ? 'h1' : 'h2'} docker run --rm --network demo busybox traceroute -n ADDRESS-OF-WEB
  npm run lab -- exec h1 daolictl host ls
  npm run lab -- down`);
}

async function isThere(): Promise<boolean> {
  return lab()
    .get('/hosts')
    .then(
      () => true,
      () => false,
    );
}

async function status(): Promise<void> {
  const rows = (await hosts()).map(({ name, address, daemons, cut }) => [
    name,
    address,
    ...KILLABLE.map((daemon) => (daemons.includes(daemon) ? 'up' : 'down')),
    cut.join(' ') || '-',
  ]);
  print(table(['HOST', 'ADDRESS', ...KILLABLE.map((daemon) => daemon.toUpperCase()), 'CUT FROM'], rows));
}

/** Runs a command on a host, with this terminal. Its exit code is this one's. */
async function exec(name: string, command: readonly string[]): Promise<void> {
  const all = await hosts();
  const host = all.find((each) => each.name === name);
  if (host === undefined)
    throw new Error(`there is no host ${name}; there are ${all.map((each) => each.name).join(', ')}`);
  const isOwn = command[0] === 'daolictl';
  const [program = '', ...args] = isOwn ? [...host.daolictl, ...command.slice(1)] : [...host.enter, ...command];
  const { status: code, error } = spawnSync(program, args, {
    stdio: 'inherit',
    ...(isOwn ? {} : { env: host.environment, cwd: '/' }),
  });
  if (error !== undefined) throw error;
  process.exitCode = code ?? 1;
}

function program(): Command {
  const npm = new Command('npm run lab --')
    .description('a DaoliNet cluster of emulated hosts on this machine')

    .exitOverride()
    .enablePositionalOptions();
  npm
    .command('up')
    .description('start the hosts, and make one cluster of them')
    .option('--hosts <n>', 'how many', '3')
    .action(up);
  npm
    .command('exec <host> <command...>')
    .description('run a command on a host; daolictl too')
    .passThroughOptions()
    .action((host: string, command: string[]) => exec(host, command));
  npm.command('status').description('which hosts there are, and what runs on them').action(status);
  npm
    .command('cut <host> <other>')
    .description('let no frame pass between two hosts')
    .action(async (host: string, other: string) => {
      await lab().post('/cut', { host, other });
      print(`nothing passes between ${host} and ${other}, until npm run lab -- heal`);
    });
  npm
    .command('heal')
    .description('let everything pass again')
    .action(async () => {
      await lab().post('/heal', {});
      print('everything passes again');
    });
  npm
    .command('kill <host> <daemon>')
    .description(`end ${KILLABLE.join(', ')} as a crash would, and start it again`)
    .action(async (host: string, daemon: string) => {
      await lab().post('/kill', { host, daemon });
      print(`${daemon} of ${host} was killed, and runs again`);
    });
  npm
    .command('down')
    .description('end the hosts; nothing of them stays')
    .action(async () => {
      await hosts();
      await lab().post('/down', {});
      print('down');
    });
  npm.command('serve <hosts>', { hidden: true }).action(async (count: string) => {
    await serve(Number(count));
    process.exit(0); // whatever else would keep it
  });
  return npm;
}

async function main(): Promise<void> {
  try {
    await program().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else {
      const text = error instanceof Error ? error.message : String(error);
      process.stderr.write(
        `lab: ${error instanceof ApiError ? text.replace(/: is the plugin enabled.*$/, '') : text}\n`,
      );
      process.exitCode = 1;
    }
  }
}

void main();
