// What the templates of the packet path's messages are made with.

import type { Ipv4, Mac } from '../base/addresses';
import type { OutsideEnd } from './route-flows';

/** The xid of everything that the packet path sends: nobody waits for an answer, an error is counted. */
export const PACKET_PATH_XID = 1;

/** A template's packet-out has none: the packet is appended to it. */
export const NO_DATA = Buffer.alloc(0);

/** One end of a route as a template's marks say it. */
export function end(values: { port?: number; ip?: number; mac?: number; locator?: number }): OutsideEnd {
  const { port = 0, ip = 0, mac = 0, locator = 0 } = values;
  return { portNo: port, ip: ip as Ipv4, mac: mac as Mac, locator: locator as Ipv4 };
}
