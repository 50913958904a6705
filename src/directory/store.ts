// What the rest of the code sees of the directory as a whole: its view, changes, and the one way to write. Directory
// (directory.ts) is the real one; test/fakes/memory-directory.ts behaves the same without a server.

import type { Cidr, Ipv4 } from '../base/addresses';
import type { Operation } from '../ovsdb/notation';
import type { DirectoryChange, NetworkId, PoolId } from './rows';
import type { DirectoryView } from './view';

/**
 * The operations of one transaction (RFC 7047 §5.2), all or nothing. An insert stands before what names its row: its
 * uuid is chosen by us, and ovsdb-server 3.1 resolves a name that comes earlier to another one.
 */
export type Ops = readonly Operation[];

/** Gives out numbers that nobody has, never the one that was free last: what is old should stay unused for long. */
export interface Allocator {
  tenantNumber(): number;
  networkKey(): number;
  /** An OpenFlow port number of this host. Throws `exhausted`. */
  portNo(): number;
  /** A locator of this host, and the block to add to the Host row if its blocks were full. Throws `exhausted`. */
  locator(): { readonly locator: Ipv4; readonly newBlock: Cidr | undefined };
}

/** What operations are built from: what is there, who we are, what is free, and what time it is. */
export interface PlanContext {
  readonly view: DirectoryView;
  /** The name of this host's row. */
  readonly host: string;
  readonly allocate: Allocator;
  /** Milliseconds since 1970, for people to read: nothing is decided by it. */
  readonly nowMs: number;
  /** How often this plan has lost a race: 0 the first time. */
  readonly attempt: number;
}

/** What to write, and what it means to the caller. No operations: nothing to do. */
export interface Planned<T> {
  readonly ops: Ops;
  readonly result: T;
}

/**
 * Looks at the directory and says what to write. Called again on the newer view if somebody else was faster, so it is
 * pure but for the allocator, and finds nothing to do if all is done. What it throws goes to the caller.
 */
export type Plan<T> = (context: PlanContext) => Planned<T>;

/** A network, or a pool; one that is not there is passed over. */
export interface Followed {
  readonly network?: NetworkId;
  readonly pool?: PoolId;
}

export interface DirectoryStore {
  readonly view: DirectoryView;
  /** The name of this host's row. */
  readonly host: string;
  /** Whether the view follows the database at present. */
  readonly connected: boolean;
  /** Resolves when the view is complete for the first time and this host's row is there. */
  whenReady(): Promise<void>;
  /**
   * Resolves when the view has every endpoint and address of a network, or of a pool and its network: before an address is
   * chosen, or an endpoint made, where this host may have none yet. They stay for minutes, and as long as it has some.
   * Throws `unavailable` if the database is away for longer than 7 s.
   */
  follow(what: Followed): Promise<void>;
  /**
   * Resolves when the view has all that this host follows as things are now: its own, and what the hosts have that it stands by
   * for. Throws `unavailable` if the database is away for longer than 7 s meanwhile.
   */
  whenFollowed(): Promise<void>;
  /**
   * The names of the hosts whose Docker has a network, of a swarm's its configuration: a view that is not whole has this host's
   * replica alone, and then the database is asked. Throws `unavailable` where that is away.
   */
  hostsOf(network: NetworkId): Promise<string[]>;
  /**
   * Plans and writes as one transaction, and plans again if it raced. When it resolves, the view has it. Throws what the
   * plan throws; `conflict` if it keeps losing races; `unavailable` if the database is away for longer than 7 s.
   */
  transact<T>(plan: Plan<T>): Promise<T>;
  /** Writes these operations as they are, once. Throws `conflict` where they do not fit (any more), and as `transact`. */
  commit(ops: Ops): Promise<void>;
  /** Calls back with the changes of each transaction, after the view has them. Returns what ends it. */
  onChange(listener: (changes: readonly DirectoryChange[]) => void): () => void;
  /** Calls back when the database comes (with all that was missed already in the view) or goes. Returns what ends it. */
  onConnected(listener: (isConnected: boolean) => void): () => void;
}
