// Which hosts stand by for one another. Pure.

import type { SwitchRow } from './rows';
import type { DirectoryView } from './view';

/** The hosts that are, or may be, in charge of a datapath: its own, and its backups. */
export function teamOf({ host, backups }: SwitchRow): readonly string[] {
  return [host, ...backups];
}

/** Those that stand by for a host, for which it stands by, and with which it does. The same from both ends. */
export function companionsOf(view: Pick<DirectoryView, 'switches'>, host: string): Set<string> {
  const companions = new Set<string>();
  for (const row of view.switches()) {
    const team = teamOf(row);
    if (team.includes(host)) for (const name of team) companions.add(name);
  }
  companions.delete(host);
  return companions;
}
