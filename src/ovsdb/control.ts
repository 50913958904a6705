// The control socket of an ovsdb-server or ovs-vswitchd (`--unixctl`), which ovs-appctl speaks to: one JSON-RPC request, whose answer is
// text for people.

import { connect } from 'node:net';
import { NotConnected, OvsdbError, ProtocolError } from './errors';
import { JsonSplitter } from './framing';

const ANSWER_MS = 5_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What it answered with, which says why it did not do what it was told. */
export class ControlRefused extends OvsdbError {}

/**
 * Sends a command, as `cluster/status` with `['DaoliNet']`; resolves with its text. Rejects with ControlRefused where the
 * server says no, and with NotConnected where none answers within five seconds.
 */
export function askControl(path: string, command: string, args: readonly string[] = []): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const end = (finish: () => void) => {
      finish();
      socket.destroy();
    };
    const splitter = new JsonSplitter((text) => {
      const { result, error } = JSON.parse(text) as { result?: unknown; error?: unknown };
      if (typeof error === 'string') end(() => reject(new ControlRefused(error.trim())));
      else end(() => resolve(typeof result === 'string' ? result : ''));
    }, MAX_ANSWER_BYTES);
    socket.setTimeout(ANSWER_MS, () => end(() => reject(new NotConnected(`to ${path} (no answer in time)`))));
    socket.on('error', (error) => end(() => reject(new NotConnected(`to ${path} (${error.message})`))));
    socket.on('close', () => reject(new NotConnected(`to ${path} (it ended before it answered)`)));
    socket.on('data', (chunk: Buffer) => {
      try {
        splitter.push(chunk);
      } catch {
        end(() => reject(new ProtocolError(`${path} answered with something that is no JSON`)));
      }
    });
    socket.write(JSON.stringify({ id: 0, method: command, params: args }));
  });
}
