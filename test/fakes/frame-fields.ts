// A frame's fields as a datapath matches them, read and written the plain way, for the fake datapath alone.

import type { FieldName } from '../../src/openflow/oxm';
import { naiveChecksum, naiveL4Checksum } from '../unit/packet/frames';

export type Fields = { [Name in FieldName]?: number };

const IPV4 = 0x0800;
const ARP = 0x0806;
const VLAN = [0x8100, 0x88a8];

const mac = (frame: Buffer, at: number) => frame.readUIntBE(at, 6);

/** What OVS would extract: fields of a layer that is not whole are not there. */
export function readFields(frame: Buffer): Fields {
  if (frame.length < 14) return {};
  const ethType = frame.readUInt16BE(12);
  const fields: Fields = { ethDst: mac(frame, 0), ethSrc: mac(frame, 6), ethType, vlanVid: 0 };
  if (VLAN.includes(ethType)) return { ...fields, vlanVid: 0x1000 | (frame.readUInt16BE(14) & 0xfff) };
  if (ethType === ARP) return { ...fields, ...readArp(frame) };
  return ethType === IPV4 ? { ...fields, ...readIpv4(frame) } : fields;
}

function readArp(frame: Buffer): Fields {
  if (frame.length < 42 || frame.readUInt32BE(14) !== 0x00010800) return {};
  return {
    arpOp: frame.readUInt16BE(20),
    arpSha: mac(frame, 22),
    arpSpa: frame.readUInt32BE(28),
    arpTha: mac(frame, 32),
    arpTpa: frame.readUInt32BE(38),
  };
}

function readIpv4(frame: Buffer): Fields {
  const headerLength = ((frame[14] ?? 0) & 15) * 4;
  const totalLength = frame.length >= 34 ? frame.readUInt16BE(16) : 0;
  if (headerLength < 20 || totalLength < headerLength || frame.length < 14 + totalLength) return {};
  const fragment = frame.readUInt16BE(20);
  const isLater = (fragment & 0x1fff) !== 0;
  const ipProto = frame[23] ?? 0;
  const fields: Fields = {
    ipv4Src: frame.readUInt32BE(26),
    ipv4Dst: frame.readUInt32BE(30),
    ipProto,
    nwTtl: frame[22] ?? 0,
    ipFrag: isLater ? 3 : (fragment & 0x2000) !== 0 ? 1 : 0,
  };
  return { ...fields, ...readL4(frame, isLater ? undefined : 14 + headerLength, ipProto, totalLength - headerLength) };
}

const PORTS: { readonly [proto: number]: readonly [FieldName, FieldName, number] } = {
  6: ['tcpSrc', 'tcpDst', 20],
  17: ['udpSrc', 'udpDst', 8],
  132: ['sctpSrc', 'sctpDst', 12],
};

/** Ports and ICMP type, which are 0 in later fragments (`nx-match`), and where the header is not whole. */
function readL4(frame: Buffer, at: number | undefined, ipProto: number, length: number): Fields {
  const [src, dst, header] = PORTS[ipProto] ?? [];
  if (ipProto === 1) return { icmpv4Type: at === undefined || length < 8 ? 0 : (frame[at] ?? 0) };
  if (src === undefined || dst === undefined || header === undefined) return {};
  if (at === undefined || length < header) return { [src]: 0, [dst]: 0 };
  return { [src]: frame.readUInt16BE(at), [dst]: frame.readUInt16BE(at + 2) };
}

/** Stores a field into the frame, with the checksums that cover it. Registers are not in it. */
export function applyField(frame: Buffer, field: FieldName, value: number): void {
  const at: { [Name in FieldName]?: readonly [number, number] } = {
    ethDst: [0, 6],
    ethSrc: [6, 6],
    arpOp: [20, 2],
    arpSha: [22, 6],
    arpSpa: [28, 4],
    arpTha: [32, 6],
    arpTpa: [38, 4],
    ipv4Src: [26, 4],
    ipv4Dst: [30, 4],
    nwTtl: [22, 1],
    icmpv4Type: [34, 1],
  };
  const place = at[field];
  if (place === undefined) {
    if (!field.startsWith('reg')) throw new Error(`the fake datapath sets no ${field}`);
    return;
  }
  frame.writeUIntBE(value, place[0], place[1]);
  if (frame.readUInt16BE(12) === IPV4) fixChecksums(frame);
}

function fixChecksums(frame: Buffer): void {
  frame.writeUInt16BE(0, 24);
  frame.writeUInt16BE(naiveChecksum(frame.subarray(14, 34)), 24);
  const isFragment = (frame.readUInt16BE(20) & 0x3fff) !== 0;
  const end = 14 + frame.readUInt16BE(16);
  if (isFragment) return;
  if (frame[23] === 1) {
    frame.writeUInt16BE(0, 36);
    frame.writeUInt16BE(naiveChecksum(frame.subarray(34, end)), 36);
  } else if (frame[23] === 6 && end >= 54) frame.writeUInt16BE(naiveL4Checksum(frame), 50);
  else if (frame[23] === 17 && end >= 42 && frame.readUInt16BE(40) !== 0) {
    frame.writeUInt16BE(naiveL4Checksum(frame) || 0xffff, 40);
  }
}
