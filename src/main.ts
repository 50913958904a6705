// Entry point of `daolinetd`: opens the socket on which Docker looks for the plugin, then loads the rest, which takes longer
// than Docker likes to wait.

import { messageOf } from './base/errors';
import { EarlyServer } from './driver/early-server';

/** Where Docker looks for the managed plugin, inside it. */
const PLUGIN_SOCKET = '/run/docker/plugins/daolinet.sock';

async function main(): Promise<void> {
  process.title = 'daolinetd';
  const early = new EarlyServer(PLUGIN_SOCKET);
  // One that cannot be opened is tried again, and logged, by what is loaded now.
  await early.open().catch(() => undefined);
  const { runAgent } = await import('./daolinetd.js');
  await runAgent(early);
}

void main().catch((error: unknown) => {
  process.stderr.write(`daolinetd cannot start: ${messageOf(error)}\n`);
  process.exit(1);
});
