// The fields of a packet and its metadata: one row each, with OXM and NXM headers, width and text form. Row order is the
// order in which OVS writes a match, so prerequisites always come before what needs them. No bytes are read here.

import type { Ipv4, Mac } from '../base/addresses';
import type { PortNo } from './constants';

/** How `ovs-ofctl` prints a value of the field. */
export type FieldFormat = 'decimal' | 'hex' | 'paddedHex' | 'port' | 'mac' | 'ipv4' | 'ipv6' | 'frag';

export interface FieldRow {
  readonly field: FieldName;
  /** Name in set_field and in matches of `ovs-ofctl`. */
  readonly name: string;
  /** Name in move, load and subfields of `ovs-ofctl`. */
  readonly longName: string;
  /** Header in matches and set-field: class, field number and length, without mask. */
  readonly oxm: number;
  /** Header in move, load and subfields: NXM where the field has one. */
  readonly nxm: number;
  readonly bytes: number;
  readonly bits: number;
  /** All bits set: the largest value, and the mask that stands for "exactly". */
  readonly max: number | bigint;
  readonly format: FieldFormat;
  /** Position in a match. */
  readonly order: number;
}

/** The value of each field. Up to 48 bits are numbers, wider ones bigints. */
export interface FieldValues extends RegisterValues {
  inPort: PortNo;
  /** NXM_OF_IN_PORT, 16 bits: only to move and load. Loading 0 lets a packet leave by the port it came in on. */
  inPortNxm: number;
  ethSrc: Mac;
  ethDst: Mac;
  ethType: number;
  /** OFPVID_PRESENT (0x1000) and the VLAN id; 0 is "no tag". */
  vlanVid: number;
  vlanPcp: number;
  /** NXM_OF_VLAN_TCI, the whole tag. OVS takes it and lists it as `vlanVid` and `vlanPcp`, so flows of ours use those. */
  vlanTci: number;
  ipv4Src: Ipv4;
  ipv4Dst: Ipv4;
  ipv6Src: bigint;
  ipv6Dst: bigint;
  /** NXM_NX_IP_FRAG, bits of NX_IP_FRAG. */
  ipFrag: number;
  ipDscp: number;
  ipEcn: number;
  nwTtl: number;
  ipv6Flabel: number;
  ipProto: number;
  tcpSrc: number;
  tcpDst: number;
  udpSrc: number;
  udpDst: number;
  sctpSrc: number;
  sctpDst: number;
  icmpv4Type: number;
  icmpv4Code: number;
  icmpv6Type: number;
  icmpv6Code: number;
  ndTarget: bigint;
  ndSll: Mac;
  ndTll: Mac;
  arpOp: number;
  arpSpa: Ipv4;
  arpTpa: Ipv4;
  arpSha: Mac;
  arpTha: Mac;
  pktMark: number;
  metadata: bigint;
}

type Digits16 = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15;
/** reg0 to reg15 (32 bits), xreg0 to xreg7 (64: xreg0 is reg0 and reg1), xxreg0 to xxreg3 (128). */
type RegisterValues = { [Name in `reg${Digits16}`]: number } & {
  [Name in `xreg${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}` | `xxreg${0 | 1 | 2 | 3}`]: bigint;
};

export type FieldName = keyof FieldValues;

/** Bits of NXM_NX_IP_FRAG. A match on LATER alone tells later fragments from everything else. */
export const NX_IP_FRAG = { ANY: 1, LATER: 2 } as const;

const NXM_OF = 0x0000;
const NXM_NX = 0x0001;
const OXM_OF = 0x8000;
const OXM_PKT_REG = 0x8001;

/** Class, field number, name. */
type Id = readonly [number, number, string];
/** Model name, ovs-ofctl name, bits, format, OXM id (absent: NXM only), NXM id (absent: OXM only), bytes where odd. */
type Declaration = readonly [FieldName, string, number, FieldFormat, Id | undefined, Id | undefined];

const of = (field: number, name: string): Id => [OXM_OF, field, `OXM_OF_${name}`];
const nxmOf = (field: number, name: string): Id => [NXM_OF, field, `NXM_OF_${name}`];
const nxmNx = (field: number, name: string): Id => [NXM_NX, field, `NXM_NX_${name}`];

