// What src/backup, which decides who is master of a datapath, needs of those who speak OpenFlow: this host's own controller,
// and the ones that stand by for other hosts. Implemented by src/standby and src/flowctl.

/** `stale`: the datapath has seen a later generation. `away`: it is not connected (any more). */
export type Taken = 'master' | 'stale' | 'away';

/** The OpenFlow side of a datapath that this host stands by for. */
export interface Standby {
  /** Whether the datapath is connected here now. */
  readonly isConnected: boolean;
  /** Whether what the host has told of its datapath can be read, so that it can be served. */
  readonly isDescribed: boolean;
  /** Becomes master with OpenFlow's generation_id, and begins to serve. */
  take(generation: bigint): Promise<Taken>;
  /** Stops serving, role SLAVE. Idempotent; also where the datapath itself said that another is master. */
  release(): void;
}

/** All of them, by the name of the host whose datapath it is. Each function that takes a listener returns what ends it. */
export interface Standbys {
  /** There is one for every host; that a host's row names this one as a backup is for the caller to know. */
  of(host: string): Standby;
  onConnected(listener: (host: string, isConnected: boolean) => void): () => void;
  /** The datapath has said that another is master. */
  onDemoted(listener: (host: string) => void): () => void;
}

/**
 * Which generation this host's own controller takes its datapath with: asked at each connection and after each demotion, with
 * the latest one that the datapath has seen (0n: none). By then the directory says so, if that could be had within a second.
 * Never rejects.
 */
export type NextGeneration = (seen: bigint) => Promise<bigint>;

/** A controller that this host's datapath is told to connect to, besides its own. */
export interface BackupLink {
  readonly host: string;
  readonly isConnected: boolean;
  readonly role: 'master' | 'slave' | 'other' | undefined;
}

/** What src/backup has to know of this host's own datapath. */
export interface OwnSwitch {
  /** Whether the datapath is connected, and this host is its master and serves it. */
  readonly isMaster: boolean;
  /** Why the datapath cannot have backups, for people, with what to do: as that the SSL row of Open vSwitch is another's. */
  readonly obstacle: string | undefined;
  /** As Open vSwitch says. */
  readonly links: readonly BackupLink[];
  /**
   * What a controller of this datapath must know that is in no row of the directory, as JSON of at most PROFILE_CHARACTERS:
   * what is not to be had by OpenFlow, as which names the ports of the fabric and of the host have. It seldom changes.
   */
  profile(): string;
  /** Calls back when the profile or the obstacle has changed. Returns what ends it. */
  onChange(listener: () => void): () => void;
}

/** The bound of the column; see directory.ovsschema. */
export const PROFILE_CHARACTERS = 4_096;
