// The control socket of an ovsdb-server or ovs-vswitchd (`--unixctl`), which ovs-appctl speaks to: one JSON-RPC request, whose answer is
// text for people.

import { askServer } from './ask';
import { OvsdbError } from './errors';

const ANSWER_MS = 5_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What it answered with, which says why it did not do what it was told. */
export class ControlRefused extends OvsdbError {}

/**
 * Sends a command, as `cluster/status` with `['DaoliNet']`; resolves with its text. Rejects with ControlRefused where the
 * server says no, and with NotConnected where none answers within five seconds.
 */
export async function askControl(path: string, command: string, args: readonly string[] = []): Promise<string> {
  const errorOf = (error: unknown) => new ControlRefused(String(error).trim());
  const result = await askServer(path, command, args, { withinMs: ANSWER_MS, maxBytes: MAX_ANSWER_BYTES, errorOf });
  return typeof result === 'string' ? result : '';
}
