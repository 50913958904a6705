// Every message that this codec knows, as one union, with the dispatch between models and bytes. What is hot does not
// come through here: packet-in-view.ts reads packet-ins, template.ts writes flow mods and packet-outs.

import type { AsyncConfig } from './async-config';
import { decodeAsyncConfig, encodeAsyncConfig } from './async-config';
import type { BundleControl } from './bundle';
import { BUNDLE_ADD_HEADER, beginBundleAdd, decodeBundleControl, encodeBundleControl } from './bundle';
import { NXT, NX_EXPERIMENTER, OFPT } from './constants';
import type { Echo } from './echo';
import { decodeEcho, encodeEcho } from './echo';
import type { ErrorMessage } from './error';
import { decodeError, encodeError } from './error';
import type { FeaturesReply } from './features';
import { decodeFeaturesReply, encodeFeaturesReply } from './features';
import type { FlowMod } from './flow-mod';
import { decodeFlowMod, encodeFlowMod } from './flow-mod';
import type { FlowRemoved } from './flow-removed';
import { decodeFlowRemoved, encodeFlowRemoved } from './flow-removed';
import type { Hello } from './hello';
import { decodeHello, encodeHello } from './hello';
import type { MessageWriter } from './message-writer';
import { HEADER_LENGTH } from './message-writer';
import type { MeterMod } from './meter';
import { decodeMeterMod, encodeMeterMod } from './meter';
import type { MultipartMessage } from './multipart-message';
import { MULTIPART_ENCODERS, decodeMultipartReply, decodeMultipartRequest } from './multipart-message';
import type { PacketIn, PacketIn2, SetPacketInFormat } from './packet-in';
import {
  decodePacketIn,
  decodePacketIn2,
  decodeSetPacketInFormat,
  encodePacketIn,
  encodePacketIn2,
  encodeSetPacketInFormat,
} from './packet-in';
import type { PacketOut } from './packet-out';
import { decodePacketOut, encodePacketOut } from './packet-out';
import type { PortStatus } from './port';
import { decodePortStatus, encodePortStatus } from './port';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';
import type { RoleMessage, RoleStatus } from './role';
import { decodeRoleMessage, decodeRoleStatus, encodeRole, encodeRoleStatus } from './role';

/** Messages that are a header and nothing else. */
const BODILESS = {
  featuresRequest: OFPT.FEATURES_REQUEST,
  barrierRequest: OFPT.BARRIER_REQUEST,
  barrierReply: OFPT.BARRIER_REPLY,
  getAsyncRequest: OFPT.GET_ASYNC_REQUEST,
} as const;
export interface Bodiless {
  readonly type: keyof typeof BODILESS;
}

/** OFPT_BUNDLE_ADD_MESSAGE. The message inside has the same xid. */
export interface BundleAdd {
  readonly type: 'bundleAdd';
  readonly bundleId: number;
  readonly flags: number;
  readonly message: Message;
}

/** A message that has no name here: its OFPT type, and what follows its header. */
export interface UnknownMessage {
  readonly type: 'unknown';
  readonly messageType: number;
  readonly body: Buffer;
}

export type Message =
  | AsyncConfig
  | Bodiless
  | BundleAdd
  | BundleControl
  | Echo
  | ErrorMessage
  | FeaturesReply
  | FlowMod
  | FlowRemoved
  | Hello
  | MeterMod
  | MultipartMessage
  | PacketIn
  | PacketIn2
  | PacketOut
  | PortStatus
  | RoleMessage
  | RoleStatus
  | SetPacketInFormat
  | UnknownMessage;

/** The OFPT type of the message at `offset`. */
export function messageType(buffer: Buffer, offset: number): number {
  return buffer[offset + 1] as number;
}

/** The transaction id of the message at `offset`. */
export function messageXid(buffer: Buffer, offset: number): number {
  return u32(buffer, offset + 4);
}

/** Appends `message` with `xid`. Throws RangeError where a value does not fit, or the whole 65,535 bytes. */
export function encodeMessage(writer: MessageWriter, xid: number, message: Message): void {
  const { type } = message;
  if (type in BODILESS) return writer.end(writer.begin(BODILESS[type as keyof typeof BODILESS], xid));
  const encode = ENCODERS[type as keyof typeof ENCODERS] as (
    writer: MessageWriter,
    xid: number,
    message: Message,
  ) => void;
  encode(writer, xid, message);
}

type WithBody = Exclude<Message, Bodiless>;

const ENCODERS: {
  readonly [Type in WithBody['type']]: (
    writer: MessageWriter,
    xid: number,
    message: Extract<WithBody, { readonly type: Type }>,
  ) => void;
} = {
  bundleAdd: encodeBundleAdd,
  bundleControl: encodeBundleControl,
  echoReply: encodeEcho,
  echoRequest: encodeEcho,
  error: encodeError,
  featuresReply: encodeFeaturesReply,
  flowMod: encodeFlowMod,
  flowRemoved: encodeFlowRemoved,
  getAsyncReply: encodeAsyncConfig,
  hello: encodeHello,
  meterMod: encodeMeterMod,
  packetIn: encodePacketIn,
  packetIn2: encodePacketIn2,
  packetOut: encodePacketOut,
  portStatus: encodePortStatus,
  roleReply: encodeRole,
  roleRequest: encodeRole,
  roleStatus: encodeRoleStatus,
  setAsync: encodeAsyncConfig,
  setPacketInFormat: encodeSetPacketInFormat,
  unknown: encodeUnknown,
  ...MULTIPART_ENCODERS,
};

