// A match as ovs-ofctl prints it: names of protocols first, and nw_, tp_ and dl_ for what OXM calls ip, tcp and eth.

import { DaoliError } from '../base/errors';
import { formatValue, isMasked, parseUnsigned, parseValue } from './field-text';
import type { Masked, Match, MatchValue } from './match';
import type { FieldName, FieldRow } from './oxm';
import { FIELDS, FIELD_ROWS } from './oxm';

const ETH_TYPE = { IPV4: 0x0800, ARP: 0x0806, RARP: 0x8035, IPV6: 0x86dd } as const;

interface Protocol {
  readonly name: string;
  readonly ethType: number;
  readonly ipProto?: number;
}

const { IPV4, IPV6 } = ETH_TYPE;
// Those with an ipProto first: the first that fits names the match.
const PROTOCOLS: readonly Protocol[] = [
  { name: 'icmp', ethType: IPV4, ipProto: 1 },
  { name: 'tcp', ethType: IPV4, ipProto: 6 },
  { name: 'udp', ethType: IPV4, ipProto: 17 },
  { name: 'sctp', ethType: IPV4, ipProto: 132 },
  { name: 'icmp6', ethType: IPV6, ipProto: 58 },
  { name: 'tcp6', ethType: IPV6, ipProto: 6 },
  { name: 'udp6', ethType: IPV6, ipProto: 17 },
  { name: 'sctp6', ethType: IPV6, ipProto: 132 },
  { name: 'ip', ethType: IPV4 },
  { name: 'ipv6', ethType: IPV6 },
  { name: 'arp', ethType: ETH_TYPE.ARP },
  { name: 'rarp', ethType: ETH_TYPE.RARP },
];

const REGISTERS = FIELD_ROWS.filter(({ name }) => /^(reg|xreg|xxreg)\d/.test(name)).map(({ field }) => field);

/** What a match calls a field, in the order in which ovs-ofctl prints them. Left out: those with a spelling of their own. */
const NAMES: readonly (readonly [FieldName, string])[] = [
  ['ipv6Src', 'ipv6_src'],
  ['ipv6Dst', 'ipv6_dst'],
  ['ipv6Flabel', 'ipv6_label'],
  ['arpSpa', 'arp_spa'],
  ['arpTpa', 'arp_tpa'],
  ['ipv4Src', 'nw_src'],
  ['ipv4Dst', 'nw_dst'],
  ['arpOp', 'arp_op'],
  ['ipProto', 'nw_proto'],
  ['arpSha', 'arp_sha'],
  ['arpTha', 'arp_tha'],
  ['ipDscp', 'nw_tos'],
  ['ipEcn', 'nw_ecn'],
  ['nwTtl', 'nw_ttl'],
  ['ipFrag', 'nw_frag'],
  ['icmpv4Type', 'icmp_type'],
  ['icmpv4Code', 'icmp_code'],
  ['icmpv6Type', 'icmp_type'],
  ['icmpv6Code', 'icmp_code'],
  ['ndTarget', 'nd_target'],
  ['ndSll', 'nd_sll'],
  ['ndTll', 'nd_tll'],
  ['tcpSrc', 'tp_src'],
  ['tcpDst', 'tp_dst'],
  ['udpSrc', 'tp_src'],
  ['udpDst', 'tp_dst'],
  ['sctpSrc', 'tp_src'],
  ['sctpDst', 'tp_dst'],
];

const TAGGED = 0x1000;
const VID = 0x0fff;
const PCP = 0xe000;

function protocolOf(match: Match): Protocol | undefined {
  return PROTOCOLS.find(
    ({ ethType, ipProto }) => match.ethType === ethType && (ipProto === undefined || match.ipProto === ipProto),
  );
}

/** The match without a priority, "" where everything matches. Fields without a name follow as `unknown=` and their hex. */
export function formatMatch(match: Match): string {
  const protocol = protocolOf(match);
  const parts: string[] = [];
  const put = (field: FieldName, name: string) => {
    const value = match[field] as MatchValue | undefined;
    if (value !== undefined) parts.push(`${name}=${formatMatchValue(FIELDS[field], value)}`);
  };
  put('pktMark', 'pkt_mark');
  if (protocol !== undefined) parts.push(protocol.name);
  for (const field of REGISTERS) put(field, field);
  put('metadata', 'metadata');
  put('inPort', 'in_port');
  put('inPortNxm', 'in_port');
  parts.push(...formatVlan(match));
  put('ethSrc', 'dl_src');
  put('ethDst', 'dl_dst');
  if (protocol === undefined) put('ethType', 'dl_type');
  for (const [field, name] of NAMES) {
    if (field !== 'ipProto' || protocol?.ipProto === undefined) put(field, name);
  }
  if (match.unknown !== undefined) parts.push(`unknown=${match.unknown.toString('hex')}`);
  return parts.join(',');
}

