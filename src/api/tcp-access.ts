// The management API over TCP: off by default, and never without certificates. TLS 1.3; whoever comes has to show a certificate
// that the given authority has signed. The certificates lie in a folder of the plugin; `daolictl api certificates` puts them
// there.

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { HTTP_LIMITS, limit, limitedOptions, type HttpLimits } from './http-limits';

/** PEM. */
export interface Certificates {
  /** Of those that may come in: one authority, or several. */
  readonly ca: string;
  /** This host's own, with what is between it and its authority. */
  readonly certificate: string;
  readonly key: string;
}

export interface TcpAccessStatus {
  /** "192.0.2.1:7480"; null where DAOLINET_API is not set. */
  readonly address: string | null;
  readonly isListening: boolean;
  /** Why it does not listen. */
  readonly problem: string | null;
  /** Of this host's certificate. */
  readonly certificate: { readonly subject: string; readonly validUntil: string } | null;
}

export interface TcpAccessParts {
  /** Undefined: off. */
  readonly address: { readonly ip: Ipv4; readonly port: number } | undefined;
  /** Where the certificates are. */
  readonly folder: string;
  readonly app: RequestListener;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Default HTTP_LIMITS. */
  readonly limits?: HttpLimits;
}

const FILES = { ca: 'ca.pem', certificate: 'cert.pem', key: 'key.pem' } as const;
const HANDSHAKE_MS = 10_000;
const REMEDY = 'give it some with `daolictl api certificates FOLDER`';

export class TcpAccess {
  private server: Server | undefined;
  private problem: string | undefined;

  constructor(private readonly parts: TcpAccessParts) {}

  /** Listens, where it is to and can; else says in the log what is missing. Idempotent. */
  async start(): Promise<void> {
    const { address, logger } = this.parts;
    if (address === undefined || this.server !== undefined) return;
    try {
      await this.listen(address, this.read());
      this.problem = undefined;
      logger.info('the management API listens on TCP', { address: this.shownAddress() });
    } catch (error) {
      this.problem = messageOf(error);
      logger.error('the management API does not listen on TCP', { address: this.shownAddress(), error: this.problem });
    }
  }

  /** Ends connections, too. Idempotent. */
  stop(): void {
    this.server?.close();
    this.server?.closeAllConnections();
    this.server = undefined;
  }

  status(): TcpAccessStatus {
    let certificate: TcpAccessStatus['certificate'] = null;
    try {
      const { subject, validTo } = new X509Certificate(this.read().certificate);
      certificate = { subject: subject.replaceAll('\n', ', '), validUntil: new Date(validTo).toISOString() };
    } catch {
      // What is wrong with it stands in `problem`.
    }
    const isListening = this.server !== undefined;
    return { address: this.shownAddress(), isListening, problem: this.problem ?? null, certificate };
  }

  /**
   * Takes other certificates, and listens with them from now on; who came in with those before is put out. Throws `invalid`
   * for what does not fit, and nothing is changed then.
   */
  async install(certificates: Certificates): Promise<TcpAccessStatus> {
    check(certificates, this.parts.now());
    this.write(certificates);
    this.stop();
    await this.start();
    return this.status();
  }

  private listen(address: { readonly ip: Ipv4; readonly port: number }, certificates: Certificates): Promise<void> {
    check(certificates, this.parts.now());
    const { app, logger, limits = HTTP_LIMITS } = this.parts;
    const server = createServer(
      {
        ...limitedOptions(limits),
        ca: certificates.ca,
        cert: certificates.certificate,
        key: certificates.key,
        minVersion: 'TLSv1.3',
        requestCert: true,
        rejectUnauthorized: true,
        handshakeTimeout: HANDSHAKE_MS,
      },
      app,
    );
    limit(server, limits);
    // A session that is resumed counts as authorized in Node.js, whatever it began with.
    server.prependListener('secureConnection', (socket: TLSSocket) => {
      if ((socket.getPeerCertificate() as { raw?: Buffer }).raw === undefined) socket.destroy();
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(address.port, formatIpv4(address.ip), () => {
        server.off('error', reject);
        server.on('error', (error) => logger.error('the management API on TCP', { error: messageOf(error) }));
        this.server = server;
        resolve();
      });
    });
  }

  /** Throws `not-found` where there are none. */
  private read(): Certificates {
    const { folder } = this.parts;
    const missing = Object.values(FILES).filter((name) => !existsSync(join(folder, name)));
    if (missing.length > 0) throw new DaoliError('not-found', `it has no certificates: ${REMEDY}`, folder);
    const text = (name: string) => readFileSync(join(folder, name), 'utf8');
    return { ca: text(FILES.ca), certificate: text(FILES.certificate), key: text(FILES.key) };
  }

  /** All of them, or none. */
  private write(certificates: Certificates): void {
    const { folder } = this.parts;
    const [fresh, old] = [`${folder}.new`, `${folder}.old`];
    for (const each of [fresh, old]) rmSync(each, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true, mode: 0o700 });
    for (const [field, name] of Object.entries(FILES) as [keyof Certificates, string][]) {
      writeFileSync(join(fresh, name), certificates[field], { mode: 0o600, flush: true });
    }
    if (existsSync(folder)) renameSync(folder, old);
    renameSync(fresh, folder);
    rmSync(old, { recursive: true, force: true });
  }

  private shownAddress(): string | null {
    const { address } = this.parts;
    return address === undefined ? null : `${formatIpv4(address.ip)}:${address.port}`;
  }
}

/** Throws `invalid`, naming what is wrong. */
function check({ ca, certificate, key }: Certificates, now: number): void {
  const authority = certificateIn('ca', ca);
  if (!authority.ca) throw invalid('ca', 'is no certificate of an authority');
  const own = certificateIn('certificate', certificate);
  for (const [field, { validTo }] of [['ca', authority] as const, ['certificate', own] as const]) {
    if (Date.parse(validTo) <= now) throw invalid(field, `was good until ${new Date(validTo).toISOString()}: renew it`);
  }
  if (!own.checkPrivateKey(keyIn(key))) throw invalid('key', 'is not that of the certificate');
}

function certificateIn(field: 'ca' | 'certificate', pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw invalid(field, 'is no certificate (PEM)');
  }
}

function keyIn(pem: string) {
  try {
    return createPrivateKey(pem);
  } catch {
    throw invalid('key', 'is no private key without a passphrase (PEM)');
  }
}

function invalid(field: keyof Certificates, problem: string): DaoliError {
  return new DaoliError('invalid', `${FILES[field]} ${problem}`, field);
}
