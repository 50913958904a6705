// Whose agent a command is for, as --host says it: a host of the cluster by its name, `unix:///PATH`, or `tcp://ADDRESS:PORT`
// with the certificates of a folder; a name may stand behind an address: `tcp://192.0.2.1:7480/h2`.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../base/errors';

export const DEFAULT_SOCKET = '/run/daolinet/api.sock';
/** In the folder that --tls names. */
export const TLS_FILES = { ca: 'ca.pem', certificate: 'cert.pem', key: 'key.pem' } as const;

/** `host` is a host of that agent's cluster; undefined: its own. */
export type Target =
  | { readonly kind: 'unix'; readonly path: string; readonly host: string | undefined }
  | {
      readonly kind: 'tcp';
      readonly address: string;
      readonly port: number;
      readonly ca: string;
      readonly certificate: string;
      readonly key: string;
      readonly host: string | undefined;
    };

export interface TargetOptions {
  readonly host?: string;
  readonly tls?: string;
  readonly socket?: string;
}

/** Throws an error that says what is wrong with them. */
export function parseTarget({ host, tls, socket = DEFAULT_SOCKET }: TargetOptions): Target {
  if (host === undefined || host === '') return { kind: 'unix', path: socket, host: undefined };
  if (!host.includes('://')) return { kind: 'unix', path: socket, host };
  const url = URL.canParse(host) ? new URL(host) : undefined;
  const path = decodeURIComponent(url?.pathname ?? '');
  if (url?.protocol === 'unix:' && url.host === '' && path.length > 1) return { kind: 'unix', path, host: undefined };
  if (url?.protocol !== 'tcp:' || url.hostname === '' || url.port === '') {
    throw new Error(`--host ${host} is neither the name of a host, nor unix:///PATH, nor tcp://ADDRESS:PORT`);
  }
  const name = path.replace(/^\//, '');
  return {
    kind: 'tcp',
    address: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port),
    host: name === '' ? undefined : name,
    ...readIdentity(tls),
  };
}

function readIdentity(folder: string | undefined) {
  const names = Object.values(TLS_FILES).join(', ');
  if (folder === undefined || folder === '') {
    throw new Error(`over TCP the agent takes certificates alone: give --tls (or DAOLINET_TLS) a folder with ${names}`);
  }
  const read = (name: string) => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch (error) {
      throw new Error(`${messageOf(error)}: --tls needs a folder with ${names}`, { cause: error });
    }
  };
  return { ca: read(TLS_FILES.ca), certificate: read(TLS_FILES.certificate), key: read(TLS_FILES.key) };
}
