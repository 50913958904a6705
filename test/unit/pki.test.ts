// Certificates of the cluster's own authority, as node:tls and node:crypto see them.
import { X509Certificate } from 'node:crypto';
import { connect, createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { createAuthority, createRequest, fingerprintOf, issue, lifeLeft, type Identity } from '../../src/pki/authority';

const NOW = Date.now();
const DAY = 86_400_000;
let authority: Identity;
beforeAll(async () => {
  authority = await createAuthority(NOW);
});

async function identity(name: string, now = NOW): Promise<Identity> {
  const { request, key } = await createRequest(name);
  return { certificate: await issue(authority, request, name, now), key };
}

/** A connection of two, and what the server knows of the client. */
async function handshake(server: Identity, client: Partial<Identity>): Promise<string> {
  const listener = createServer({
    cert: server.certificate,
    key: server.key,
    ca: authority.certificate,
    requestCert: true,
  });
  const outcome = new Promise<string>((resolve) => {
    listener.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => undefined);
      resolve(`${String(socket.getPeerCertificate().subject?.CN)} ${fingerprintOf(socket.getPeerCertificate().raw)}`);
    });
    listener.on('tlsClientError', (error) => resolve(`refused: ${error.message}`));
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const socket = connect({
    port: (listener.address() as AddressInfo).port,
    ca: authority.certificate,
    ...(client.certificate === undefined ? {} : { cert: client.certificate, key: client.key }),
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => undefined);
  const said = await outcome;
  socket.destroy();
  listener.close();
  return said;
}

test('a host’s certificate says its name, is good for both ends, and for thirty days', async () => {
  const host = await identity('h1');
  const certificate = new X509Certificate(host.certificate);
  expect(certificate.subject).toBe('CN=h1');
  expect(certificate.ca).toBe(false);
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  expect(Date.parse(certificate.validTo) - NOW).toBeGreaterThan(29.9 * DAY);
  expect([lifeLeft(host.certificate, NOW) > 0.99, lifeLeft(host.certificate, NOW + 31 * DAY)]).toEqual([true, 0]);
  expect(await handshake(host, await identity('h2'))).toMatch(/^h2 [0-9a-f]{64}$/);
});

test('none, one of another authority, one that is over: refused', async () => {
  const server = await identity('h1');
  expect(await handshake(server, {})).toContain('refused');
  const other = await createAuthority(NOW);
  const { request, key } = await createRequest('h2');
  const strange = { certificate: await issue(other, request, 'h2', NOW), key };
  expect(await handshake(server, strange)).toContain('refused');
  expect(await handshake(server, await identity('h2', NOW - 40 * DAY))).toContain('refused');
});

test('the name is the one that was decided, not the one that was asked for', async () => {
  const { request } = await createRequest('h1');
  const certificate = await issue(authority, request, 'h2', NOW);
  expect(new X509Certificate(certificate).subject).toBe('CN=h2');
});

test.each(['', 'x', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----'])(
  'a request that is none is refused (%#)',
  async (request) => {
    await expect(issue(authority, request, 'h1', NOW)).rejects.toMatchObject({ code: 'invalid' });
  },
);
