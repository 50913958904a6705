// Flows at random, of everything that the codec has a name for.
import fc from 'fast-check';
import type { Ipv4, Mac } from '../../../src/base/addresses';
import {
  bitsOf,
  checkPktLarger,
  controller,
  decTtl,
  load,
  move,
  output,
  outputReg,
  resubmit,
  setField,
  whole,
  type Action,
} from '../../../src/openflow/action';
import { OFPP, type PortNo } from '../../../src/openflow/constants';
import type { FlowMod } from '../../../src/openflow/flow-mod';
import type { Match } from '../../../src/openflow/match';

const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);
export const u64 = fc.bigInt(0n, (1n << 64n) - 1n);
const mac = fc.nat(2 ** 48 - 1).map((value) => value as Mac);
const ipv4 = u32.map((value) => value as Ipv4);
export const portNo = fc
  .oneof(fc.integer({ min: 1, max: 0xfeff }), fc.constantFrom(OFPP.LOCAL))
  .map((value) => value as PortNo);
const subfield = fc
  .tuple(
    fc.constantFrom('reg0', 'reg15', 'ethSrc', 'ipv4Dst', 'metadata', 'xreg1', 'inPortNxm'),
    fc.nat(15),
    fc.nat(15),
  )
  .map(([field, offset, bits]) => bitsOf(field as 'reg0', offset, Math.min(bits + 1, 16 - offset)));

/** A value, or one with a mask that is neither all nor nothing. */
const maskable = <Value extends number>(value: fc.Arbitrary<Value>, max: number) =>
  fc.oneof(
    value,
    fc.tuple(value, fc.integer({ min: 1, max: max - 1 })).map(([bits, mask]) => ({
      value: Number(BigInt(bits) & BigInt(mask)) as Value,
      mask: mask as Value,
    })),
  );

const metadata = fc.oneof(
  u64,
  fc.tuple(u64, fc.bigInt(1n, (1n << 64n) - 2n)).map(([value, mask]) => ({ value: value & mask, mask })),
);

const base = {
  inPort: portNo,
  ethSrc: maskable(mac, 2 ** 48 - 1),
  ethDst: maskable(mac, 2 ** 48 - 1),
  reg0: maskable(u32, 0xffffffff),
  reg9: u32,
  pktMark: maskable(u32, 0xffffffff),
  metadata,
};
const ipFields = {
  ...base,
  ethType: fc.constant(0x0800),
  ipv4Src: maskable(ipv4, 0xffffffff),
  ipv4Dst: maskable(ipv4, 0xffffffff),
  ipDscp: fc.nat(63),
  ipEcn: fc.nat(3),
  nwTtl: fc.nat(255),
  ipFrag: fc.constantFrom(0, 1, 3, { value: 1, mask: 1 }, { value: 0, mask: 2 }),
};
const ports = (src: string, dst: string) => ({ [src]: maskable(u16, 0xffff), [dst]: maskable(u16, 0xffff) });
const withProto = (proto: number, fields: object) => ({ ...ipFields, ipProto: fc.constant(proto), ...fields });

/** `required` are always there, the others perhaps. */
function fields(model: object, ...required: string[]): fc.Arbitrary<Match> {
  return fc.record(model as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: required });
}

