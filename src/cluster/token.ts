// What is typed on a host that joins: where the cluster is, whom to believe that it is it, and a secret that lets one host
// in, once. The directory has the secret's hash alone.

import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { DaoliError } from '../base/errors';

export interface Token {
  /** A server of the cluster: "192.0.2.1". */
  readonly server: string;
  /** Fingerprint of that server's certificate: a server that was put out has seen the authority's key. */
  readonly certificate: string;
  readonly secret: string;
}

const PREFIX = 'daolinet-';
const SHAPE = z.object({
  server: z.ipv4(),
  certificate: z.string().regex(/^[0-9a-f]{64}$/),
  secret: z.string().min(16),
});

export function newSecret(): string {
  return randomBytes(18).toString('base64url');
}

/** What the directory has of a secret. It has 144 random bits, so that its hash needs no salt. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

export function formatToken(token: Token): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString('base64url');
}

/** Throws `invalid` for text that no cluster has printed. */
export function parseToken(text: string): Token {
  try {
    if (!text.startsWith(PREFIX)) throw new Error('no prefix');
    return SHAPE.parse(JSON.parse(Buffer.from(text.slice(PREFIX.length), 'base64url').toString('utf8')));
  } catch (error) {
    const message = 'this is no join token, or a part of one: copy the whole line that `daolictl cluster token` prints';
    throw new DaoliError('invalid', message, undefined, { cause: error });
  }
}
