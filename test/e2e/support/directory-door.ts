// The door of a server, as whoever has a host's certificate finds it: what root of a host that was broken into would send.

import { readFileSync } from 'node:fs';
import type { Host } from '../../../lab/host';
import { NODE } from './peers';

export interface HostIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A host's own certificate and key, as root of that host has them. */
export async function identityOf(host: Host): Promise<HostIdentity> {
  const folder = await host.exec('sh', ['-c', 'echo /var/lib/docker/plugins/*/propagated-mount/cluster']);
  const [ca = '', cert = '', key = ''] = ['ca.crt', 'host.crt', 'host.key'].map((name) =>
    readFileSync(host.path(`${folder}/${name}`), 'utf8'),
  );
  return { ca, cert, key };
}

/** What the directory says to one request, over TLS from a host that has the programs; "closed" where the door shuts. */
export async function askDirectory(
  from: Host,
  server: string,
  identity: HostIdentity | undefined,
  request: object,
): Promise<string> {
  const program = `
    const [host, ca, cert, key, text] = JSON.parse(require('fs').readFileSync(0));
    const socket = require('tls').connect({ host, port: 7470, ALPNProtocols: ['daolinet-directory/2'], ca, cert, key,
      rejectUnauthorized: false }, () => socket.write(text));
    socket.on('data', (data) => { console.log(String(data)); process.exit(); });
    socket.on('error', () => console.log('closed')).on('close', () => { console.log('closed'); process.exit(); });`;
  const { ca, cert, key } = identity ?? {};
  const input = JSON.stringify([server, ca, cert, key, JSON.stringify(request)]);
  const [command = '', ...args] = [...NODE, '-e', program];
  const { stdout } = await from.tryExec(command, args, { input });
  return stdout.split('\n')[0] ?? '';
}
