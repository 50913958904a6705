// Which messages come unasked: OFPT_SET_ASYNC and OFPT_GET_ASYNC_REPLY (OpenFlow 1.4, 7.3.10).

import { OFPACPT, OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';

/** By kind of message and role of its receiver ("master" is for equal too). A mask has bit 1 << reason for each. */
export interface AsyncConfig {
  readonly type: 'setAsync' | 'getAsyncReply';
  readonly packetInMaster?: number;
  readonly packetInSlave?: number;
  readonly portStatusMaster?: number;
  readonly portStatusSlave?: number;
  readonly flowRemovedMaster?: number;
  readonly flowRemovedSlave?: number;
  readonly roleStatusMaster?: number;
  readonly roleStatusSlave?: number;
  readonly tableStatusMaster?: number;
  readonly tableStatusSlave?: number;
  readonly requestForwardMaster?: number;
  readonly requestForwardSlave?: number;
}

type Mask = Exclude<keyof AsyncConfig, 'type'>;

/** In order of their property types, which is how OVS writes them. */
const PROPERTIES: readonly (readonly [Mask, number])[] = [
  ['packetInSlave', OFPACPT.PACKET_IN_SLAVE],
  ['packetInMaster', OFPACPT.PACKET_IN_MASTER],
  ['portStatusSlave', OFPACPT.PORT_STATUS_SLAVE],
  ['portStatusMaster', OFPACPT.PORT_STATUS_MASTER],
  ['flowRemovedSlave', OFPACPT.FLOW_REMOVED_SLAVE],
  ['flowRemovedMaster', OFPACPT.FLOW_REMOVED_MASTER],
  ['roleStatusSlave', OFPACPT.ROLE_STATUS_SLAVE],
  ['roleStatusMaster', OFPACPT.ROLE_STATUS_MASTER],
  ['tableStatusSlave', OFPACPT.TABLE_STATUS_SLAVE],
  ['tableStatusMaster', OFPACPT.TABLE_STATUS_MASTER],
  ['requestForwardSlave', OFPACPT.REQUESTFORWARD_SLAVE],
  ['requestForwardMaster', OFPACPT.REQUESTFORWARD_MASTER],
];

/** Appends the message. In a request, what is absent stays as it is. */
export function encodeAsyncConfig(writer: MessageWriter, xid: number, config: AsyncConfig): void {
  const start = writer.begin(config.type === 'setAsync' ? OFPT.SET_ASYNC : OFPT.GET_ASYNC_REPLY, xid);
  for (const [name, type] of PROPERTIES) {
    const mask = config[name];
    if (mask === undefined) continue;
    writer.u32((type << 16) | 8);
    writer.u32(mask);
  }
  writer.end(start);
}

/** Decodes the message. Properties of experimenters are ignored. */
export function decodeAsyncConfig(type: AsyncConfig['type'], buffer: Buffer, offset: number, end: number): AsyncConfig {
  const config: { type: AsyncConfig['type'] } & { [Name in Mask]?: number } = { type };
  for (let at = offset + 8; at < end;) {
    requireLength('ofp_async_config_prop', end - at, 8);
    const length = u16(buffer, at + 2);
    if (length < 8 || at + length > end) throw new ProtocolError('ofp_async_config_prop', `length ${length}`);
    const property = PROPERTIES.find(([, number]) => number === u16(buffer, at));
    if (property !== undefined) config[property[0]] = u32(buffer, at + 4);
    at += (length + 7) & ~7;
  }
  return config;
}