function formatMatchValue(row: FieldRow, value: MatchValue): string {
  // nw_tos is the whole byte, of which DSCP is the upper six bits.
  if (row.field === 'ipDscp' && !isMasked(value)) return String(Number(value) << 2);
  return formatValue(row, value);
}

/** A tag is one 16-bit word in OVS, whichever fields matched it: PCP (3 bits), "there is a tag" (1), VID (12). */
function formatVlan(match: Match): string[] {
  const tci = vlanTciOf(match);
  if (tci === undefined) return [];
  const value = isMasked(tci) ? (tci.value as number) : (tci as number);
  const mask = isMasked(tci) ? (tci.mask as number) : 0xffff;
  const [vid, pcp] = [mask & VID, mask & PCP];
  const whole = (vid === 0 || vid === VID) && (pcp === 0 || pcp === PCP) && (vid | pcp) !== 0;
  if ((value & mask & TAGGED) === 0 || !whole) return [`vlan_tci=${formatValue(FIELDS.vlanTci, tci)}`];
  const parts: string[] = [];
  if (vid !== 0) parts.push(`dl_vlan=${value & VID}`);
  if (pcp !== 0) parts.push(`dl_vlan_pcp=${value >>> 13}`);
  return parts;
}

function vlanTciOf({ vlanVid, vlanPcp, vlanTci }: Match): MatchValue | undefined {
  if (vlanTci !== undefined || (vlanVid === undefined && vlanPcp === undefined)) return vlanTci;
  const vid = vlanVid === undefined ? { value: TAGGED, mask: TAGGED } : withMask(FIELDS.vlanVid, vlanVid);
  const pcp = vlanPcp === undefined ? { value: 0, mask: 0 } : withMask(FIELDS.vlanPcp, vlanPcp);
  return { value: vid.value | (pcp.value << 13), mask: vid.mask | (pcp.mask << 13) };
}

function withMask(row: FieldRow, value: number | Masked<number>): Masked<number> {
  return typeof value === 'object' ? value : { value, mask: row.max as number };
}

/** Collects the parts of a match in text: protocol names, and `name=value`. */
export class MatchParser {
  private readonly match: { [field: string]: MatchValue | Buffer } = {};

  /** Takes a word without "=". False where it is no protocol. */
  takeProtocol(word: string): boolean {
    const protocol = PROTOCOLS.find(({ name }) => name === word);
    if (protocol === undefined) return false;
    this.match['ethType'] = protocol.ethType;
    if (protocol.ipProto !== undefined) this.match['ipProto'] = protocol.ipProto;
    return true;
  }

  /** Takes `name=value`. False where `name` is no field of a match. Throws `invalid` for a bad value. */
  take(name: string, text: string): boolean {
    if (name === 'unknown') this.match['unknown'] = Buffer.from(text, 'hex');
    else if (name === 'dl_vlan') this.match['vlanVid'] = parseUnsigned(text, VID) | TAGGED;
    else if (name === 'vlan_tci' && text === '0x0000/0x1fff') this.match['vlanVid'] = 0;
    else if (name === 'nw_tos') this.match['ipDscp'] = parseUnsigned(text, 255) >>> 2;
    else return this.takeField(name, text);
    return true;
  }

  private takeField(name: string, text: string): boolean {
    const field = this.fieldNamed(name);
    if (field === undefined) return false;
    this.match[field] = parseValue(FIELDS[field], text);
    return true;
  }

  /** The match of all that was taken. */
  result(): Match {
    return this.match;
  }

  private fieldNamed(name: string): FieldName | undefined {
    const aliases: Readonly<Record<string, FieldName>> = {
      dl_src: 'ethSrc',
      dl_dst: 'ethDst',
      dl_type: 'ethType',
      dl_vlan_pcp: 'vlanPcp',
    };
    const alias = aliases[name];
    if (alias !== undefined) return alias;
    const candidates = NAMES.filter(([, printed]) => printed === name).map(([field]) => field);
    if (candidates.length > 1) return candidates.find((field) => this.hasPrerequisite(field));
    return candidates[0] ?? FIELD_ROWS.find((row) => row.name === name)?.field;
  }

  /** True where the protocol says which of the fields that share a name is meant. */
  private hasPrerequisite(field: FieldName): boolean {
    const needed = { icmpv4: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
    const prefix = field.replace(/(Src|Dst|Type|Code)$/, '') as keyof typeof needed;
    return this.match['ipProto'] === needed[prefix];
  }
}

/** Refuses a name that nothing knows. */
export function unknownKeyword(name: string): DaoliError {
  return new DaoliError('invalid', `"${name}" is no part of a flow that this codec knows`, name);
}
