// The host as it is: puts the parts behind the face `Host` together and owns their helper processes.

import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import { AddressWatcher } from './address-watcher';
import { TcpdumpCaptures } from './captures';
import { CoProcessSession, type Dialogue } from './co-process-session';
import { ipBatchDialogue, shellDialogue } from './dialogues';
import { NftFirewall } from './firewall';
import type { Host } from './host';
import { ProcKernelSettings } from './kernel-settings';
import { LinkDeletions } from './link-deletions';
import { KernelLinks } from './links';
import { SocketPortReservations } from './port-reservations';
import { RuleWatcher } from './rule-watcher';
import type { Runner } from './runner';
import type { SysctlFiles } from './sysctl-files';
import { HostTunnels } from './tunnels';

export interface LinuxHostOptions {
  readonly runner: Runner;
  readonly sysctl: SysctlFiles;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** conntrack reads the whole table of connections, and iptables may wait for a lock. */
const SLOW_MS = 15_000;

/** Constructs only; start() starts the helper processes. */
export function createLinuxHost({ runner, sysctl, clock, logger, random }: LinuxHostOptions): Host {
  const session = (dialogue: Dialogue, timeoutMs?: number): CoProcessSession =>
    new CoProcessSession({ runner, clock, dialogue, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  // What a container's start waits for is kept apart from what may take long.
  const ip = session(ipBatchDialogue);
  const shell = session(shellDialogue);
  const deletingIp = session(ipBatchDialogue, SLOW_MS);
  const filterShell = session(shellDialogue, SLOW_MS);
  const tunnelShell = session(shellDialogue, SLOW_MS);
  const sessions = [ip, shell, deletingIp, filterShell, tunnelShell];

  const deletions = new LinkDeletions(deletingIp, logger);
  const firewall = new NftFirewall(filterShell, logger);
  const watcher = new RuleWatcher({ runner, clock, logger, random, rules: firewall });
  const addresses = new AddressWatcher({ runner, clock, logger, random });
  const ports = new SocketPortReservations(clock);
  const tunnels = new HostTunnels({ runner, clock, logger, random, shell: tunnelShell, sysctl, now: Date.now });
  const captures = new TcpdumpCaptures(runner, clock);
  return {
    links: new KernelLinks({ ip, shell }, deletions, sysctl),
    kernel: new ProcKernelSettings(shell, sysctl),
    firewall,
    ports,
    captures,
    tunnels,
    onChange: (listener) => addresses.onChange(listener),
    async start() {
      await Promise.all(sessions.map((each) => each.start()));
      watcher.start();
      addresses.start();
    },
    async stop() {
      await addresses.stop();
      await captures.stop();
      await watcher.stop();
      await tunnels.stop();
      await deletions.done();
      await ports.stop();
      await Promise.all(sessions.map((each) => each.stop()));
    },
  };
}
