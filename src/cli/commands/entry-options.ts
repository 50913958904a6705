// What is said of a host when it comes into a cluster: options that `cluster init` and `cluster join` have both.

import { Option, type Command } from 'commander';
import type { L2Setting } from '../../api/operations/cluster';

export interface EntryOptions {
  readonly address?: string;
  readonly site?: string;
  readonly hub?: boolean;
  readonly encrypt?: boolean;
  readonly endpoint?: string;
  readonly l2?: L2Option;
}

export function addEntryOptions(command: Command): Command {
  return addL2Options(command)
    .option('--site <name>', 'where this host is: between two sites packets are encrypted (default: "default")')
    .option('--hub', 'pass packets on between hosts that cannot reach each other')
    .option(
      '--endpoint <address>',
      'where other sites reach its tunnel, as ADDRESS or ADDRESS:PORT (UDP; default: 7471)',
    );
}

/** --l2, which takes a word, or --no-l2. */
export type L2Option = L2Setting | false;

/** Whether a host shares an L2 with its site. */
export function addL2Options(command: Command): Command {
  const how = new Option(
    '--l2 <how>',
    'whether this host shares an L2 with its site; auto: it finds out (default: auto)',
  );
  return command
    .addOption(how.choices(['auto', 'yes', 'no']))
    .option('--no-l2', 'as --l2 no: as in clouds that drop unknown MAC addresses');
}

export function l2Of(l2: L2Option | undefined): L2Setting | undefined {
  return l2 === false ? 'no' : l2;
}

/** The body of the request. */
export function entryOf({ address, site, hub, encrypt, endpoint, l2 }: EntryOptions): object {
  return { address, site, isHub: hub, encrypts: encrypt, endpoint, l2: l2Of(l2) };
}
