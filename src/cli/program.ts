// The commands of daolictl, area by area. Each command is one call of the agent's API on this host, or a few. A new area is a
// file in commands/ and a line here.

import { Command, Option } from 'commander';
import { messageOf } from '../base/errors';
import { ApiClient } from './api-client';
import { createContext, type CommandContext } from './command-context';
import { apiCommands } from './commands/api-commands';
import { captureCommand } from './commands/capture-command';
import { clusterCommands } from './commands/cluster-commands';
import { completionCommands } from './commands/completion-commands';
import { doctorCommand } from './commands/doctor-command';
import { dropsCommand } from './commands/drops-command';
import { firewallCommands } from './commands/firewall-commands';
import { groupCommands } from './commands/group-commands';
import { containerCommands } from './commands/container-commands';
import { hostCommands } from './commands/host-commands';
import { pairCommands } from './commands/pair-commands';
import { policyCommands } from './commands/policy-commands';
import { routeCommands } from './commands/route-commands';
import { statusCommand } from './commands/status-command';
import { swarmCommands } from './commands/swarm-commands';
import { traceCommand } from './commands/trace-command';
import { webCommands } from './commands/web-commands';
import { DEFAULT_SOCKET, parseTarget, TLS_FILES, type Target, type TargetOptions } from './target';

/** An agent that starts anew, as one that was just made a client, has no socket meanwhile. */
const AGENT_RESTART_MS = 5_000;

const AREAS: readonly ((daolictl: Command, context: CommandContext) => void)[] = [
  statusCommand,
  clusterCommands,
  containerCommands,
  hostCommands,
  apiCommands,
  completionCommands,
  swarmCommands,
  groupCommands,
  pairCommands,
  policyCommands,
  routeCommands,
  traceCommand,
  captureCommand,
  dropsCommand,
  doctorCommand,
  firewallCommands,
  webCommands,
];

const EXIT_CODES = `
Exit codes:
  0   done
  1   the agent refused, or cannot be reached
  2   the command itself is wrong`;

interface GlobalOptions extends TargetOptions {
  readonly output: 'table' | 'json';
}

/** `write` gets what commands print. Parsing throws CommanderError for what is wrong with the command itself. */
export function createProgram(write: (text: string) => void): Command {
  const daolictl = new Command('daolictl')
    .description('DaoliNet: networks of containers, on one host or many')
    .addOption(
      new Option('--host <host>', 'whose agent: a host of the cluster, unix:///PATH, or tcp://ADDRESS:PORT').env(
        'DAOLINET_HOST',
      ),
    )
    .addOption(
      new Option('--tls <folder>', `with ${Object.values(TLS_FILES).join(', ')}, for tcp://`).env('DAOLINET_TLS'),
    )
    .addOption(new Option('--socket <path>').env('DAOLINET_SOCKET').default(DEFAULT_SOCKET).hideHelp())
    .addOption(new Option('--output <form>', 'how to print').choices(['table', 'json']).default('table'))
    .addHelpText('after', EXIT_CODES)
    .showHelpAfterError('(daolictl --help lists the commands)')
    .exitOverride();
  const options = () => daolictl.opts<GlobalOptions>();
  const context = createContext({
    client: () => new ApiClient(targetOf(daolictl), AGENT_RESTART_MS),
    isJson: () => options().output === 'json',
    isOwnAgent: () => options().socket === DEFAULT_SOCKET && options().host === undefined,
    isThisHost: () => options().host === undefined,
    write,
  });
  for (const add of AREAS) add(daolictl, context);
  return daolictl;
}

function targetOf(daolictl: Command): Target {
  try {
    return parseTarget(daolictl.opts<TargetOptions>());
  } catch (error) {
    return daolictl.error(`error: ${messageOf(error)}`, { exitCode: 2 });
  }
}
