// Address rewriting against building the packet anew with the other addresses.
import fc from 'fast-check';
import type { Ipv4 } from '../../../src/base/addresses';
import { internetChecksum } from '../../../src/packet/checksum';
import { readQuote, rewriteQuote } from '../../../src/packet/icmp-quote';
import { rewriteAddresses } from '../../../src/packet/ipv4-rewrite';
import { PacketView } from '../../../src/packet/packet-view';
import {
  buildFrame,
  capturedWhere,
  isIcmpType,
  isIpv4,
  isLaterFragment,
  naiveChecksum,
  naiveL4Checksum,
} from './frames';

const view = new PacketView();
const address = fc.nat(0xffffffff).map((value) => value as Ipv4);
const NEW = { src: 0x64400005 as Ipv4, dst: 0x64400109 as Ipv4 };

test('equals a packet built with the new addresses', () => {
  const proto = fc.constantFrom(1, 6, 17, 132, 47);
  const payload = fc.uint8Array({ minLength: 20, maxLength: 80 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(address, address, address, address, proto, payload, (src, dst, toSrc, toDst, number, bytes) => {
      const frame = buildFrame({ src, dst, proto: number, payload: Buffer.from(bytes) });
      expect(view.parse(frame, 0, frame.length)).toBe('ok');
      rewriteAddresses(view, { src: toSrc, dst: toDst });
      expect(frame).toEqual(buildFrame({ src: toSrc, dst: toDst, proto: number, payload: Buffer.from(bytes) }));
      expect([view.ipSrc, view.ipDst]).toEqual([toSrc, toDst]);
    }),
  );
});

test('what the kernel sent stays right there and back again', () => {
  for (const frame of capturedWhere(isIpv4)) {
    const original = Buffer.from(frame);
    view.parse(frame, 0, frame.length);
    const before = { src: view.ipSrc, dst: view.ipDst };
    rewriteAddresses(view, NEW);
    expect(internetChecksum(frame, 14, 20)).toBe(0);
    rewriteAddresses(view, before);
    expect(frame).toEqual(original);
  }
});

test('a first fragment gets the checksum of its whole datagram, a later one keeps every byte', () => {
  const [first, ...later] = capturedWhere((frame) => isIpv4(frame) && (frame.readUInt16BE(20) & 0x3fff) !== 0).slice(
    0,
    3,
  );
  const fragments = [first as Buffer, ...later];
  const payloads = fragments.map((frame) => {
    view.parse(frame, 0, frame.length);
    rewriteAddresses(view, NEW);
    return frame.subarray(34);
  });
  const whole = buildFrame({ ...NEW, proto: 17, payload: Buffer.concat(payloads) });
  expect(naiveL4Checksum(whole)).toBe(payloads[0]?.readUInt16BE(6));
  for (const frame of capturedWhere(isLaterFragment)) {
    const payload = Buffer.from(frame.subarray(34));
    view.parse(frame, 0, frame.length);
    rewriteAddresses(view, NEW);
    expect(frame.subarray(34)).toEqual(payload);
  }
});

test('a UDP checksum of 0 stays 0', () => {
  const [frame] = capturedWhere((each) => isIpv4(each) && each[23] === 17 && each.readUInt16BE(40) === 0);
  view.parse(frame as Buffer, 0, (frame as Buffer).length);
  rewriteAddresses(view, NEW);
  expect(frame?.readUInt16BE(40)).toBe(0);
});

test('a UDP checksum that becomes 0 is written as 0xffff', () => {
  const frame = buildFrame({ src: 1, dst: 2, proto: 17, payload: Buffer.from('0001000200080000', 'hex') });
  view.parse(frame, 0, frame.length);
  // The pseudo header and ports add up to 0xffff with this source.
  const rest = 0xffff - (2 + 17 + 8 + 1 + 2 + 8);
  rewriteAddresses(view, { src: rest as Ipv4, dst: 2 as Ipv4 });
  expect(naiveL4Checksum(frame)).toBe(0);
  expect(frame.readUInt16BE(40)).toBe(0xffff);
});

describe('the packet that an ICMP error quotes', () => {
  test('is read', () => {
    const [frame] = capturedWhere(isIcmpType(3)).slice(-1);
    view.parse(frame as Buffer, 0, (frame as Buffer).length);
    expect(readQuote(view)).toMatchObject({
      ipSrc: 0x0a010002,
      ipDst: 0x0a020002,
      ipProto: 17,
      l4Dst: 5353,
      isLaterFragment: false,
    });
  });

  test('gets other addresses, and every checksum stays right', () => {
    const errors = capturedWhere((frame) => isIcmpType(3)(frame) || isIcmpType(11)(frame));
    expect(errors.length).toBe(4);
    for (const frame of errors) {
      view.parse(frame, 0, frame.length);
      const quote = readQuote(view);
      if (quote === undefined) throw new Error('the kernel quotes a packet');
      rewriteQuote(view, quote, NEW);
      expect(internetChecksum(frame, 34, frame.length - 34)).toBe(0);
      expect(internetChecksum(frame, quote.ipOffset, 20)).toBe(0);
      expect(readQuote(view)).toMatchObject({ ipSrc: NEW.src, ipDst: NEW.dst, l4Src: quote.l4Src, l4Dst: quote.l4Dst });
    }
  });

  test('whole: equals quoting the packet built with the new addresses', () => {
    const quoteOf = (inner: Buffer) => {
      const icmp = Buffer.concat([Buffer.from('0301000000000000', 'hex'), inner.subarray(14)]);
      icmp.writeUInt16BE(naiveChecksum(icmp), 2);
      return buildFrame({ src: 0x0a010001, dst: 0x0a010002, proto: 1, payload: icmp });
    };
    fc.assert(
      fc.property(address, address, fc.constantFrom(6, 17, 1), fc.nat(60), (src, dst, proto, size) => {
        const payload = () => Buffer.alloc(20 + size, 0x5a);
        const frame = quoteOf(buildFrame({ src, dst, proto, payload: payload() }));
        view.parse(frame, 0, frame.length);
        const quote = readQuote(view);
        if (quote === undefined) throw new Error('a quote');
        rewriteQuote(view, quote, NEW);
        expect(frame).toEqual(quoteOf(buildFrame({ ...NEW, proto, payload: payload() })));
      }),
    );
  });

  test('is undefined where there is none, or not enough of one', () => {
    const [echo] = capturedWhere(isIcmpType(8));
    view.parse(echo as Buffer, 0, (echo as Buffer).length);
    expect(readQuote(view)).toBeUndefined();
    const [error] = capturedWhere(isIcmpType(3));
    const frame = error as Buffer;
    for (const [at, byte] of [
      [42, 0x65],
      [42, 0x44],
      [42, 0x4f],
      [17, 47],
    ] as const) {
      const bad = Buffer.from(frame);
      bad[at] = byte;
      view.parse(bad, 0, at === 42 && byte === 0x4f ? 90 : bad.length, bad.length);
      expect(readQuote(view)).toBeUndefined();
    }
  });
});
