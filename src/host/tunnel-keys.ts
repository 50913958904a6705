// Keys of tunnels: Curve25519 (RFC 7748), 32 bytes in base64, as wg(8) has them. Node makes them, so that no program has to be
// asked and no key stands anywhere but in memory.

import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { DaoliError } from '../base/errors';

/** PKCS #8 around a raw private key (RFC 8410). */
const PRIVATE_KEY_HEAD = Buffer.from('302e020100300506032b656e04220420', 'hex');
/** A key in base64 that nothing misreads. */
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** A new private key. */
export function createTunnelKey(): string {
  const { d } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  return Buffer.from(d ?? '', 'base64url').toString('base64');
}

/** Throws `invalid` for what is no key. */
export function publicKeyOf(privateKey: string): string {
  const raw = Buffer.from(checkKey(privateKey, 'private'), 'base64');
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE_KEY_HEAD, raw]), format: 'der', type: 'pkcs8' });
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return Buffer.from(x ?? '', 'base64url').toString('base64');
}

/** Throws `invalid` for what is no key of WireGuard's. A private one is not repeated in the message. */
export function checkKey(key: string, kind: 'private' | 'public'): string {
  if (KEY.test(key)) return key;
  const words = kind === 'private' ? 'the private key of the tunnels is none' : `"${key}" is no public key of a tunnel`;
  throw new DaoliError('invalid', words);
}
