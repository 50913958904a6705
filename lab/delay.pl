# Passes frames between two TAP devices, each after a delay. The kernel has finished checksums and cut large packets before a TAP
# gives them out, as it would for a real wire.
#
# usage: perl delay.pl NEAR FAR MILLISECONDS
use strict;
use warnings;
use Time::HiRes qw(time);

use constant { TUNSETIFF => 0x400454ca, IFF_TAP => 2, IFF_NO_PI => 0x1000, LONGEST => 65_536, MOST => 20_000 };

my ($near, $far, $delay) = @ARGV;
my @taps = map { attach($_) } $near, $far;
my @waiting; # [due, TAP it goes to, frame], by due time

sub attach {
  my ($name) = @_;
  open(my $tap, '+<:raw', '/dev/net/tun') or die "/dev/net/tun: $!";
  ioctl($tap, TUNSETIFF, pack('a16 S x22', $name, IFF_TAP | IFF_NO_PI)) or die "$name: $!";
  return $tap;
}

while (1) {
  my $ready = '';
  vec($ready, fileno($_), 1) = 1 for @taps;
  my $left = @waiting ? $waiting[0][0] - time : undef;
  $left = 0 if defined $left && $left < 0;
  select($ready, undef, undef, $left);
  for my $from (0, 1) {
    next unless vec($ready, fileno($taps[$from]), 1);
    next unless sysread($taps[$from], my $frame, LONGEST);
    push @waiting, [time + $delay / 1000, $taps[1 - $from], $frame] if @waiting < MOST;
  }
  while (@waiting && $waiting[0][0] <= time) {
    my (undef, $to, $frame) = @{ shift @waiting };
    syswrite($to, $frame); # one that the kernel does not take is lost, as on a wire
  }
}
