// What Docker has on the disk of an emulated host once the test image and the plugin are in it, the plugin not yet enabled. Made
// once for each state of the plugin and kept in the cache: every host starts from a copy of its own, which takes half a second
// where `docker import` and `docker plugin install` take five. What makes a host itself (keys, ids, networks) is not in it.

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';

const CACHE = '/var/cache/daolinet/disks';
/** Of /var/lib/docker; Docker makes the rest at its start. */
const PARTS = ['image', 'overlay2', 'plugins'];
/** As Docker makes it. */
const MODE = 0o711;
/** Disks that stay: the newest, and those that a run may still be using. */
const KEEP = 3;
const IN_USE_MS = 3_600_000;

const run = promisify(execFile);

/** A host with all that is to be on the disk, its engine ended. */
export interface Model {
  /** Its /var/lib/docker. */
  readonly docker: string;
  stop(): Promise<void>;
}

/** The folder of the disk that goes by `parts`, which are all that it depends on. `make` is called where it is not there yet. */
export async function readyDisk(parts: readonly (string | Buffer)[], make: () => Promise<Model>): Promise<string> {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(createHash('sha256').update(part).digest());
  const disk = path.join(CACHE, hash.digest('hex'));
  if (!existsSync(disk)) await withLock(`${CACHE}.lock`, () => makeDisk(disk, make));
  utimesSync(disk, new Date(), new Date());
  return disk;
}

/** Copies a disk to where a host that has not started yet will have its /var/lib/docker. */
export async function copyDisk(disk: string, docker: string): Promise<void> {
  mkdirSync(docker, { recursive: true });
  await run('cp', ['-a', '--reflink=auto', `${disk}/.`, docker]);
}

async function makeDisk(disk: string, make: () => Promise<Model>): Promise<void> {
  if (existsSync(disk)) return; // whoever had the lock has made it
  const scratch = `${disk}.new`;
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  chmodSync(scratch, MODE);
  const model = await make();
  try {
    for (const part of PARTS) await run('cp', ['-a', path.join(model.docker, part), scratch]);
  } finally {
    await model.stop();
  }
  renameSync(scratch, disk);
  prune();
}

function prune(): void {
  const disks = readdirSync(CACHE).map((name) => path.join(CACHE, name));
  const usedMs = (disk: string): number => statSync(disk).mtimeMs;
  for (const disk of disks.sort((one, other) => usedMs(other) - usedMs(one)).slice(KEEP)) {
    if (Date.now() - usedMs(disk) > IN_USE_MS) rmSync(disk, { recursive: true, force: true });
  }
}

/** One at a time among all processes of this machine. The lock goes with this process, however that ends. */
async function withLock(file: string, work: () => Promise<void>): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  const holder = spawn('flock', [file, 'sh', '-c', 'echo locked; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(holder, 'exit');
  await Promise.race([once(holder.stdout, 'data'), ended.then(() => Promise.reject(new Error(`cannot lock ${file}`)))]);
  try {
    await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
