// Reads what `wg show DEVICE dump` prints (wg(8)). Pure.

import { parseCidr, tryParseIpv4, type Cidr } from '../base/addresses';
import type { TunnelDeviceState, TunnelEndpoint, TunnelPeerState } from './host';

/** What a device is like, its private key with it: for comparing, not for showing. */
export interface TunnelListing extends TunnelDeviceState {
  readonly privateKey: string | undefined;
}

const absent = (text: string | undefined): boolean => text === undefined || text === '(none)' || text === 'off';

/** Undefined where it is no such output, as where there is no such device. */
export function parseTunnel(name: string, dump: string): TunnelListing | undefined {
  const [first = '', ...lines] = dump.split('\n').filter((line) => line !== '');
  const [privateKey = '', publicKey = '', port = '', mark] = first.split('\t');
  if (mark === undefined) return undefined;
  return {
    name,
    privateKey: absent(privateKey) ? undefined : privateKey,
    ...(absent(publicKey) ? {} : { publicKey }),
    listenPort: Number(port),
    peers: lines.map(parsePeer),
  };
}

function parsePeer(line: string): TunnelPeerState {
  const [publicKey = '', , endpointText = '', allowed = '', handshake, received, sent, keepalive] = line.split('\t');
  const endpoint = parseEndpoint(endpointText);
  const seconds = Number(handshake ?? 0);
  return {
    publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    allowed: absent(allowed) ? [] : allowed.split(',').flatMap(parseAllowed),
    keepaliveSeconds: absent(keepalive) ? 0 : Number(keepalive),
    ...(seconds === 0 ? {} : { lastHandshakeMs: seconds * 1000 }),
    bytesReceived: Number(received ?? 0),
    bytesSent: Number(sent ?? 0),
  };
}

/** Undefined for one of IPv6, which is none of ours. */
function parseEndpoint(text: string): TunnelEndpoint | undefined {
  const [host = '', port = ''] = text.split(':');
  const address = tryParseIpv4(host);
  return address === undefined ? undefined : { address, port: Number(port) };
}

function parseAllowed(text: string): Cidr[] {
  return text.includes(':') ? [] : [parseCidr(text)];
}
