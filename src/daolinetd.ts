// The program `daolinetd`, once it is loaded: reads the settings, starts the agent, and ends it when told to.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { Agent } from './agent';
import { messageOf } from './base/errors';
import { createLogger } from './base/logger';
import type { EarlyServer } from './driver/early-server';
import { readSettings, type Settings } from './settings';

/** What survives restarts and upgrades of the plugin. */
const HOST_NAME_FILE = '/data/host-name';
/** What this host keeps of its cluster. */
const CLUSTER_FOLDER = '/data/cluster';
/** The certificates of its management API on TCP. */
const API_FOLDER = '/data/api';

/** The name that this host had at its first start: renaming the machine must not orphan what it owns. */
function stableHostName(): string {
  if (existsSync(HOST_NAME_FILE)) return readFileSync(HOST_NAME_FILE, 'utf8').trim();
  const name = hostname();
  mkdirSync(dirname(HOST_NAME_FILE), { recursive: true });
  writeFileSync(HOST_NAME_FILE, `${name}\n`);
  return name;
}

function settingsOrDefaults(): { settings: Settings; settingsError?: Error } {
  try {
    return { settings: readSettings(process.env) };
  } catch (error) {
    return { settings: readSettings({}), settingsError: error as Error };
  }
}

/** `early` is open, unless something kept it from that. */
export async function runAgent(early: EarlyServer): Promise<void> {
  const { settings, settingsError } = settingsOrDefaults();
  const logger = createLogger(settings.logLevel);
  if (settingsError !== undefined) logger.error(settingsError.message);
  const end = (status: number) => {
    void agent.stop().finally(() => process.exit(status));
  };
  const agent: Agent = new Agent({
    settings,
    hostName: stableHostName(),
    early,
    logger,
    ...(settingsError === undefined ? {} : { settingsError }),
    clusterFolder: CLUSTER_FOLDER,
    apiFolder: API_FOLDER,
    restart: () => end(0),
  });

  process.on('SIGTERM', () => end(0));
  process.on('SIGINT', () => end(0));
  process.on('unhandledRejection', (reason) =>
    logger.error('a failure that nobody handled', { error: messageOf(reason) }),
  );
  process.on('uncaughtException', (error) => {
    // The state of the process is unknown: the supervisor starts a new one, and the reconciler looks after the rest.
    logger.error('the agent ends by a bug', { error: error.stack ?? error.message });
    process.exit(1);
  });
  await agent.start();
}
