// The database `_Server`: what a server says of each database that it serves (ovsdb-server's _server.xml), and whether
// such a server is good enough for us. Pure.

import type { StoredRow } from './rows';

export const SERVER_DATABASE_COLUMNS = [
  'name',
  'model',
  'connected',
  'leader',
  'schema',
  'cid',
  'sid',
  'index',
] as const;

/** A row of _Server.Database. */
export interface ServerDatabase {
  readonly name: string;
  readonly model: string;
  readonly connected: boolean;
  readonly leader: boolean;
  readonly schema: string | undefined;
  readonly cid: string | undefined;
  readonly sid: string | undefined;
  /** How far this server's log has come; undefined if not clustered. */
  readonly index: number | undefined;
}

export interface ServerDemands {
  readonly leaderOnly: boolean;
  /** Only this cluster will do. */
  readonly clusterId: string | undefined;
  /** What has been seen of a cluster's log: a server behind that is stale. */
  readonly minIndex: (clusterId: string) => number;
}

/** Why a server will not do, or undefined if it will. */
export function refusal(row: StoredRow<ServerDatabase> | undefined, demands: ServerDemands): string | undefined {
  if (row === undefined) return 'the server does not have the database';
  if (!row.schema) return 'the server has not joined the cluster yet';
  if (!row.connected) return 'the server has lost the rest of its cluster';
  if (demands.clusterId !== undefined && row.cid !== demands.clusterId) return `the cluster is ${row.cid}, another one`;
  if (demands.leaderOnly && (!row.leader || row.model === 'relay')) return 'the server is not the leader';
  const minIndex = row.cid === undefined ? 0 : demands.minIndex(row.cid);
  if ((row.index ?? 0) < minIndex) return `the server's data is old (index ${row.index} below ${minIndex})`;
  return undefined;
}
