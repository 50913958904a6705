// daolictl cluster …: begin a cluster, join one, look at it.

import { Option, type Command } from 'commander';
import { createInterface } from 'node:readline/promises';
import type { ClusterStatus, JoinToken } from '../../api/operations/cluster';
import { ApiError, type ApiClient } from '../api-client';
import { withExamples, type CommandContext } from '../command-context';
import { DAEMON_JSON, editDaemonJson } from '../daemon-json';
import { table } from '../table';
import { addEntryOptions, addL2Options, entryOf, l2Of, type EntryOptions, type L2Option } from './entry-options';
import { hostTable, linesBelow } from './host-commands';
import { recoveryCommands } from './recovery-commands';

const RESTART_MS = 30_000;

interface JoinOptions extends EntryOptions {
  readonly daemonJson: string;
}

interface InitOptions extends JoinOptions {
  readonly approve?: boolean;
}

/** A join that waits for a yes; see src/cluster/approval.ts. */
const APPROVAL_MS = 10 * 60_000;
const ASK_AGAIN_MS = 2_000;

export function clusterCommands(daolictl: Command, context: CommandContext): void {
  const cluster = daolictl.command('cluster').description('begin a cluster, join one, look at it');
  addBeginnings(cluster, context);
  addServers(cluster, context);
  recoveryCommands(cluster, context, { startingAnew, whenApproved });
  withExamples(cluster.command('status'), 'daolictl cluster status', 'daolictl --output json cluster status')
    .description('show what this host knows of its cluster')
    .action(
      context.action(async () => {
        const value = await context.client().get<ClusterStatus>('/v1/cluster');
        return { value, text: statusText(value) };
      }),
    );
  const set = withExamples(
    cluster.command('set'),
    'daolictl cluster set --endpoint 203.0.113.10:7471',
    'daolictl cluster set --no-endpoint',
    'daolictl cluster set --no-l2',
    'daolictl cluster set --l2 auto',
  );
  addL2Options(set)
    .description('say how other hosts reach this one')
    .option('--endpoint <address>', 'where other sites reach its tunnel, as ADDRESS or ADDRESS:PORT (UDP)')
    .option('--no-endpoint', 'they do not: it is behind NAT')
    .action(
      context.action(async ({ endpoint, l2 }: { endpoint?: string | false; l2?: L2Option }) => {
        const api = context.client();
        const body = { endpoint: endpoint === false ? null : endpoint, l2: l2Of(l2) };
        const value = await startingAnew(api, () => api.put('/v1/cluster/tunnel', body));
        return { value, text: 'This host tells the others so.' };
      }),
    );
  withExamples(cluster.command('rotate'), 'daolictl cluster rotate')
    .description('get this host a new certificate now; by itself it does so when a third of its 30 days is left')
    .action(
      context.action(async () => {
        const api = context.client();
        const value = await startingAnew(api, () => api.post('/v1/cluster/rotate', {}));
        return { value, text: 'This host has a new certificate; the one before opens no door any more.' };
      }),
    );
  withExamples(cluster.command('rotate-keys'), 'daolictl cluster rotate-keys')
    .description('make another key for this host’s tunnel; connections through it go on')
    .action(
      context.action(async () => {
        const value = await context.client().post('/v1/cluster/rotateKeys', {});
        return { value, text: 'This host’s tunnel has another key.' };
      }),
    );
  withExamples(cluster.command('leave'), 'daolictl cluster leave')
    .description('be alone again, on a host that was removed from its cluster')
    .action(
      context.action(async () => {
        const api = context.client();
        const value = await startingAnew(api, () => api.post('/v1/cluster/leave', {}));
        return { value, text: 'This host is in no cluster any more.' };
      }),
    );
}

function addBeginnings(cluster: Command, context: CommandContext): void {
  const init = withExamples(
    cluster.command('init'),
    'daolictl cluster init',
    'daolictl cluster init --address 192.0.2.1',
    'daolictl cluster init --site dc --hub --endpoint 203.0.113.10',
  )
    .description('make this host the first of a cluster; its networks stay')
    .option('--address <ip>', 'the address by which the others reach this host (default: that of the default route)')
    .option('--encrypt', 'encrypt packets inside of its site, too; so do hosts that join later')
    .option('--approve', 'the host that comes with the token waits until somebody here says yes')
    .addOption(daemonJsonOption());
  addEntryOptions(init).action(
    context.action(async ({ daemonJson, approve, ...options }: InitOptions) => {
      const api = context.client();
      const made = await startingAnew(api, () =>
        api.post<JoinToken>('/v1/cluster/init', { ...entryOf(options), needsApproval: approve }),
      );
      context.say('This host is the first of a cluster. To let another in, run there:');
      context.say(joinText(made));
      const { cluster } = await api.get<ClusterStatus>('/v1/cluster');
      return { value: made, text: await settleNames(context, cluster?.dns ?? '', daemonJson) };
    }),
  );
  withExamples(cluster.command('token'), 'daolictl cluster token', 'daolictl cluster token --approve')
    .description('make a token that lets one host join, within a day; those before are no good any more')
    .option('--approve', 'the host that comes with it waits until somebody here says yes')
    .action(
      context.action(async ({ approve }: { approve?: boolean }) => {
        const value = await context.client().post<JoinToken>('/v1/cluster/token', { needsApproval: approve });
        return { value, text: `On the host that is to join, run:\n${joinText(value)}` };
      }),
    );
  const join = withExamples(
    cluster.command('join <token>'),
    'daolictl cluster join daolinet-eyJzZXJ…',
    'daolictl cluster join daolinet-eyJzZXJ… --site home',
  )
    .description('join the cluster that the token is of; this host must have no networks of its own')
    .option(
      '--address <ip>',
      'the address by which the others reach this host (default: that of the way to the cluster)',
    )
    .option('--encrypt', 'encrypt packets inside of its site, too (default: as the server that lets it in)')
    .option('--no-encrypt', 'do not encrypt packets inside of its site')
    .addOption(daemonJsonOption());
  addEntryOptions(join).action(
    context.action(async (token: string, { daemonJson, ...options }: JoinOptions) => {
      const api = context.client();
      const body = { token, ...entryOf(options) };
      await startingAnew(api, () => whenApproved(context, () => api.post('/v1/cluster/join', body)));
      const status = await api.get<ClusterStatus>('/v1/cluster');
      const isNatted = status.cluster?.endpoint === null;
      const nat = isNatted ? ' It is behind NAT: it reaches others, and is reached through what it keeps open.' : '';
      context.say(`This host is one of a cluster of ${status.hosts.length}.${nat}`);
      return { value: status, text: await settleNames(context, status.cluster?.dns ?? '', daemonJson) };
    }),
  );
}

