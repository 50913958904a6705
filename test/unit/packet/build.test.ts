// ICMP errors, echo replies and ARP replies against those that the kernel sent about the same packets.
import { parseIpv4, parseMac } from '../../../src/base/addresses';
import { buildArpReply } from '../../../src/packet/arp-build';
import { internetChecksum } from '../../../src/packet/checksum';
import {
  TTL_EXCEEDED,
  buildEchoReply,
  buildIcmpError,
  fragmentationNeeded,
  mayReportError,
  unreachable,
} from '../../../src/packet/icmp-build';
import { PacketView } from '../../../src/packet/packet-view';
import { ICMP_UNREACHABLE } from '../../../src/packet/protocol-numbers';
import { buildFrame, captured, capturedWhere, isIcmpType, isLaterFragment } from './frames';

const view = new PacketView();
const router = { mac: parseMac('02:42:0a:01:00:01'), address: parseIpv4('10.1.0.1') };

function parse(frame: Buffer): PacketView {
  expect(view.parse(frame, 0, frame.length)).toBe('ok');
  return view;
}

/** The frame without what a kernel numbers as it likes: IP identification, DF, and with them the IPv4 checksum. */
function comparable(frame: Buffer | undefined): string | undefined {
  if (frame === undefined) return undefined;
  expect(internetChecksum(frame, 14, 20)).toBe(0);
  return Buffer.from(frame).fill(0, 18, 22).fill(0, 24, 26).toString('hex');
}

/** The recorded packet that the recorded ICMP error quotes, as the router saw it (which may have taken one from its TTL). */
function quotedBy(error: Buffer): Buffer {
  const quote = error.subarray(42);
  const sent = captured.find((frame) => frame.subarray(14, 22).equals(quote.subarray(0, 8))) as Buffer;
  return Buffer.concat([sent.subarray(0, 14), quote, sent.subarray(14 + quote.length)]);
}

test.each([
  ['time exceeded', isIcmpType(11), TTL_EXCEEDED],
  ['host unreachable', (frame: Buffer) => isIcmpType(3)(frame) && frame[35] === 1, unreachable(ICMP_UNREACHABLE.HOST)],
  ['fragmentation needed', (frame: Buffer) => isIcmpType(3)(frame) && frame[35] === 4, fragmentationNeeded(1000)],
])('%s as the kernel sent it', (_name, which, kind) => {
  const [error] = capturedWhere(which);
  expect(comparable(buildIcmpError(parse(quotedBy(error as Buffer)), router, kind))).toBe(comparable(error));
});

test('an error is 576 bytes at most, and quotes a cut packet as far as it is there', () => {
  const frame = captured.find((each) => each.length > 1300 && !isLaterFragment(each)) as Buffer;
  expect(buildIcmpError(parse(frame), router, TTL_EXCEEDED)?.length).toBe(14 + 576);
  expect(view.parse(frame, 0, 128, frame.length)).toBe('ok');
  expect(buildIcmpError(view, router, TTL_EXCEEDED)?.length).toBe(14 + 28 + 114);
});

test('no MTU under 68 is asked for', () => {
  const frame = buildFrame({ src: 0x0a010002, dst: 0x0a020002, proto: 17, payload: Buffer.alloc(8) });
  expect(buildIcmpError(parse(frame), router, fragmentationNeeded(1))?.readUInt16BE(40)).toBe(68);
});

describe('no error about', () => {
  const payload = Buffer.from('0300000000000000', 'hex');
  const ok = { src: parseIpv4('10.1.0.2'), dst: parseIpv4('10.2.0.2'), proto: 17, payload };
  const groupMac = (frame: Buffer, at: number) => {
    frame[at] = 0x01;
    return frame;
  };
  test.each([
    ['an ICMP error', buildFrame({ ...ok, proto: 1 })],
    ['a later fragment', buildFrame({ ...ok, fragment: 5 })],
    ['a broadcast', buildFrame({ ...ok, dst: parseIpv4('255.255.255.255') })],
    ['a multicast', buildFrame({ ...ok, dst: parseIpv4('224.0.0.251') })],
    ['a packet from nobody', buildFrame({ ...ok, src: parseIpv4('0.0.0.0') })],
    ['a packet from loopback', buildFrame({ ...ok, src: parseIpv4('127.0.0.1') })],
    ['a packet from a group', buildFrame({ ...ok, src: parseIpv4('239.1.1.1') })],
    ['a frame to a group', groupMac(buildFrame(ok), 0)],
    ['a frame from a group', groupMac(buildFrame(ok), 6)],
    ['ARP', captured[0] as Buffer],
  ])('%s', (_name, frame) => {
    parse(frame);
    expect(mayReportError(view)).toBe(false);
    expect(buildIcmpError(view, router, TTL_EXCEEDED)).toBeUndefined();
  });

  test('but about these', () => {
    parse(buildFrame(ok));
    expect(mayReportError(view)).toBe(true);
    parse(buildFrame({ ...ok, fragment: 0x2000 }));
    expect(mayReportError(view)).toBe(true);
    parse(captured.find(isIcmpType(8)) as Buffer);
    expect(mayReportError(view)).toBe(true);
  });
});

describe('echo', () => {
  const [request] = capturedWhere(isIcmpType(8));
  test('reply carries what the kernel answered', () => {
    const [answer] = capturedWhere(isIcmpType(0));
    const reply = buildEchoReply(parse(request as Buffer));
    expect(reply?.subarray(34)).toEqual((answer as Buffer).subarray(34));
    expect(reply?.subarray(26, 34)).toEqual((answer as Buffer).subarray(26, 34));
    expect(reply?.subarray(0, 14)).toEqual((answer as Buffer).subarray(0, 14));
    expect(internetChecksum(reply as Buffer, 14, 20)).toBe(0);
  });

  test('of another kind, damaged, cut or fragmented has no answer', () => {
    const damaged = Buffer.from(request as Buffer);
    damaged[50] = 0x77;
    const fragment = Buffer.from(request as Buffer);
    fragment[20] = 0x20;
    for (const frame of [damaged, fragment, captured.find(isIcmpType(0)), captured[0]]) {
      expect(buildEchoReply(parse(frame as Buffer))).toBeUndefined();
    }
    view.parse(request as Buffer, 0, 60, (request as Buffer).length);
    expect(buildEchoReply(view)).toBeUndefined();
  });
});

describe('ARP', () => {
  test('reply as the kernel sent it', () => {
    expect(buildArpReply(parse(captured[0] as Buffer), router.mac)?.toString('hex')).toBe(captured[1]?.toString('hex'));
  });

  test('replies and other frames have no answer', () => {
    expect(buildArpReply(parse(captured[1] as Buffer), router.mac)).toBeUndefined();
    expect(buildArpReply(parse(captured.find(isIcmpType(8)) as Buffer), router.mac)).toBeUndefined();
  });
});
