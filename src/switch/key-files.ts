// What ovs-vswitchd reads to show who it is, as files in its run directory: whose they are there, they are in the hands of
// ovs-vswitchd already, and they are gone with the next start of the host, at which they are written anew.

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { SslFiles } from './backup-controllers';

export interface SwitchKeys {
  /** As PEM, all of them. */
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

export function keyFilesIn(folder: string): SslFiles {
  const at = (name: string) => join(folder, name);
  return { privateKey: at('switch.key'), certificate: at('switch.crt'), authority: at('ca.crt') };
}

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Writes the files; ovs-vswitchd alone reads them. Idempotent. Throws what the file system throws, also where the folder is a
 * link: who owns the run directory may put there what it likes, and root is to write, and give away, nothing by it.
 */
export function writeKeyFiles(folder: string, keys: SwitchKeys): void {
  // ovs-vswitchd may run as a user of its own, who has its run directory.
  const owner = statSync(dirname(folder));
  makeFolder(folder);
  const handle = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    fchmodSync(handle, 0o700);
    fchownSync(handle, owner.uid, owner.gid);
    // The folder that was looked at, whatever has its name by now.
    const { privateKey, certificate, authority } = keyFilesIn(`/proc/self/fd/${handle}`);
    // The key last: ovs-vswitchd sees that it changed first, and reads both then.
    writeFile(authority, keys.authority, owner);
    writeFile(certificate, keys.certificate, owner);
    writeFile(privateKey, keys.key, owner);
  } finally {
    closeSync(handle);
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function writeFile(path: string, text: string, { uid, gid }: Owner): void {
  const next = `${path}.new`;
  rmSync(next, { force: true });
  const handle = openSync(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    writeFileSync(handle, text);
    fchownSync(handle, uid, gid);
  } finally {
    closeSync(handle);
  }
  renameSync(next, path);
}

/** Idempotent. */
export function removeKeyFiles(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