/** Asks to be let in, once somebody on a server has said yes where that is needed. */
async function whenApproved(
  context: CommandContext,
  ask: () => Promise<{ readonly isWaiting: boolean }>,
): Promise<void> {
  const end = Date.now() + APPROVAL_MS;
  for (let isFirst = true; ; isFirst = false) {
    const { isWaiting } = await ask();
    if (!isWaiting) return;
    if (isFirst) {
      context.say('Waiting for somebody to say yes, with `daolictl host approve` on a server; at most ten minutes.');
    }
    if (Date.now() > end) throw new ApiError('nobody has said yes within ten minutes; this host is in no cluster');
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

function addServers(cluster: Command, context: CommandContext): void {
  const pathOf = (host: string) => `/v1/cluster/servers/${encodeURIComponent(host)}`;
  withExamples(cluster.command('promote <host>'), 'daolictl cluster promote h4')
    .description('let another host serve the directory, too; of three servers one can be lost, of five two')
    .action(
      context.action(async (host: string) => {
        const value = await context.client().put(pathOf(host));
        return { value, text: `Host ${host} serves the directory, too.` };
      }),
    );
  withExamples(cluster.command('demote <host>'), 'daolictl cluster demote h3')
    .description('make a server a client of the others')
    .action(
      context.action(async (host: string) => {
        const api = context.client();
        const value = await api.delete(pathOf(host));
        const left = serversLine(await api.get<ClusterStatus>('/v1/cluster'));
        return { value, text: `Host ${host} serves the directory no more.\n${left}` };
      }),
    );
}

function statusText(status: ClusterStatus): string {
  if (status.cluster === null) return 'This host is in no cluster. `daolictl cluster init` begins one.';
  const { head, rows } = hostTable(status.hosts);
  return [
    serversLine(status),
    siteLine(status.cluster),
    `names: ${status.cluster.dns}`,
    `directory: ${status.connected ? 'connected' : 'away; routes go on, and new ones between known containers'}`,
    table(head, rows),
    ...linesBelow(status),
  ].join('\n');
}

function siteLine({ site, endpoint }: NonNullable<ClusterStatus['cluster']>): string {
  const reached = endpoint === null ? 'this host is behind NAT' : `other sites reach this host at ${endpoint}`;
  return `site: ${site}; ${reached}`;
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

function joinText({ token }: JoinToken): string {
  return `\n  daolictl cluster join ${token}\n\nIt is good for one host, and for a day.`;
}

/** What becomes of daemon.json: asked where somebody is there to answer, else left alone. */
function daemonJsonOption(): Option {
  return new Option('--daemon-json <answer>', `whether to name the agent as a DNS server in ${DAEMON_JSON}`)
    .choices(['ask', 'yes', 'no'])
    .default('ask');
}

/** Docker's own resolver knows the containers of its host alone, and asks others only where it is told. */
async function settleNames(context: CommandContext, dns: string, wanted: string): Promise<string> {
  const lines = [
    `\nFor names of containers on other hosts, Docker has to ask ${dns}: with docker run --dns ${dns},`,
    `or for all containers with "dns": ["${dns}", …the servers that you use] in ${DAEMON_JSON}.`,
  ].join('\n');
  // Another agent's settings are not this machine's.
  const isThere = context.isOwnAgent() && !context.isJson() && process.stdin.isTTY && process.stdout.isTTY;
  if (!context.isThisHost()) return lines;
  if (wanted === 'no' || (wanted === 'ask' && !isThere)) return lines;
  context.say(lines);
  const isWanted = wanted === 'yes' || (await isYes(`Write that into ${DAEMON_JSON}? [y/N] `));
  if (!isWanted) return `${DAEMON_JSON} is as it was.`;
  return editDaemonJson(dns)
    ? `${DAEMON_JSON} says so now; it holds when Docker is restarted.`
    : `${DAEMON_JSON} says so already.`;
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
