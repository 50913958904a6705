// One unix socket file that must always lead to us: a stale file is replaced, and a file (or its folder) that vanished
// is made again. Not the HTTP on it: the caller gives a server for each opening.

import { chmod, lstat, mkdir, rename, unlink } from 'node:fs/promises';
import { createConnection, type Server } from 'node:net';
import { dirname } from 'node:path';
import { DaoliError } from '../base/errors';

/** sun_path of unix(7), without its final zero. The file is first made under a name with TEMPORARY behind it. */
const MAX_PATH_BYTES = 107;
const TEMPORARY = '.new';
const PROBE_MS = 500;

async function inodeOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await lstat(path);
    return `${dev}:${ino}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/** Whether a living process listens on `path`. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = createConnection(path);
    const end = (answered: boolean): void => {
      connection.destroy();
      resolve(answered);
    };
    connection.setTimeout(PROBE_MS, () => end(true)); // a full backlog: somebody is there, and slow
    connection.once('connect', () => end(true));
    connection.once('error', () => end(false));
  });
}

async function refuseForeign(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => undefined);
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new DaoliError('conflict', `${path} exists and is not a socket: remove it`, path);
  if (await isAnswered(path)) {
    throw new DaoliError('conflict', `another process listens on ${path}: stop it first`, path);
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

export class UnixSocket {
  private inode: string | undefined;

  constructor(readonly path: string) {}

  /**
   * Lets `server` listen, mode 0600, in place of what a dead process left; makes the folder where it is missing. The
   * file appears under its name only when it is complete, so nobody finds it unanswered or with another mode.
   * Throws `invalid` for a path that is too long, `conflict` where something else has the name.
   */
  async open(server: Server): Promise<void> {
    const temporary = this.path + TEMPORARY;
    if (Buffer.byteLength(temporary) > MAX_PATH_BYTES) {
      throw new DaoliError('invalid', `${this.path} is too long for a unix socket`, this.path);
    }
    await mkdir(dirname(this.path), { recursive: true });
    await refuseForeign(this.path);
    await unlinkIfThere(temporary);
    await listen(server, temporary);
    try {
      await chmod(temporary, 0o600);
      this.inode = await inodeOf(temporary);
      await rename(temporary, this.path);
    } catch (error) {
      server.close();
      throw error;
    }
  }

  /** Whether the name still leads to the socket that we opened. */
  async isOurs(): Promise<boolean> {
    return this.inode !== undefined && (await inodeOf(this.path)) === this.inode;
  }

  /** Takes the name away, unless a successor has it already. Idempotent. */
  async remove(): Promise<void> {
    if (await this.isOurs()) await unlinkIfThere(this.path);
    this.inode = undefined;
  }
}
