// The plugin of an older version, to upgrade from and to go back to.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';

export interface OlderPlugin {
  /** The files in which it differs, at the places that they have in the plugin. */
  readonly folder: string;
  remove(): void;
}

/**
 * Files of a real older version are taken from the folder that DAOLINET_TEST_OLDER names. Without it, one is made of today's
 * sources; see build-older.mjs.
 */
export function olderPlugin(): OlderPlugin {
  const given = process.env['DAOLINET_TEST_OLDER'];
  if (given !== undefined) return { folder: given, remove: () => undefined };
  const folder = mkdtempSync(path.join(tmpdir(), `daolinet-older-${process.pid}-`));
  execFileSync(process.execPath, [path.join(__dirname, 'build-older.mjs'), folder], { stdio: 'inherit' });
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
