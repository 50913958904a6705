// The command line of the lab. The hosts live in a process of their own (serve.ts), since they end with the one that started them;
// every command but `exec` is one call to it.

import { Command, CommanderError } from 'commander';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { ApiClient, ApiError } from '../src/cli/api-client';
import { table } from '../src/cli/table';
import { KILLABLE, LAB_FOLDER, LAB_SOCKET, serve, type LabHost, type LabRequest } from './serve';
import { hostNames, parseSites, siteRequests } from './site-requests';

/** Where a command can run. */
type Place = Pick<LabHost, 'enter' | 'environment'> & Partial<Pick<LabHost, 'daolictl'>>;

/** What lies between the sites, for `exec`. */
const INTERNET = 'internet';
/** The plugin is built at the first time, which takes longest. */
const UP_MS = 900_000;
const print = (text: string) => void process.stdout.write(`${text}\n`);
const lab = () => new ApiClient({ kind: 'unix', path: LAB_SOCKET, host: undefined });

async function hosts(): Promise<LabHost[]> {
  return lab()
    .get<LabHost[]>('/hosts')
    .catch(() => {
      throw new Error('no lab is there: npm run lab -- up');
    });
}

interface UpOptions {
  readonly hosts?: string;
  readonly sites?: string;
  readonly nat: readonly string[];
  /** --no-l2, which commander takes for the opposite of an option --l2. */
  readonly l2: readonly string[];
  readonly dropMacs: readonly string[];
  readonly hub: readonly string[];
  readonly bare?: true;
}

/** What is asked for, and what the hosts will be called. */
function request({
  hosts: count,
  sites: text,
  nat,
  l2,
  dropMacs,
  hub,
  bare,
}: UpOptions): LabRequest & { names: string[] } {
  const areBare = bare === true;
  if (text !== undefined) {
    if (count !== undefined) throw new Error('give --hosts or --sites: the sites say how many hosts they have');
    const sites = parseSites(text);
    const names = siteRequests(sites, { nat, noL2: l2, dropMacs }).flatMap(hostNames);
    const unknown = hub.find((name) => !names.includes(name));
    if (unknown !== undefined) throw new Error(`there is no host ${unknown}; there are ${names.join(', ')}`);
    return { hosts: names.length, sites, nat, noL2: l2, dropMacs, hubs: hub, areBare, names };
  }
  if (nat.length + l2.length + dropMacs.length + hub.length > 0)
    throw new Error('--nat, --no-l2, --drop-macs and --hub are for --sites');
  const given = count ?? '3';
  if (!/^[1-9]\d?$/.test(given)) throw new Error(`--hosts ${given}: give a number from 1 to 99`);
  return { hosts: Number(given), areBare, names: Array.from({ length: Number(given) }, (_, index) => `h${index + 1}`) };
}

