// "192.0.2.1:7471": an address with a port, as people write where something listens.

import { formatIpv4, parseIpv4, type Ipv4 } from './addresses';
import { DaoliError } from './errors';

export interface AddressPort {
  readonly address: Ipv4;
  readonly port: number;
}

const PORT = /^[1-9][0-9]{0,4}$/;

/** Without a port it is `defaultPort`, where there is one. Throws `invalid`. */
export function parseAddressPort(text: string, defaultPort?: number): AddressPort {
  const colon = text.lastIndexOf(':');
  const [host, port] = colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
  const number = port === undefined ? defaultPort : PORT.test(port) ? Number(port) : NaN;
  if (number === undefined || !(number <= 65_535)) {
    throw new DaoliError('invalid', `"${text}" is no ADDRESS:PORT`, text);
  }
  return { address: parseIpv4(host), port: number };
}

export function formatAddressPort({ address, port }: AddressPort): string {
  return `${formatIpv4(address)}:${port}`;
}