function encodeBundleAdd(writer: MessageWriter, xid: number, { bundleId, flags, message }: BundleAdd): void {
  const start = beginBundleAdd(writer, xid, bundleId, flags);
  encodeMessage(writer, xid, message);
  writer.end(start);
}

function encodeUnknown(writer: MessageWriter, xid: number, { messageType, body }: UnknownMessage): void {
  const start = writer.begin(messageType, xid);
  writer.copy(body);
  writer.end(start);
}

/**
 * Decodes the message of `length` bytes at `offset`, whose header a MessageFramer has checked. The result keeps no
 * reference to `buffer`. Throws ProtocolError for a body that is not as its type says.
 */
export function decodeMessage(buffer: Buffer, offset: number, length: number): Message {
  const end = offset + length;
  switch (messageType(buffer, offset)) {
    case OFPT.HELLO:
      return decodeHello(buffer, offset, end);
    case OFPT.ERROR:
      return decodeError(buffer, offset, end);
    case OFPT.ECHO_REQUEST:
      return decodeEcho('echoRequest', buffer, offset, end);
    case OFPT.ECHO_REPLY:
      return decodeEcho('echoReply', buffer, offset, end);
    case OFPT.EXPERIMENTER:
      return decodeNicira(buffer, offset, end) ?? unknown(buffer, offset, end);
    case OFPT.FEATURES_REQUEST:
      return { type: 'featuresRequest' };
    case OFPT.FEATURES_REPLY:
      return decodeFeaturesReply(buffer, offset, end);
    case OFPT.PACKET_IN:
      return decodePacketIn(buffer, offset, end);
    case OFPT.FLOW_REMOVED:
      return decodeFlowRemoved(buffer, offset, end);
    case OFPT.PORT_STATUS:
      return decodePortStatus(buffer, offset, end);
    case OFPT.PACKET_OUT:
      return decodePacketOut(buffer, offset, end);
    case OFPT.FLOW_MOD:
      return decodeFlowMod(buffer, offset, end);
    case OFPT.MULTIPART_REQUEST:
      return decodeMultipartRequest(buffer, offset, end) ?? unknown(buffer, offset, end);
    case OFPT.MULTIPART_REPLY:
      return decodeMultipartReply(buffer, offset, end) ?? unknown(buffer, offset, end);
    case OFPT.BARRIER_REQUEST:
      return { type: 'barrierRequest' };
    case OFPT.BARRIER_REPLY:
      return { type: 'barrierReply' };
    case OFPT.ROLE_REQUEST:
      return decodeRoleMessage('roleRequest', buffer, offset, end);
    case OFPT.ROLE_REPLY:
      return decodeRoleMessage('roleReply', buffer, offset, end);
    case OFPT.GET_ASYNC_REQUEST:
      return { type: 'getAsyncRequest' };
    case OFPT.GET_ASYNC_REPLY:
      return decodeAsyncConfig('getAsyncReply', buffer, offset, end);
    case OFPT.SET_ASYNC:
      return decodeAsyncConfig('setAsync', buffer, offset, end);
    case OFPT.METER_MOD:
      return decodeMeterMod(buffer, offset, end);
    case OFPT.ROLE_STATUS:
      return decodeRoleStatus(buffer, offset, end);
    case OFPT.BUNDLE_CONTROL:
      return decodeBundleControl(buffer, offset, end);
    case OFPT.BUNDLE_ADD_MESSAGE:
      return decodeBundleAdd(buffer, offset, end);
    default:
      return unknown(buffer, offset, end);
  }
}

function unknown(buffer: Buffer, offset: number, end: number): UnknownMessage {
  const body = Buffer.from(buffer.subarray(offset + HEADER_LENGTH, end));
  return { type: 'unknown', messageType: messageType(buffer, offset), body };
}

function decodeNicira(buffer: Buffer, offset: number, end: number): Message | undefined {
  requireLength('ofp_experimenter_header', end - offset, 16);
  if (u32(buffer, offset + 8) !== NX_EXPERIMENTER) return undefined;
  const subtype = u32(buffer, offset + 12);
  if (subtype === NXT.PACKET_IN2) return decodePacketIn2(buffer, offset, end);
  if (subtype === NXT.SET_PACKET_IN_FORMAT) return decodeSetPacketInFormat(buffer, offset, end);
  return undefined;
}

function decodeBundleAdd(buffer: Buffer, offset: number, end: number): BundleAdd {
  const inner = offset + BUNDLE_ADD_HEADER;
  requireLength('ofp_bundle_add_msg', end - inner, HEADER_LENGTH);
  const length = u16(buffer, inner + 2);
  if (length < HEADER_LENGTH || inner + length > end) throw new ProtocolError('ofp_bundle_add_msg', `length ${length}`);
  const type = messageType(buffer, inner);
  if (type === OFPT.BUNDLE_ADD_MESSAGE) throw new ProtocolError('ofp_bundle_add_msg', 'holds another');
  return {
    type: 'bundleAdd',
    bundleId: u32(buffer, offset + 8),
    flags: u16(buffer, offset + 14),
    message: decodeMessage(buffer, inner, length),
  };
}
