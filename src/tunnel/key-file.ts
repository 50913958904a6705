// The private key of this host's tunnel, on disk, for root alone. It is made here and leaves this host never: what others need
// is the public key, which is worked out of it. While a new key takes the place of an old one both are there: the next one
// beside the one that is used; the directory's row says which of them the others know.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DaoliError } from '../base/errors';
import { createTunnelKey, publicKeyOf } from '../host/tunnel-keys';

/** As WireGuard spells them: 32 octets in base64. */
export interface TunnelKey {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function generateTunnelKey(): TunnelKey {
  return tunnelKeyOf(createTunnelKey());
}

/** Throws `invalid` for what is no private key. It is never quoted. */
export function tunnelKeyOf(privateKey: string): TunnelKey {
  return { privateKey, publicKey: publicKeyOf(privateKey) };
}

export class KeyFile {
  /** `path`: of the key that is used. */
  constructor(private readonly path: string) {}

  /** Undefined before create(). Throws `internal` where there is something else in the file. */
  get current(): TunnelKey | undefined {
    return read(this.path);
  }

  /** The key that is to be used next, where there is one. */
  get next(): TunnelKey | undefined {
    return read(this.nextPath);
  }

  /** The key that is used, made where there is none. */
  create(): TunnelKey {
    const { current } = this;
    if (current !== undefined) return current;
    const key = generateTunnelKey();
    write(this.path, key);
    return key;
  }

  /** A key to be used next; the same again until it is used or dropped. */
  prepare(): TunnelKey {
    const { next } = this;
    if (next !== undefined) return next;
    const key = generateTunnelKey();
    write(this.nextPath, key);
    return key;
  }

  /** The next key is used from now on. Nothing to do where there is none. */
  promote(): void {
    if (this.next !== undefined) renameSync(this.nextPath, this.path);
  }

  /** The next key is given up. */
  drop(): void {
    rmSync(this.nextPath, { force: true });
  }

  private get nextPath(): string {
    return `${this.path}.next`;
  }
}

function read(path: string): TunnelKey | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return tunnelKeyOf(text.trim());
  } catch (error) {
    const message = `${path} is no key of a tunnel: remove it, and this host makes a new one`;
    throw new DaoliError('internal', message, path, { cause: error });
  }
}

/** Whoever reads the file finds it as it was, or as it is to be. */
function write(path: string, { privateKey }: TunnelKey): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, `${privateKey}\n`, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(fresh, path);
}
