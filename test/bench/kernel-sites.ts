// Containers of two sites with the kernel's datapath and the kernel's WireGuard, in a guest (support/guest.ts). Beside them, in
// the same run and in turn: bare WireGuard between the hosts, with nothing around it, and VXLAN in ESP, as Docker's overlay
// network has it with `--opt encrypted`.

import { benchGuest } from './support/guest';

benchGuest('kernel-sites', 'sites', { tcp: { wireguard: { floor: 0.85, goal: 0.95 } } });
