// Multipart messages as one union, with the dispatch between models and bytes (OpenFlow 1.4, 7.3.5).

import { OFPMP } from './constants';
import type { DescReply } from './description';
import { decodeDescReply, encodeDescReply } from './description';
import type { AggregateStatsReply, FlowStatsReply, FlowStatsRequest } from './flow-stats';
import {
  decodeAggregateStatsReply,
  decodeFlowStatsReply,
  decodeFlowStatsRequest,
  encodeAggregateStatsReply,
  encodeFlowStatsReply,
  encodeFlowStatsRequest,
} from './flow-stats';
import type { MeterConfigReply, MeterFeaturesReply, MeterRequest, MeterStatsReply } from './meter-stats';
import {
  decodeMeterConfigReply,
  decodeMeterFeaturesReply,
  decodeMeterRequest,
  decodeMeterStatsReply,
  encodeMeterConfigReply,
  encodeMeterFeaturesReply,
  encodeMeterRequest,
  encodeMeterStatsReply,
} from './meter-stats';
import { beginRequest, multipartType } from './multipart';
import type { PortDescReply } from './port-desc';
import { decodePortDescReply, encodePortDescReply } from './port-desc';
import type { TableStatsReply } from './table-stats';
import { decodeTableStatsReply, encodeTableStatsReply } from './table-stats';
import type { MessageWriter } from './message-writer';

/** Multipart requests without a body. */
const BODILESS_REQUESTS = {
  descRequest: OFPMP.DESC,
  tableStatsRequest: OFPMP.TABLE,
  meterFeaturesRequest: OFPMP.METER_FEATURES,
  portDescRequest: OFPMP.PORT_DESC,
} as const;

export interface BodilessRequest {
  readonly type: keyof typeof BODILESS_REQUESTS;
}

export type MultipartMessage =
  | AggregateStatsReply
  | BodilessRequest
  | DescReply
  | FlowStatsReply
  | FlowStatsRequest
  | MeterConfigReply
  | MeterFeaturesReply
  | MeterRequest
  | MeterStatsReply
  | PortDescReply
  | TableStatsReply;

/** What appends each of them. */
export const MULTIPART_ENCODERS = {
  aggregateStatsReply: encodeAggregateStatsReply,
  aggregateStatsRequest: encodeFlowStatsRequest,
  descReply: encodeDescReply,
  flowStatsReply: encodeFlowStatsReply,
  flowStatsRequest: encodeFlowStatsRequest,
  meterConfigReply: encodeMeterConfigReply,
  meterConfigRequest: encodeMeterRequest,
  meterFeaturesReply: encodeMeterFeaturesReply,
  meterStatsReply: encodeMeterStatsReply,
  meterStatsRequest: encodeMeterRequest,
  portDescReply: encodePortDescReply,
  tableStatsReply: encodeTableStatsReply,
  descRequest: encodeBodiless,
  meterFeaturesRequest: encodeBodiless,
  portDescRequest: encodeBodiless,
  tableStatsRequest: encodeBodiless,
};

function encodeBodiless(writer: MessageWriter, xid: number, { type }: BodilessRequest): void {
  writer.end(beginRequest(writer, xid, BODILESS_REQUESTS[type]));
}

/** Undefined where the request's type has no name here. */
export function decodeMultipartRequest(buffer: Buffer, offset: number, end: number): MultipartMessage | undefined {
  switch (multipartType(buffer, offset, end)) {
    case OFPMP.DESC:
      return { type: 'descRequest' };
    case OFPMP.FLOW:
      return decodeFlowStatsRequest('flowStatsRequest', buffer, offset, end);
    case OFPMP.AGGREGATE:
      return decodeFlowStatsRequest('aggregateStatsRequest', buffer, offset, end);
    case OFPMP.TABLE:
      return { type: 'tableStatsRequest' };
    case OFPMP.METER:
      return decodeMeterRequest('meterStatsRequest', buffer, offset, end);
    case OFPMP.METER_CONFIG:
      return decodeMeterRequest('meterConfigRequest', buffer, offset, end);
    case OFPMP.METER_FEATURES:
      return { type: 'meterFeaturesRequest' };
    case OFPMP.PORT_DESC:
      return { type: 'portDescRequest' };
    default:
      return undefined;
  }
}

/** Undefined where the reply's type has no name here. */
export function decodeMultipartReply(buffer: Buffer, offset: number, end: number): MultipartMessage | undefined {
  switch (multipartType(buffer, offset, end)) {
    case OFPMP.DESC:
      return decodeDescReply(buffer, offset, end);
    case OFPMP.FLOW:
      return decodeFlowStatsReply(buffer, offset, end);
    case OFPMP.AGGREGATE:
      return decodeAggregateStatsReply(buffer, offset, end);
    case OFPMP.TABLE:
      return decodeTableStatsReply(buffer, offset, end);
    case OFPMP.METER:
      return decodeMeterStatsReply(buffer, offset, end);
    case OFPMP.METER_CONFIG:
      return decodeMeterConfigReply(buffer, offset, end);
    case OFPMP.METER_FEATURES:
      return decodeMeterFeaturesReply(buffer, offset, end);
    case OFPMP.PORT_DESC:
      return decodePortDescReply(buffer, offset, end);
    default:
      return undefined;
  }
}
