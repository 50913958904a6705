// Memory and file descriptors of what runs on the hosts, and whether they stay level.

import { readdirSync, readFileSync } from 'node:fs';
import type { Daemon } from '../../lab/host';
import type { Stage } from './stage';

const WATCHED: readonly Daemon[] = ['daolinetd', 'member', 'ovs-vswitchd', 'ovsdb-server'];
/** What a process may need more of at one time than at another. */
const MARGIN = { megabytes: 48, descriptors: 48 } as const;

/** Of each daemon, the most that one of its processes has on any host. */
export type Vitals = Readonly<Partial<Record<Daemon, { readonly megabytes: number; readonly descriptors: number }>>>;

export function vitalsOf(stage: Stage): Vitals {
  const vitals: Vitals = Object.fromEntries(
    WATCHED.map((daemon) => {
      const each = stage.hosts.flatMap((host) => {
        const pid = host.pidOf(daemon);
        if (pid === undefined) return [];
        const status = readFileSync(host.path(`/proc/${pid}/status`), 'utf8');
        const descriptors = readdirSync(host.path(`/proc/${pid}/fd`)).length;
        return [{ megabytes: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024), descriptors }];
      });
      const most = (name: 'megabytes' | 'descriptors') => Math.max(0, ...each.map((one) => one[name]));
      return [daemon, { megabytes: most('megabytes'), descriptors: most('descriptors') }];
    }),
  );
  return vitals;
}

/** What has grown from the first half to the second, beyond a margin. */
export function growth(samples: readonly Vitals[]): string[] {
  const half = Math.ceil(samples.length / 2);
  return WATCHED.flatMap((daemon) =>
    (['megabytes', 'descriptors'] as const).flatMap((name) => {
      const most = (some: readonly Vitals[]) => Math.max(0, ...some.map((vitals) => vitals[daemon]?.[name] ?? 0));
      const [before, after] = [most(samples.slice(0, half)), most(samples.slice(half))];
      return after > before + MARGIN[name] ? [`${daemon} had ${before} ${name}, and has ${after}`] : [];
    }),
  );
}
