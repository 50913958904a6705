// What emulated hosts are plugged into, as they and the lab's commands see it: one L2 (site.ts), or several sites with an internet
// between them (internet.ts).

import type { Namespace } from './namespace';

/** Two hosts by name. */
export type Pair = readonly [string, string];

export interface Wiring {
  /** The address that a host has on its own interface. */
  addressOf(host: string): string;
  /** Gives a host that has just started its eth0. */
  plug(host: Namespace, name: string): Promise<void>;
  /** Nothing passes between two hosts any more, until `heal`. */
  cut(one: string, other: string): Promise<void>;
  /** The hosts that a host is cut from. */
  cutFrom(host: string): string[];
  /** Takes every cut away. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** What makes a table of nftables what these lines say, whatever it was: each is what stands behind "add", but for the table. */
export function settingRules(family: string, table: string, lines: readonly string[]): string {
  const add = lines.map((line) => {
    const [kind, ...words] = line.split(' ');
    return `add ${kind} ${family} ${table} ${words.join(' ')}`;
  });
  const anew = [`add table ${family} ${table}`, `delete table ${family} ${table}`, `add table ${family} ${table}`];
  return `${[...anew, ...add].join('\n')}\n`;
}