async function up(options: UpOptions): Promise<void> {
  const { names, ...asked } = request(options);
  if (await isThere()) throw new Error('a lab is there already: npm run lab -- down takes it away');
  mkdirSync(LAB_FOLDER, { recursive: true });
  const logPath = path.join(LAB_FOLDER, 'log');
  const log = openSync(logPath, 'w');
  const child = spawn(process.execPath, [process.argv[1] ?? '', 'serve', JSON.stringify(asked)], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  let ended = false;
  child.once('exit', () => (ended = true));
  const note = asked.areBare === true ? '' : ' (at the first time the plugin is built, which takes a minute or two)';
  print(`starting ${names.length} hosts${note}`);
  const start = Date.now();
  while (!(await isThere())) {
    if (ended || Date.now() - start > UP_MS)
      throw new Error(`the lab did not start:\n${readFileSync(logPath, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  child.unref();
  print(`up in ${Math.round((Date.now() - start) / 1000)} s\n`);
  await status();
  if (asked.areBare !== true) sayNext(names);
}

function sayNext(names: readonly string[]): void {
  const [first = '', second = first] = names;
  print(`
Go on with
  npm run lab -- exec ${first} docker network create -d daolinet demo
  npm run lab -- exec ${first} docker run -d --name web --network demo busybox sleep 3600
  npm run lab -- exec ${second} docker run --rm --network demo busybox traceroute -n ADDRESS-OF-WEB
  npm run lab -- exec ${first} daolictl host ls
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
  const all = await hosts();
  const hasSites = all.some(({ place }) => place !== undefined);
  const rows = all.map(({ name, place, address, daemons, cut }) => [
    name,
    ...(hasSites ? [place?.site ?? '', address, place?.seen === address ? '-' : (place?.seen ?? '')] : [address]),
    ...KILLABLE.map((daemon) => (daemons.includes(daemon) ? 'up' : 'down')),
    cut.join(' ') || '-',
  ]);
  const head = hasSites ? ['HOST', 'SITE', 'ADDRESS', 'NAT'] : ['HOST', 'ADDRESS'];
  print(table([...head, ...KILLABLE.map((daemon) => daemon.toUpperCase()), 'CUT FROM'], rows));
}

async function hostCalled(name: string): Promise<LabHost> {
  const all = await hosts();
  const host = all.find((each) => each.name === name);
  if (host !== undefined) return host;
  throw new Error(`there is no host ${name}; there are ${all.map((each) => each.name).join(', ')}`);
}

/** Runs a command on a host, or between the sites, with this terminal. Its exit code is this one's. */
async function exec(name: string, command: readonly string[]): Promise<void> {
  const host: Place = name === INTERNET ? await lab().get<Place>('/internet') : await hostCalled(name);
  const { daolictl = [] } = host;
  const isOwn = command[0] === 'daolictl' && daolictl.length > 0;
  const [program = '', ...args] = isOwn ? [...daolictl, ...command.slice(1)] : [...host.enter, ...command];
  const { status: code, error } = spawnSync(program, args, {
    stdio: 'inherit',
    ...(isOwn ? {} : { env: host.environment, cwd: '/' }),
  });
  if (error !== undefined) throw error;
  process.exitCode = code ?? 1;
}

/** For an option that takes names with commas between, once or several times. */
function names(text: string, before: readonly string[]): string[] {
  return [...before, ...text.split(',')];
}

function program(): Command {
  const npm = new Command('npm run lab --')
    .description('a DaoliNet cluster of emulated hosts on this machine')

    .exitOverride()
    .enablePositionalOptions();
  npm
    .command('up')
    .description('start the hosts, and make one cluster of them')
    .option('--hosts <n>', 'how many, on one L2 (default: 3)')
    .option('--sites <list>', 'at several sites instead: dc:2,cloud:1,home:1 makes dc1, dc2, cloud1 and home1')
    .option('--nat <sites>', 'sites behind NAT', names, [])
    .option('--no-l2 <sites>', 'sites that pass no frames but those from and to the hosts’ own interfaces', names, [])
    .option('--drop-macs <sites>', 'the same, and the hosts are not told: they find that out', names, [])
    .option('--hub <hosts>', 'hosts that others are reached through', names, [])
    .option('--bare', 'hosts with a network alone: no Docker, no Open vSwitch, no plugin, no cluster')
    .action(up);
  npm
    .command('exec <host> <command...>')
    .description('run a command on a host, daolictl too; or on “internet”, which lies between sites')
    .passThroughOptions()
    .action((host: string, command: string[]) => exec(host, command));
  npm.command('status').description('which hosts there are, and what runs on them').action(status);
  npm
    .command('cut <host> <other>')
    .description('let nothing pass between two hosts, or all hosts of a site')
    .option('--one-way', 'from the first to the other alone')
    .action(async (host: string, other: string, { oneWay: isOneWay = false }: { oneWay?: boolean }) => {
      await lab().post('/cut', { host, other, isOneWay });
      const way = isOneWay ? `from ${host} to ${other}` : `between ${host} and ${other}`;
      print(`nothing passes ${way}, until npm run lab -- heal`);
    });
  npm
    .command('heal')
    .description('let everything pass again')
    .action(async () => {
      await lab().post('/heal', {});
      print('everything passes again');
    });
  npm
    .command('roam <host> [site]')
    .description('give the NAT that a host is behind another public address, or take the host to another site')
    .action(async (host: string, site?: string) => {
      const now = await lab().post<{ site: string; address: string; seen: string }>('/roam', { host, site });
      print(`${host} is at ${now.site}, ${now.address}, and others see ${now.seen}`);
    });
  npm
    .command('link <where>')
    .description('change what the wire of a host is like, or between a site and the internet, until heal')
    .option('--loss <percent>', 'so many of a hundred packets get lost, either way', Number)
    .option('--mtu <bytes>', 'the largest packet, of sites', Number)
    .option('--delay <ms>', 'how much later each frame comes, either way, of hosts on one L2', Number)
    .action(async (site: string, { loss, mtu, delay }: { loss?: number; mtu?: number; delay?: number }) => {
      await lab().post('/link', { site, lossPercent: loss, mtu, delayMs: delay });
      print(`the link of ${site} has changed, until npm run lab -- heal`);
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
  npm.command('serve <request>', { hidden: true }).action(async (asked: string) => {
    await serve(JSON.parse(asked) as LabRequest);
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
