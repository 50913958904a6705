// A port of the host that is held by having bound it, and where what comes to it goes.

import type { Ipv4 } from '../base/addresses';

export interface PortBinding {
  /** An IPv4 or IPv6 address of the host, "0.0.0.0" or "::" (which is IPv6 only). */
  readonly address: string;
  /** 0 for any free one. */
  readonly port: number;
  /** May change while the port is held, when the container gets another locator. Without one nobody is let in. */
  readonly target: { locator: Ipv4 | undefined; port: number };
}

export interface BoundPort {
  readonly port: number;
  /** Ends the proxied connections with it. */
  close(): Promise<void>;
}
