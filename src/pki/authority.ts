// The cluster's own certificate authority: it signs a certificate for each host, which says its name and nothing else. Keys
// are P-256, made on the host that uses them; what travels is a signing request (RFC 2986). Who may do what is decided by
// the fingerprint of a certificate, not by what stands in it: see src/cluster.

import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { createHash, webcrypto, X509Certificate } from 'node:crypto';
import { DaoliError } from '../base/errors';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60 * 1000;
/** What a clock may be behind of the one that signed. */
const BACKDATED_MS = 60 * 60 * 1000;
const AUTHORITY_DAYS = 3650;
/** Short, since there are no revocation lists: a host asks for the next one when a third is left. */
export const CERTIFICATE_DAYS = 30;

x509.cryptoProvider.set(webcrypto as never);

/** A certificate and its key, as PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** A key, and the request that asks for a certificate of it, both as PEM. */
export interface Request {
  readonly request: string;
  readonly key: string;
}

/** A new authority. `now` is milliseconds since 1970. */
export async function createAuthority(now: number): Promise<Identity> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: 'CN=DaoliNet cluster',
    ...validity(now, AUTHORITY_DAYS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  return { certificate: linesOf(certificate.toString('pem')), key: await exportKey(keys.privateKey) };
}

/** A key of this host's, and what it sends to the authority. */
export async function createRequest(name: string): Promise<Request> {
  const keys = await generateKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { request: linesOf(request.toString('pem')), key: await exportKey(keys.privateKey) };
}

/** Signs a request, for this name whatever it says itself. Throws `invalid` for one that is none, or not its key's own. */
export async function issue(authority: Identity, request: string, name: string, now: number): Promise<string> {
  const parsed = parseRequest(request);
  if (!(await parsed.verify())) throw new DaoliError('invalid', 'the certificate request is not signed by its own key');
  const ca = new x509.X509Certificate(authority.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ CN: [name] }],
    issuer: ca.subject,
    ...validity(now, CERTIFICATE_DAYS),
    publicKey: parsed.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
    ],
  });
  return linesOf(certificate.toString('pem'));
}

/** SHA-256 of a certificate (PEM or DER), as 64 hex digits. */
export function fingerprintOf(certificate: string | Buffer): string {
  const der = typeof certificate === 'string' ? new X509Certificate(certificate).raw : certificate;
  return createHash('sha256').update(der).digest('hex');
}

/** How much of a certificate's time is left, 0 to 1. */
export function lifeLeft(certificate: string, now: number): number {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return Math.min(1, Math.max(0, (to - now) / (to - from)));
}

/** PEM that others can be put behind. */
function linesOf(pem: string): string {
  return `${pem.trimEnd()}\n`;
}

function parseRequest(request: string): x509.Pkcs10CertificateRequest {
  try {
    return new x509.Pkcs10CertificateRequest(request);
  } catch (error) {
    throw new DaoliError('invalid', 'the certificate request cannot be read', undefined, { cause: error });
  }
}

function validity(now: number, days: number) {
  return { notBefore: new Date(now - BACKDATED_MS), notAfter: new Date(now + days * DAY_MS) };
}

function randomSerial(): string {
  const bytes = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40; // positive, and of its full length (RFC 5280, 4.1.2.2)
  return bytes.toString('hex');
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return linesOf(x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY'));
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem);
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}
