// Runs the real host (src/host) in a process of its own, inside the network namespace that its parent has entered for it, and serves
// calls that come over the IPC channel.

import { DaoliError, messageOf } from '../../../src/base/errors';
import { systemClock } from '../../../src/base/clock';
import { createLinuxHost } from '../../../src/host/linux-host';
import { createRunner } from '../../../src/host/runner';
import { createSysctlFiles } from '../../../src/host/sysctl-files';

const log =
  (level: string) =>
  (message: string, fields?: Record<string, unknown>): void =>
    void process.send?.({ log: { level, message, fields } });
const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
const host = createLinuxHost({
  runner: createRunner(),
  sysctl: createSysctlFiles(),
  clock: systemClock,
  logger,
  random: Math.random,
});

type Methods = Record<string, (...args: unknown[]) => unknown>;

async function serve({ id, call, args }: { id: number; call: string; args: unknown[] }): Promise<void> {
  const [part = '', method] = call.split('.');
  const target = (method === undefined ? host : host[part as 'links']) as unknown as Methods;
  try {
    const started = performance.now();
    const result = await target[method ?? part]?.(...args);
    process.send?.({ id, result, ms: performance.now() - started });
  } catch (error) {
    const code = error instanceof DaoliError ? error.code : 'internal';
    process.send?.({ id, error: { code, message: messageOf(error) } });
  }
}

process.on('message', (message) => void serve(message as Parameters<typeof serve>[0]));
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
