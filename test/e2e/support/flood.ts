// A container that sends as fast as it can, of one kind.

import type { Host } from '../../../lab/host';
import type { BackgroundCommand } from '../../../lab/namespace';
import { networkOf } from './capture';

/** New destinations, inside and outside of its network; ARP requests for all of them; and frames that are no right ones. */
export type FloodKind = 'destinations' | 'arp' | 'malformed';

/**
 * usage: KIND PREFIX. Prepares as many frames as it sends before it begins anew, so that making them does not slow it down. All have
 * the container's own MAC and address where they have any: what is forged is dropped by the first table and costs least.
 */
const FLOOD = `
  use strict;
  my ($kind, $prefix) = @ARGV;
  srand(1);
  my $own = pack('H*', join '', split /:/, do { local @ARGV = '/sys/class/net/eth0/address'; my $line = <>; $line =~ s/\\s//g; $line });
  my ($text) = \`ip -4 -o addr show eth0\` =~ /inet ([\\d.]+)/;
  my $from = pack('C4', split /\\./, $text);
  my ($router) = \`ip neigh show dev eth0\` =~ /lladdr ([\\da-f:]+)/;
  my $to = pack('H*', join '', split /:/, $router);
  my @net = split /\\./, $prefix;
  sub address { rand() < 0.5 ? pack('C4', @net, int rand 256, int rand 256) : pack('C4', 8, map { int rand 256 } 1 .. 3) }
  sub checksum { my $sum = 0; $sum += $_ for unpack 'n*', $_[0]; $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; 0xffff & ~$sum }
  sub ip {
    my ($first, $length, $fragment, $protocol, $payload) = @_;
    my $head = pack('CCnnnCCn a4 a4', $first, 0, $length, int rand 65536, $fragment, 64, $protocol, 0, $from, address());
    substr($head, 10, 2) = pack('n', checksum($head));
    return $to . $own . pack('n', 0x0800) . $head . $payload;
  }
  my %make = (
    destinations => sub { ip(0x45, 46, 0, 17, pack('nnnn a18', int rand 65536, int rand 65536, 26, 0, '')) },
    arp => sub { "\\xff" x 6 . $own . pack('n nnCCn a6 a4 a6 a4 x18', 0x0806, 1, 0x0800, 6, 4, 1, $own, $from, '', address()) },
    malformed => sub {
      my $noise = pack('C*', map { int rand 256 } 1 .. 8 + rand 60);
      my @kinds = (
        ip(0x4f, 46, 0, 17, 'x' x 8), ip(0x45, 4000, 0, 6, $noise), ip(0x40, 46, 0, 17, $noise), ip(0x65, 46, 0, 17, $noise),
        ip(0x45, 24, 0, 6, 'abcd'), ip(0x45, 46, 0x1fff, 17, 'x' x 26), ip(0x45, 46, 0x2000, 17, 'x' x 26), ip(0x45, 46, 0, 1, $noise),
        $to . $own . pack('n', 0x0806) . $noise, $to . $own . pack('n', 0x86dd) . $noise, $to . $own . pack('nn', 0x8100, 5) . $noise,
      );
      return $kinds[rand @kinds];
    },
  );
  my @frames = map { $make{$kind}->() } 1 .. 50000;
  socket(my $socket, 17, 3, 0) or die "socket: $!";
  my $request = pack('a16 x16', 'eth0');
  ioctl($socket, 0x8933, $request) or die "eth0: $!";
  my $address = pack('S n i S C C a8', 17, 3, unpack('x16 i', $request), 0, 0, 0, '');
  $| = 1;
  print "flooding\\n";
  while (1) { for (@frames) { send($socket, $_, 0, $address) } }
`;

/** Starts to flood from a running container, whose network's addresses begin with the two numbers of `prefix`. */
export async function startFlood(
  host: Host,
  container: string,
  kind: FloodKind,
  prefix: string,
): Promise<BackgroundCommand> {
  const network = `--net=${await networkOf(host, container)}`;
  // /sys shows the interfaces of the network that it was mounted in.
  const script = 'mount -t sysfs sysfs /sys && exec perl -e "$0" "$@"';
  return host.background(['nsenter', network, 'unshare', '-m', 'sh', '-ec', script, FLOOD, kind, prefix]);
}