function registers(): Declaration[] {
  const rows: Declaration[] = [];
  for (let i = 0; i < 16; i++)
    rows.push([`reg${i}` as FieldName, `reg${i}`, 32, 'hex', undefined, nxmNx(i, `REG${i}`)]);
  for (let i = 0; i < 8; i++) {
    rows.push([`xreg${i}` as FieldName, `xreg${i}`, 64, 'hex', [OXM_PKT_REG, i, `OXM_OF_PKT_REG${i}`], undefined]);
  }
  for (let i = 0; i < 4; i++) {
    rows.push([`xxreg${i}` as FieldName, `xxreg${i}`, 128, 'hex', undefined, nxmNx(111 + i, `XXREG${i}`)]);
  }
  return rows;
}

// prettier-ignore
const DECLARATIONS: readonly Declaration[] = [
  ['inPort',     'in_port',     32,  'port',    of(0, 'IN_PORT'),       undefined],
  ['inPortNxm',  'in_port',     16,  'decimal', undefined,              nxmOf(0, 'IN_PORT')],
  ['ethSrc',     'eth_src',     48,  'mac',     of(4, 'ETH_SRC'),       nxmOf(2, 'ETH_SRC')],
  ['ethDst',     'eth_dst',     48,  'mac',     of(3, 'ETH_DST'),       nxmOf(1, 'ETH_DST')],
  ['ethType',    'eth_type',    16,  'paddedHex',   of(5, 'ETH_TYPE'),      nxmOf(3, 'ETH_TYPE')],
  ['vlanVid',    'vlan_vid',    13,  'hex',     of(6, 'VLAN_VID'),      undefined],
  ['vlanPcp',    'vlan_pcp',    3,   'decimal', of(7, 'VLAN_PCP'),      undefined],
  ['vlanTci',    'vlan_tci',    16,  'paddedHex',   undefined,              nxmOf(4, 'VLAN_TCI')],
  ['ipv4Src',    'ip_src',      32,  'ipv4',    of(11, 'IPV4_SRC'),     nxmOf(7, 'IP_SRC')],
  ['ipv4Dst',    'ip_dst',      32,  'ipv4',    of(12, 'IPV4_DST'),     nxmOf(8, 'IP_DST')],
  ['ipv6Src',    'ipv6_src',    128, 'ipv6',    of(26, 'IPV6_SRC'),     nxmNx(19, 'IPV6_SRC')],
  ['ipv6Dst',    'ipv6_dst',    128, 'ipv6',    of(27, 'IPV6_DST'),     nxmNx(20, 'IPV6_DST')],
  ['ipFrag',     'ip_frag',     2,   'frag',    undefined,              nxmNx(26, 'IP_FRAG')],
  ['ipDscp',     'ip_dscp',     6,   'decimal', of(8, 'IP_DSCP'),       undefined],
  ['ipEcn',      'nw_ecn',      2,   'decimal', of(9, 'IP_ECN'),        nxmNx(28, 'IP_ECN')],
  ['nwTtl',      'nw_ttl',      8,   'decimal', undefined,              nxmNx(29, 'IP_TTL')],
  ['ipv6Flabel', 'ipv6_label',  20,  'paddedHex',     of(28, 'IPV6_FLABEL'),  nxmNx(27, 'IPV6_LABEL')],
  ['ipProto',    'nw_proto',    8,   'decimal', of(10, 'IP_PROTO'),     nxmOf(6, 'IP_PROTO')],
  ['tcpSrc',     'tcp_src',     16,  'decimal', of(13, 'TCP_SRC'),      nxmOf(9, 'TCP_SRC')],
  ['tcpDst',     'tcp_dst',     16,  'decimal', of(14, 'TCP_DST'),      nxmOf(10, 'TCP_DST')],
  ['udpSrc',     'udp_src',     16,  'decimal', of(15, 'UDP_SRC'),      nxmOf(11, 'UDP_SRC')],
  ['udpDst',     'udp_dst',     16,  'decimal', of(16, 'UDP_DST'),      nxmOf(12, 'UDP_DST')],
  ['sctpSrc',    'sctp_src',    16,  'decimal', of(17, 'SCTP_SRC'),     undefined],
  ['sctpDst',    'sctp_dst',    16,  'decimal', of(18, 'SCTP_DST'),     undefined],
  ['icmpv4Type', 'icmp_type',   8,   'decimal', of(19, 'ICMPV4_TYPE'),  nxmOf(13, 'ICMP_TYPE')],
  ['icmpv4Code', 'icmp_code',   8,   'decimal', of(20, 'ICMPV4_CODE'),  nxmOf(14, 'ICMP_CODE')],
  ['icmpv6Type', 'icmpv6_type', 8,   'decimal', of(29, 'ICMPV6_TYPE'),  nxmNx(21, 'ICMPV6_TYPE')],
  ['icmpv6Code', 'icmpv6_code', 8,   'decimal', of(30, 'ICMPV6_CODE'),  nxmNx(22, 'ICMPV6_CODE')],
  ['ndTarget',   'nd_target',   128, 'ipv6',    of(31, 'IPV6_ND_TARGET'), nxmNx(23, 'ND_TARGET')],
  ['ndSll',      'nd_sll',      48,  'mac',     of(32, 'IPV6_ND_SLL'),  nxmNx(24, 'ND_SLL')],
  ['ndTll',      'nd_tll',      48,  'mac',     of(33, 'IPV6_ND_TLL'),  nxmNx(25, 'ND_TLL')],
  ['arpOp',      'arp_op',      16,  'decimal', of(21, 'ARP_OP'),       nxmOf(15, 'ARP_OP')],
  ['arpSpa',     'arp_spa',     32,  'ipv4',    of(22, 'ARP_SPA'),      nxmOf(16, 'ARP_SPA')],
  ['arpTpa',     'arp_tpa',     32,  'ipv4',    of(23, 'ARP_TPA'),      nxmOf(17, 'ARP_TPA')],
  ['arpSha',     'arp_sha',     48,  'mac',     of(24, 'ARP_SHA'),      nxmNx(17, 'ARP_SHA')],
  ['arpTha',     'arp_tha',     48,  'mac',     of(25, 'ARP_THA'),      nxmNx(18, 'ARP_THA')],
  ...registers(),
  ['pktMark',    'pkt_mark',    32,  'hex',     undefined,              nxmNx(33, 'PKT_MARK')],
  ['metadata',   'metadata',    64,  'hex',     of(2, 'METADATA'),      undefined],
];

