// What a fault is, as data.

import type { Host } from '../../lab/host';
import type { Stage } from './stage';

export interface Bounds {
  /** Datagrams of established conversations between hosts that nothing was done to; undefined: no promise. */
  readonly besideLost?: number;
  /** The longest that a new conversation between them waits. */
  readonly besideNewMs?: number;
  /** The same of conversations to, from and on the hosts that something was done to. */
  readonly throughLost?: number;
  readonly throughNewMs?: number;
  /** From the end of the fault until all is as before. */
  readonly wholeMs?: number;
}

export interface Fault {
  /** By which it is asked for. */
  readonly name: string;
  /** What happens, as the table has it. */
  readonly what: string;
  /** Whom it is done to. */
  readonly victims: (stage: Stage) => Promise<readonly Host[]>;
  /** Whether something was done to a conversation between two hosts; without it, where one of them is a victim. */
  readonly isBetween?: (victims: readonly string[], hosts: readonly [string, string]) => boolean;
  /** What the hosts need for it, which is no fault by itself; done before a victim is chosen. */
  readonly prepare?: (stage: Stage) => Promise<unknown>;
  readonly inject: (stage: Stage, victims: readonly Host[]) => Promise<unknown>;
  /** How long it stays; 0 where it heals itself. */
  readonly lastsMs: number;
  readonly heal?: (stage: Stage, victims: readonly Host[]) => Promise<unknown>;
  readonly bounds: Bounds;
  /** The hosts are of no use for others afterwards. */
  readonly isLast?: true;
}

/** To reach: established routes between living hosts lose nothing, new ones wait at most so long. */
export const ROUTE_MS = 2000;
/** The same while the directory elects a leader. */
export const ELECTION_MS = 5000;
const WHOLE_MS = 30_000;

/** Nothing is lost anywhere: what was done is not on the way of any packet. */
export const OFF_THE_WAY: Bounds = {
  besideLost: 0,
  besideNewMs: ROUTE_MS,
  throughLost: 0,
  throughNewMs: ROUTE_MS,
  wholeMs: WHOLE_MS,
};
/** What passes the part that is dead waits for it. */
export const ON_THE_WAY: Bounds = { besideLost: 0, besideNewMs: ROUTE_MS, wholeMs: WHOLE_MS };

/** Whom something is done to, in place of a fault's own choice. */
export const on = (fault: Fault, victims: Fault['victims'], { name, what }: Pick<Fault, 'name' | 'what'>): Fault => ({
  ...fault,
  name,
  what,
  victims,
});

/** The second host, a server of the directory that does not lead it. */
export async function follower(stage: Stage): Promise<readonly Host[]> {
  const leader = await stage.leader();
  const [, second, third] = stage.hosts as [Host, Host, Host];
  return [second === leader ? third : second];
}

export const leader = async (stage: Stage): Promise<readonly Host[]> => [await stage.leader()];
export const everyHost = async (stage: Stage): Promise<readonly Host[]> => stage.hosts;
