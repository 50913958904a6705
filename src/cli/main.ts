// daolictl: each command is one call of the agent's API on this host. It prints what a person reads, or JSON, and ends with 0, with 1
// where the agent refuses, and with 2 where the command itself is wrong.

import { Command, CommanderError, Option } from 'commander';
import { createInterface } from 'node:readline/promises';
import type { ClusterStatus, ShownHost } from '../cluster/cluster';
import { ApiClient, ApiError } from './api-client';
import { DAEMON_JSON, editDaemonJson } from './daemon-json';
import { swarmCommands } from './swarm-commands';
import { table } from './table';

const DEFAULT_SOCKET = '/run/daolinet/api.sock';
const RESTART_MS = 30_000;

const print = (text: string) => void process.stdout.write(`${text}\n`);

function program(): Command {
  const daolictl = new Command('daolictl')
    .description('DaoliNet: networks of containers, on one host or many')
    .option('--socket <path>', 'the socket of the agent', process.env['DAOLINET_SOCKET'] ?? DEFAULT_SOCKET)
    .addOption(new Option('--output <form>', 'how to print').choices(['table', 'json']).default('table'))
    .showHelpAfterError('(daolictl --help lists the commands)')
    .exitOverride();
  clusterCommands(daolictl);
  hostCommands(daolictl);
  swarmCommands(daolictl, { client: () => clientOf(daolictl), isJson: () => isJson(daolictl), print });
  return daolictl;
}

function clusterCommands(daolictl: Command): void {
  const cluster = daolictl.command('cluster').description('begin a cluster, join one, look at it');
  cluster
    .command('init')
    .description('make this host the first of a cluster; its networks stay')
    .option('--address <ip>', 'the address by which the others reach this host (default: that of the default route)')
    .addOption(daemonJsonOption())
    .addHelpText('after', '\nExample:\n  daolictl cluster init --address 192.0.2.1')
    .action(async ({ address, daemonJson }: { address?: string; daemonJson: string }) => {
      const api = clientOf(daolictl);
      const { token } = await startingAnew(api, () => api.post<{ token: string }>('/v1/cluster/init', { address }));
      print('This host is the first of a cluster. To let another in, run there:');
      printJoin(token);
      const { cluster } = await api.get<ClusterStatus>('/v1/cluster');
      await settleNames(daolictl, cluster?.dns ?? '', daemonJson);
    });
  cluster
    .command('token')
    .description('make a token that lets one host join, within a day; those before are no good any more')
    .action(async () => {
      const { token } = await clientOf(daolictl).post<{ token: string }>('/v1/cluster/token', {});
      print('On the host that is to join, run:');
      printJoin(token);
    });
  cluster
    .command('join <token>')
    .description('join the cluster that the token is of; this host must have no networks of its own')
    .option(
      '--address <ip>',
      'the address by which the others reach this host (default: that of the way to the cluster)',
    )
    .addOption(daemonJsonOption())
    .addHelpText('after', '\nExample:\n  daolictl cluster join daolinet-eyJzZXJ…')
    .action(async (token: string, { address, daemonJson }: { address?: string; daemonJson: string }) => {
      const api = clientOf(daolictl);
      await startingAnew(api, () => api.post('/v1/cluster/join', { token, address }));
      const { hosts, cluster } = await api.get<ClusterStatus>('/v1/cluster');
      print(`This host is one of a cluster of ${hosts.length}.`);
      await settleNames(daolictl, cluster?.dns ?? '', daemonJson);
    });
  cluster
    .command('status')
    .description('show what this host knows of its cluster')
    .action(async () => {
      const status = await clientOf(daolictl).get<ClusterStatus>('/v1/cluster');
      if (isJson(daolictl)) return print(JSON.stringify(status, null, 2));
      if (status.cluster === null) return print('This host is in no cluster. `daolictl cluster init` begins one.');
      print(serversLine(status));
      print(`names: ${status.cluster.dns}`);
      print(
        `directory: ${status.connected ? 'connected' : 'away; routes go on, and new ones between known containers'}`,
      );
      print(hostTable(status.hosts));
    });
  cluster
    .command('promote <host>')
    .description('let another host serve the directory, too; of three servers one can be lost, of five two')
    .addHelpText('after', '\nExample:\n  daolictl cluster promote h4')
    .action(async (host: string) => {
      await clientOf(daolictl).put(`/v1/cluster/servers/${encodeURIComponent(host)}`);
      print(`Host ${host} serves the directory, too.`);
    });
  cluster
    .command('demote <host>')
    .description('make a server a client of the others')
    .addHelpText('after', '\nExample:\n  daolictl cluster demote h3')
    .action(async (host: string) => {
      const api = clientOf(daolictl);
      await api.delete(`/v1/cluster/servers/${encodeURIComponent(host)}`);
      print(`Host ${host} serves the directory no more.`);
      print(serversLine(await api.get<ClusterStatus>('/v1/cluster')));
    });
  cluster
    .command('rotate')
    .description('get this host a new certificate now; by itself it does so when a third of its 30 days is left')
    .action(async () => {
      const api = clientOf(daolictl);
      await startingAnew(api, () => api.post('/v1/cluster/rotate', {}));
      print('This host has a new certificate; the one before opens no door any more.');
    });
  cluster
    .command('leave')
    .description('be alone again, on a host that was removed from its cluster')
    .action(async () => {
      const api = clientOf(daolictl);
      await startingAnew(api, () => api.post('/v1/cluster/leave', {}));
      print('This host is in no cluster any more.');
    });
}

