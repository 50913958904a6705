// What is typed on a host that joins: where the cluster is, whom to believe that it is it, and a secret that lets one host
// in, once. The directory has the secret's hash alone.

import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { formatIpv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { DEFAULT_SITE } from '../directory/rows';
import { fingerprintOf } from '../pki/authority';
import type { ClusterFacts } from './files';
import { outsideOf } from './sites';

export interface Token {
  /** A server of the cluster: "192.0.2.1". */
  readonly server: string;
  /** Its site. */
  readonly site: string;
  /** Its address seen from other sites, where that is another one. */
  readonly outside?: string | undefined;
  /** Fingerprint of that server's certificate: a server that was put out has seen the authority's key. */
  readonly certificate: string;
  readonly secret: string;
}

const PREFIX = 'daolinet-';
const SHAPE = z.object({
  server: z.ipv4(),
  site: z.string().default(DEFAULT_SITE),
  outside: z.ipv4().optional(),
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

/** Where a newcomer of a site finds the server: by either address, since it may not know where it is. */
export function doorsOf({ server, site, outside }: Token, ownSite: string): string[] {
  if (outside === undefined) return [server];
  return site === ownSite ? [server, outside] : [outside, server];
}

export function formatToken(token: Token): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString('base64url');
}

/** The token that leads to this server, with a secret. */
export function tokenOf({ address, site, tunnel, identity }: ClusterFacts, secret: string): string {
  const outside = outsideOf(tunnel.endpoint, address);
  return formatToken({
    server: formatIpv4(address),
    site,
    ...(outside && { outside: formatIpv4(outside) }),
    certificate: fingerprintOf(identity.certificate),
    secret,
  });
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
