// Kernel settings as files under /proc/sys. Reading shows the network namespace of the process.

import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './system-error';

export interface SysctlFiles {
  /** Throws what the file system throws: ENOENT, EROFS, EACCES. */
  read(path: string): Promise<string>;
  write(path: string, value: string): Promise<void>;
  /** As write(), but fine where this kernel has no such setting. */
  writeIfPresent(path: string, value: string): Promise<void>;
  /** True where settings can be written, false where the file system is read-only. */
  isWritable(path: string): Promise<boolean>;
}

export function createSysctlFiles(root = '/proc/sys'): SysctlFiles {
  const write = async (path: string, value: string): Promise<void> => {
    // Without O_CREAT, which /proc refuses with EACCES where a setting does not exist.
    const file = await open(join(root, path), 'r+');
    try {
      await file.write(value);
    } finally {
      await file.close();
    }
  };
  return {
    read: async (path) => (await readFile(join(root, path), 'utf8')).trim(),
    write,
    async writeIfPresent(path, value) {
      try {
        await write(path, value);
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
      }
    },
    async isWritable(path) {
      try {
        await (await open(join(root, path), 'r+')).close();
        return true;
      } catch (error) {
        if (codeOf(error) === 'EROFS') return false;
        throw error;
      }
    },
  };
}
