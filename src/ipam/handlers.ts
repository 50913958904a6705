// IpamDriver.* of Docker's plugin protocol (moby, daemon/libnetwork/ipams/remote): a decoded body in, the object to answer
// with out. What is thrown is a DaoliError that the user reads behind `docker network create` or `docker run`.

import { formatCidr, formatIpv4 } from '../base/addresses';
import type { Ipam } from './ipam';
import { ADDRESS_SPACE, parseRequest } from './schemas';

/** By method. `body` is what the request's JSON says; GetCapabilities and GetDefaultAddressSpaces have none. */
export type IpamHandlers = Readonly<Record<string, (body: unknown) => Promise<object>>>;

export function ipamHandlers(ipam: Ipam): IpamHandlers {
  return {
    // The MAC address tells a repeated request from a new one. Nothing has to be replayed: the directory keeps it.
    'IpamDriver.GetCapabilities': () => Promise.resolve({ RequiresMACAddress: true, RequiresRequestReplay: false }),

    'IpamDriver.GetDefaultAddressSpaces': () =>
      Promise.resolve({ LocalDefaultAddressSpace: ADDRESS_SPACE, GlobalDefaultAddressSpace: ADDRESS_SPACE }),

    'IpamDriver.RequestPool': async (body) => {
      const { poolId, cidr } = await ipam.requestPool(parseRequest.requestPool(body));
      return { PoolID: poolId, Pool: formatCidr(cidr), Data: {} };
    },

    'IpamDriver.ReleasePool': async (body) => {
      await ipam.releasePool(parseRequest.releasePool(body).poolId);
      return {};
    },

    'IpamDriver.RequestAddress': async (body) => {
      const { address, prefix } = await ipam.requestAddress(parseRequest.requestAddress(body));
      return { Address: `${formatIpv4(address)}/${prefix}`, Data: {} };
    },

    'IpamDriver.ReleaseAddress': async (body) => {
      const { poolId, address } = parseRequest.releaseAddress(body);
      await ipam.releaseAddress(poolId, address);
      return {};
    },
  };
}
