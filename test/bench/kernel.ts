// Containers of two hosts with the kernel's datapath, in a guest (support/guest.ts). Beside them, in the same run and in turn:
// Open vSwitch as a learning bridge, the kernel's bridge, VXLAN, plain forwarding, and host to host.

import { benchGuest } from './support/guest';

benchGuest('kernel', 'site', {
  tcp: { normal: { floor: 0.95 }, vxlan: { floor: 1.15 } },
  packets: { vxlan: { floor: 1.35 } },
  roundTrip: { vxlan: { floor: 1 } },
});
