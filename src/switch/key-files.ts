// What ovs-vswitchd reads to show who it is, as files in its run directory: whose they are there, they are in the hands of
// ovs-vswitchd already, and they are gone with the next start of the host, at which they are written anew.

import { chownSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

/** Writes the files; ovs-vswitchd alone reads them. Idempotent. Throws what the file system throws. */
export function writeKeyFiles(folder: string, keys: SwitchKeys): void {
  // ovs-vswitchd may run as a user of its own, who has its run directory.
  const { uid, gid } = statSync(dirname(folder));
  const own = (path: string) => chownSync(path, uid, gid);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  own(folder);
  const { privateKey, certificate, authority } = keyFilesIn(folder);
  // The key last: ovs-vswitchd sees that it changed first, and reads both then.
  for (const [path, text] of [
    [authority, keys.authority],
    [certificate, keys.certificate],
    [privateKey, keys.key],
  ] as const) {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    own(`${path}.new`);
    renameSync(`${path}.new`, path);
  }
}

/** Idempotent. */
export function removeKeyFiles(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