export const match = fc.oneof(
  fields({ ...base, ethType: fc.constantFrom(0x88cc, 0x1234) }),
  fields({ ...base, vlanTci: maskable(fc.nat(0x0fff), 0xffff) }),
  fields({ ...base, vlanVid: fc.integer({ min: 0x1000, max: 0x1fff }), vlanPcp: fc.nat(7) }, 'vlanVid'),
  fields(ipFields, 'ethType'),
  fields({ ...ipFields, ipProto: fc.constantFrom(2, 47, 50) }, 'ethType'),
  fields(withProto(6, ports('tcpSrc', 'tcpDst')), 'ethType', 'ipProto'),
  fields(withProto(17, ports('udpSrc', 'udpDst')), 'ethType', 'ipProto'),
  fields(withProto(132, ports('sctpSrc', 'sctpDst')), 'ethType', 'ipProto'),
  fields(withProto(1, { icmpv4Type: fc.nat(255), icmpv4Code: fc.nat(255) }), 'ethType', 'ipProto'),
  fields(
    {
      ...base,
      ethType: fc.constant(0x0806),
      arpOp: fc.nat(255),
      arpSpa: maskable(ipv4, 0xffffffff),
      arpTpa: ipv4,
      arpSha: mac,
      arpTha: maskable(mac, 2 ** 48 - 1),
    },
    'ethType',
  ),
  fields(
    {
      ...base,
      ethType: fc.constant(0x86dd),
      ipProto: fc.constant(58),
      ipv6Src: fc.bigInt(0n, (1n << 128n) - 1n),
      ipv6Dst: fc.nat(126).map((n) => ({ value: 0n, mask: ((1n << 128n) - 1n) ^ ((1n << BigInt(n + 1)) - 1n) })),
      ipv6Flabel: fc.nat(0xfffff),
      icmpv6Type: fc.constantFrom(135, 136),
      icmpv6Code: fc.nat(255),
      ndTarget: fc.bigInt(0n, (1n << 128n) - 1n),
      ndSll: mac,
    },
    'ethType',
    'ipProto',
  ),
);

export const action: fc.Arbitrary<Action> = fc.oneof(
  portNo.map((to) => output(to)),
  fc.constantFrom(OFPP.IN_PORT, OFPP.NORMAL, OFPP.FLOOD, OFPP.ALL, OFPP.CONTROLLER).map((to) => output(to)),
  fc.nat(65534).map((maxLen) => output(OFPP.CONTROLLER, maxLen)),
  subfield.map(outputReg),
  mac.map((value) => setField('ethSrc', value)),
  ipv4.map((value) => setField('ipv4Src', value)),
  u64.map((value) => setField('metadata', value)),
  fc
    .tuple(u32, fc.nat(0xfffffffd))
    .map(([value, mask]) => setField('reg3', ((value & (mask + 1)) >>> 0) as never, mask + 1)),
  fc.constant(move(whole('ethSrc'), whole('ethDst'))),
  fc.constant(move(bitsOf('reg0', 3, 5), bitsOf('xxreg1', 60, 5))),
  fc.tuple(subfield, u16).map(([to, value]) => load(to, value & (2 ** to.bits - 1))),
  fc.constant(decTtl()),
  fc.nat(254).map(resubmit),
  fc.tuple(portNo, fc.nat(254)).map(([inPort, table]): Action => ({ type: 'resubmit', inPort, table })),
  portNo.map((inPort): Action => ({ type: 'resubmit', inPort })),
  fc.tuple(u16, subfield).map(([length, to]) => checkPktLarger(length, { ...to, bits: 1 })),
  fc
    .record(
      {
        userdata: fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
        maxLen: fc.nat(65534),
        controllerId: fc.integer({ min: 1, max: 65535 }),
        reason: fc.constantFrom(0, 2),
        pause: fc.constant(true as const),
        meterId: fc.integer({ min: 1, max: 0xffffffff }),
      },
      { requiredKeys: ['userdata'] },
    )
    .map((options) => controller(options)),
);

export const anyFlow: fc.Arbitrary<FlowMod> = fc
  .tuple(
    fc.record({ table: fc.nat(254), priority: u16, match }),
    fc.record(
      {
        cookie: u64.filter((value) => value !== 0n),
        cookieMask: u64.filter((value) => value !== 0n),
        idleTimeoutSeconds: fc.integer({ min: 1, max: 65535 }),
        hardTimeoutSeconds: fc.integer({ min: 1, max: 65535 }),
        importance: fc.integer({ min: 1, max: 65535 }),
        flags: fc.integer({ min: 1, max: 31 }),
        meter: fc.nat(100),
        clearActions: fc.constant(true as const),
        writeActions: fc.array(action, { minLength: 1, maxLength: 3 }),
        writeMetadata: fc.record({ value: u64, mask: u64 }),
        gotoTable: fc.nat(254),
        actions: fc.array(action, { minLength: 1, maxLength: 6 }),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([fixed, rest]) => ({ type: 'flowMod', command: 'add', ...fixed, ...rest }));
