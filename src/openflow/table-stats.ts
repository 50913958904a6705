// How full the tables are: OFPMP_TABLE (OpenFlow 1.4, 7.3.5.4).

import { OFPMP } from './constants';
import type { MessageWriter } from './message-writer';
import type { Part } from './multipart';
import { MULTIPART_HEADER, beginReply, hasMore } from './multipart';
import { requireLength } from './protocol-error';
import { counter, u32 } from './reader';

export interface TableStats {
  readonly table: number;
  readonly activeCount: number;
  readonly lookupCount: number;
  readonly matchedCount: number;
}

export interface TableStatsReply extends Part {
  readonly type: 'tableStatsReply';
  readonly tables: readonly TableStats[];
}

const LENGTH = 24;

export function encodeTableStatsReply(writer: MessageWriter, xid: number, reply: TableStatsReply): void {
  const start = beginReply(writer, xid, OFPMP.TABLE, reply);
  for (const { table, activeCount, lookupCount, matchedCount } of reply.tables) {
    writer.u32(table << 24);
    writer.u32(activeCount);
    writer.counter(lookupCount);
    writer.counter(matchedCount);
  }
  writer.end(start);
}

export function decodeTableStatsReply(buffer: Buffer, offset: number, end: number): TableStatsReply {
  const tables: TableStats[] = [];
  for (let at = offset + MULTIPART_HEADER; at < end; at += LENGTH) {
    requireLength('ofp_table_stats', end - at, LENGTH);
    tables.push({
      table: buffer[at] as number,
      activeCount: u32(buffer, at + 4),
      lookupCount: counter(buffer, at + 8),
      matchedCount: counter(buffer, at + 16),
    });
  }
  return { type: 'tableStatsReply', more: hasMore(buffer, offset), tables };
}