function hostCommands(daolictl: Command): void {
  const host = daolictl.command('host').description('the hosts of the cluster');
  host
    .command('ls')
    .description('list them')
    .action(async () => {
      const { hosts } = await clientOf(daolictl).get<ClusterStatus>('/v1/cluster');
      print(isJson(daolictl) ? JSON.stringify(hosts, null, 2) : hostTable(hosts));
    });
  host
    .command('rm <name>')
    .description('put a host out of the cluster, with its containers’ endpoints and addresses')
    .addHelpText('after', '\nExample:\n  daolictl host rm h3')
    .action(async (name: string) => {
      await clientOf(daolictl).delete(`/v1/cluster/hosts/${encodeURIComponent(name)}`);
      print(`Host ${name} is out of the cluster. On it, \`daolictl cluster leave\` makes it one of its own.`);
    });
}

function hostTable(hosts: readonly ShownHost[]): string {
  return table(
    ['HOST', 'ADDRESS', 'ROLE', 'LOCATORS', 'ENDPOINTS'],
    hosts.map(({ name, address, isServer, member, isThis, locators, endpoints }) => [
      isThis ? `${name} (this)` : name,
      address ?? '-',
      isServer ? `server${member === null || member === 'follower' ? '' : ` (${member})`}` : 'client',
      locators.join(' '),
      String(endpoints ?? '-'),
    ]),
  );
}

/** Raft goes on as long as more than half of the servers do. */
function serversLine({ hosts, cluster }: ClusterStatus): string {
  const servers = hosts.filter(({ isServer }) => isServer);
  // On a client that is not known of each.
  const serving = servers.filter(({ member }) => member !== 'joining').length;
  const most = Math.floor((cluster?.servers.length ?? 0) / 2) + 1;
  const spare = Math.max(0, serving - most);
  const names = servers.map(({ name }) => name);
  const word = spare === 0 ? 'none can be lost' : `${spare} can be lost`;
  return `servers: ${names.join(', ')} (${word})`;
}

function printJoin(token: string): void {
  print(`\n  daolictl cluster join ${token}\n`);
  print('It is good for one host, and for a day.');
}

/** What becomes of daemon.json: asked where somebody is there to answer, else left alone. */
function daemonJsonOption(): Option {
  return new Option('--daemon-json <answer>', `whether to name the agent as a DNS server in ${DAEMON_JSON}`)
    .choices(['ask', 'yes', 'no'])
    .default('ask');
}

/** Docker's own resolver knows the containers of its host alone, and asks others only where it is told. */
async function settleNames(daolictl: Command, dns: string, wanted: string): Promise<void> {
  print(`\nFor names of containers on other hosts, Docker has to ask ${dns}: with docker run --dns ${dns},`);
  print(`or for all containers with "dns": ["${dns}", …the servers that you use] in ${DAEMON_JSON}.`);
  // Another agent's settings are not this machine's.
  const isOwn = daolictl.opts<{ socket: string }>().socket === DEFAULT_SOCKET;
  if (wanted === 'no' || (wanted === 'ask' && !(isOwn && process.stdin.isTTY && process.stdout.isTTY))) return;
  if (wanted === 'ask' && !(await isYes(`Write that into ${DAEMON_JSON}? [y/N] `))) return;
  const isChanged = editDaemonJson(dns);
  print(
    isChanged ? `${DAEMON_JSON} says so now; it holds when Docker is restarted.` : `${DAEMON_JSON} says so already.`,
  );
}

async function isYes(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await terminal.question(question)).trim());
  } finally {
    terminal.close();
  }
}

/** Does something after which the agent starts anew with what it has written down, and waits until it is back. */
async function startingAnew<T>(api: ApiClient, change: () => Promise<T>): Promise<T> {
  const { startedAt } = await api.get<ClusterStatus>('/v1/cluster');
  const result = await change();
  const end = Date.now() + RESTART_MS;
  for (;;) {
    const status = await api.get<ClusterStatus>('/v1/cluster').catch(() => undefined);
    if (status !== undefined && status.startedAt !== startedAt && status.connected) return result;
    if (Date.now() > end) {
      throw new ApiError(`the agent did not come back within ${RESTART_MS / 1000} s: see its lines in dockerd's log`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function clientOf(daolictl: Command): ApiClient {
  return new ApiClient(daolictl.opts<{ socket: string }>().socket);
}

function isJson(daolictl: Command): boolean {
  return daolictl.opts<{ output: string }>().output === 'json';
}

async function main(): Promise<number> {
  try {
    await program().parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`daolictl: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

void main().then((status) => (process.exitCode = status));