// These are carried in a word larger than their bits.
const BYTES: Partial<Record<FieldName, number>> = { ipv6Flabel: 4 };

function toRow([field, name, bits, format, oxm, nxm]: Declaration, order: number): FieldRow {
  const bytes = BYTES[field] ?? (bits + 7) >>> 3;
  const header = (id: Id) => ((id[0] << 16) | (id[1] << 9) | bytes) >>> 0;
  const [forMatch, forMove] = [oxm ?? nxm, nxm ?? oxm];
  if (forMatch === undefined || forMove === undefined) throw new Error(`${field} has no OXM or NXM header`);
  const max = bits > 48 ? (1n << BigInt(bits)) - 1n : 2 ** bits - 1;
  const headers = { oxm: header(forMatch), nxm: header(forMove) };
  return { field, name, longName: forMove[2], ...headers, bytes, bits, max, format, order };
}

/** Every field, in the order in which a match carries them. */
export const FIELD_ROWS: readonly FieldRow[] = DECLARATIONS.map(toRow);

/** The row of each field, by its model name. */
export const FIELDS = Object.fromEntries(FIELD_ROWS.map((row) => [row.field, row])) as {
  readonly [Field in FieldName]: FieldRow;
};

/** The mask bit of an OXM header. */
export const OXM_HAS_MASK = 0x100;

const byClassAndField = new Map<number, FieldRow>();
for (const row of FIELD_ROWS) {
  byClassAndField.set(row.oxm >>> 9, row);
  byClassAndField.set(row.nxm >>> 9, row);
}

/** The row that an OXM or NXM header names, whatever its mask bit and length. */
export function rowOfHeader(header: number): FieldRow | undefined {
  return byClassAndField.get(header >>> 9);
}
