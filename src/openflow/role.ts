// Which controller is in charge: OFPT_ROLE_REQUEST and its reply (OpenFlow 1.4, 7.3.8), OFPT_ROLE_STATUS (7.4.4).

import { OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u32, u64 } from './reader';

/** 'slave' gets no packet-ins and changes nothing; becoming 'master' makes every other master a slave. */
export type Role = 'nochange' | 'equal' | 'master' | 'slave';

export interface RoleMessage {
  readonly type: 'roleRequest' | 'roleReply';
  readonly role: Role;
  /** Of masters and slaves: a request with a smaller one than the largest seen is refused as OFPRRFC_STALE. */
  readonly generationId: bigint;
}

export interface RoleStatus {
  readonly type: 'roleStatus';
  readonly role: Role;
  /** One of OFPCRR. */
  readonly reason: number;
  readonly generationId: bigint;
}

/** By OFPCR. */
const ROLES: readonly Role[] = ['nochange', 'equal', 'master', 'slave'];
const LENGTH = 24;

function decodeRole(structure: string, value: number): Role {
  const role = ROLES[value];
  if (role === undefined) throw new ProtocolError(structure, `role ${value}`);
  return role;
}

export function encodeRole(writer: MessageWriter, xid: number, message: RoleMessage): void {
  const start = writer.begin(message.type === 'roleRequest' ? OFPT.ROLE_REQUEST : OFPT.ROLE_REPLY, xid);
  writer.u32(ROLES.indexOf(message.role));
  writer.u32(0);
  writer.u64(message.generationId);
  writer.end(start);
}

export function decodeRoleMessage(type: RoleMessage['type'], buffer: Buffer, offset: number, end: number): RoleMessage {
  requireLength('ofp_role_request', end - offset, LENGTH);
  const role = decodeRole('ofp_role_request', u32(buffer, offset + 8));
  return { type, role, generationId: u64(buffer, offset + 16) };
}

export function encodeRoleStatus(writer: MessageWriter, xid: number, status: RoleStatus): void {
  const start = writer.begin(OFPT.ROLE_STATUS, xid);
  writer.u32(ROLES.indexOf(status.role));
  writer.u8(status.reason);
  writer.zeros(3);
  writer.u64(status.generationId);
  writer.end(start);
}

export function decodeRoleStatus(buffer: Buffer, offset: number, end: number): RoleStatus {
  requireLength('ofp_role_status', end - offset, LENGTH);
  return {
    type: 'roleStatus',
    role: decodeRole('ofp_role_status', u32(buffer, offset + 8)),
    reason: buffer[offset + 12] as number,
    generationId: u64(buffer, offset + 16),
  };
}
