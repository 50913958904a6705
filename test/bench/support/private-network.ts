// A benchmark that makes interfaces runs as root in a network namespace of its own, so it touches nothing of the machine
// and nothing stays when it ends, however it ends.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const INSIDE = 'DAOLINET_BENCH_NAMESPACE';

/** Runs `main` in this program started again in a network namespace of its own, with an empty folder that goes with it. */
export function inPrivateNetwork(main: (folder: string) => Promise<void>): void {
  if (process.env[INSIDE] === undefined) {
    process.exitCode = enter();
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'daolinet-bench-'));
  main(folder)
    .catch((error: unknown) => {
      process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exitCode = 1;
    })
    .finally(() => rmSync(folder, { recursive: true, force: true }));
}

function enter(): number {
  if (process.getuid?.() !== 0) {
    process.stderr.write('this benchmark makes network interfaces: run it as root\n');
    return 2;
  }
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const env = { ...process.env, [INSIDE]: '1' };
  return spawnSync('unshare', ['--net', '--fork', '--kill-child', ...program], { stdio: 'inherit', env }).status ?? 1;
}
