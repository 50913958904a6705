// Frames and datagrams for attacks: frames whatever their fields say, right or forged, and senders of them in a container's
// network. Most of the frames the container's own stack would not send.

import { parseIpv4, parseMac } from '../../../src/base/addresses';
import { setMac } from '../../../src/packet/bytes';
import { internetChecksum } from '../../../src/packet/checksum';
import type { Host } from '../../../lab/host';
import { networkOf } from './capture';
import { OUTSIDE } from './peers';

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const ETH_TYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd, VLAN: 0x8100, PROVIDER_VLAN: 0x88a8 } as const;
const UDP = 17;

/** Perl is part of every Debian. 17 is AF_PACKET, 0x8933 SIOCGIFINDEX; in struct sockaddr_ll the index comes third. */
const SENDER = `
  my ($name, @frames) = @ARGV;
  socket(my $socket, 17, 3, 0) or die "socket: $!";
  my $request = pack('a16 x16', $name);
  ioctl($socket, 0x8933, $request) or die "$name: $!";
  my $address = pack('S n i S C C a8', 17, 3, unpack('x16 i', $request), 0, 0, 0, '');
  for (@frames) { send($socket, pack('H*', $_), 0, $address) or die "send: $!"; }
`;

/** 2 is AF_INET and SOCK_DGRAM. */
const DATAGRAM_SENDER = `
  my ($address, $text) = @ARGV;
  socket(my $socket, 2, 2, 17) or die "socket: $!";
  send($socket, $text, 0, pack('S n C4 x8', 2, 9, split /\\./, $address)) or die "send: $!";
`;

/** Sends one UDP datagram to port 9, by the stack of a container or of OUTSIDE. Fails where that stack has no way there. */
export async function sendDatagram(host: Host, from: string, to: string, text: string): Promise<void> {
  const command = ['perl', '-e', DATAGRAM_SENDER, to, text];
  if (from === OUTSIDE) await host.outside('perl', ...command.slice(1));
  else await host.exec('nsenter', [`--net=${await networkOf(host, from)}`, ...command]);
}

/** Sends frames as they are from the interface of a running container. */
export async function sendFrames(host: Host, container: string, frames: readonly Buffer[]): Promise<void> {
  const hex = frames.map((frame) => frame.toString('hex'));
  await host.exec('nsenter', [`--net=${await networkOf(host, container)}`, 'perl', '-e', SENDER, 'eth0', ...hex]);
}

export interface Ethernet {
  readonly dst: string;
  readonly src: string;
  readonly type: number;
  /** Ethernet types of tags in front, outermost first, and the VLAN of each. */
  readonly tags?: readonly (readonly [type: number, vlan: number])[];
}

export function ethernet({ dst, src, type, tags = [] }: Ethernet, payload: Buffer): Buffer {
  const addresses = Buffer.alloc(12);
  setMac(addresses, 0, parseMac(dst));
  setMac(addresses, 6, parseMac(src));
  const words = [...tags.flat(), type];
  const types = Buffer.alloc(2 * words.length);
  words.forEach((word, i) => types.writeUInt16BE(word, 2 * i));
  return Buffer.concat([addresses, types, payload]);
}

export interface Datagram {
  readonly src: string;
  readonly dst: string;
  readonly ttl?: number;
  readonly protocol?: number;
  /** Multiple of four bytes. */
  readonly options?: Buffer;
  /** Flags and offset, as they stand in the header. */
  readonly fragment?: number;
}

/** An IPv4 packet with a right header around `text`: as a UDP datagram from and to port 9, or bare for another protocol. */
export function ipv4(fields: Datagram, text: string | Buffer): Buffer {
  const { src, dst, ttl = 64, protocol = UDP, options = Buffer.alloc(0), fragment = 0 } = fields;
  const udp = Buffer.from([0, 9, 0, 9, 0, 8 + text.length, 0, 0]);
  const content = typeof text === 'string' ? Buffer.from(text) : text;
  const payload = protocol === UDP ? Buffer.concat([udp, content]) : content;
  const header = Buffer.concat([Buffer.alloc(20), options]);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(fragment, 6);
  header.set([ttl, protocol], 8);
  header.writeUInt32BE(parseIpv4(src), 12);
  header.writeUInt32BE(parseIpv4(dst), 16);
  header.writeUInt16BE(internetChecksum(header, 0, header.length), 10);
  return Buffer.concat([header, payload]);
}

export interface Arp {
  readonly op: 'request' | 'reply';
  readonly sha: string;
  readonly spa: string;
  readonly tha?: string;
  readonly tpa: string;
}

/** An ARP message; `text` stands behind it, where short frames are padded. */
export function arp({ op, sha, spa, tha = '00:00:00:00:00:00', tpa }: Arp, text: string): Buffer {
  const message = Buffer.from(`0001080006040000${'00'.repeat(20)}`, 'hex');
  message.writeUInt16BE(op === 'request' ? 1 : 2, 6);
  setMac(message, 8, parseMac(sha));
  message.writeUInt32BE(parseIpv4(spa), 14);
  setMac(message, 18, parseMac(tha));
  message.writeUInt32BE(parseIpv4(tpa), 24);
  return Buffer.concat([message, Buffer.from(text)]);
}
