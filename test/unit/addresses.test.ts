import {
  cidrHolds,
  cidrLast,
  cidrOf,
  cidrsOverlap,
  formatCidr,
  formatIpv4,
  formatMac,
  parseCidr,
  parseInterfaceAddress,
  parseIpv4,
  parseMac,
  tryParseIpv4,
} from '../../src/base/addresses';

describe('IPv4', () => {
  test.each(['0.0.0.0', '10.1.0.5', '255.255.255.255', '100.64.0.1'])('%s survives parse and format', (text) => {
    expect(formatIpv4(parseIpv4(text))).toBe(text);
  });
  test.each(['', '10.1.0', '10.1.0.256', '010.1.0.1', '10.1.0.1 ', '::1', '1.2.3.4.5'])('%p is refused', (text) => {
    expect(tryParseIpv4(text)).toBeUndefined();
    expect(() => parseIpv4(text)).toThrow(`"${text}" is not an IPv4 address`);
  });
});

describe('CIDR', () => {
  test('host bits are refused with the prefix that was probably meant', () => {
    expect(() => parseCidr('10.1.0.5/24')).toThrow('did you mean 10.1.0.0/24?');
  });
  test('an interface address keeps its host bits', () => {
    expect(parseInterfaceAddress('10.1.0.5/24')).toEqual({ address: parseIpv4('10.1.0.5'), prefix: 24 });
  });
  test.each(['10.1.0.0', '10.1.0.0/33', '10.1.0.0/', '10.1.0.0/x', '/24'])('%p is refused', (text) => {
    expect(() => parseCidr(text)).toThrow(text);
  });
  test('holds, overlaps, last address', () => {
    const wide = parseCidr('10.0.0.0/8');
    const narrow = parseCidr('10.255.255.0/24');
    expect(cidrHolds(wide, parseIpv4('10.9.9.9'))).toBe(true);
    expect(cidrHolds(narrow, parseIpv4('10.9.9.9'))).toBe(false);
    expect(cidrsOverlap(wide, narrow)).toBe(true);
    expect(cidrsOverlap(narrow, parseCidr('10.254.0.0/16'))).toBe(false);
    expect(cidrsOverlap(parseCidr('0.0.0.0/0'), narrow)).toBe(true);
    expect(formatIpv4(cidrLast(narrow))).toBe('10.255.255.255');
    expect(formatCidr(cidrOf(parseIpv4('192.168.77.3'), 20))).toBe('192.168.64.0/20');
  });
});

describe('MAC', () => {
  test('survives parse and format', () => {
    expect(formatMac(parseMac('02:42:0A:01:00:05'))).toBe('02:42:0a:01:00:05');
    expect(formatMac(parseMac('ff:ff:ff:ff:ff:ff'))).toBe('ff:ff:ff:ff:ff:ff');
  });
  test.each(['', '02:42:0a:01:00', '02-42-0a-01-00-05', '02:42:0a:01:00:0g'])('%p is refused', (text) => {
    expect(() => parseMac(text)).toThrow('is not a MAC address');
  });
});
