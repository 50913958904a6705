# Sends frames on the devices p1, p2, … of its network namespace and sees where and when they come out. It knows nothing of
# what is in them, but that their last four bytes are a number that it writes, by which it knows them again.
#
# It reads commands from its standard input, and answers each with lines on its standard output, the last of them "done":
#   load FILE LENGTH          records of two 16-bit numbers, the devices that a frame goes in and comes out by, and the frame
#   loop FROM COUNT TIMES     each frame TIMES times, the next when the one before has come out; a line of microseconds each
#   rate PER_SECOND FROM COUNT   as fast as said; one line: how many came out, seconds of sending
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant { AF_PACKET => 17, SOCK_RAW => 3, ETH_P_IP => 0x0800, SIOCGIFINDEX => 0x8933, SO_RCVBUFFORCE => 33 };
use constant { LOST_AFTER => 0.2, STRAGGLERS => 0.4, PAUSE => 0.0002 };

# Bound to IPv4, a socket does not see what it sends itself.
socket(my $socket, AF_PACKET, SOCK_RAW, unpack('n', pack('S', ETH_P_IP))) or die "socket: $!";
setsockopt($socket, 1, SO_RCVBUFFORCE, pack('i', 64 << 20)) or die "setsockopt: $!";
my $readable = '';
vec($readable, fileno($socket), 1) = 1;

my (@frames, @in, @out, %addresses, $number);
$number = 0;

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub index_of {
  my ($port) = @_;
  my $request = pack('a16 x16', "p$port");
  ioctl($socket, SIOCGIFINDEX, $request) or die "p$port: $!";
  return unpack('x16 i', $request);
}

sub address_of {
  my ($port) = @_;
  return $addresses{$port} //= pack('S n i S C C a8', AF_PACKET, ETH_P_IP, index_of($port), 0, 0, 6, '');
}

sub load {
  my ($file, $length) = @_;
  open(my $handle, '<:raw', $file) or die "$file: $!";
  (@frames, @in, @out) = ();
  while (read($handle, my $record, $length + 4) == $length + 4) {
    my ($from, $to, $frame) = unpack("n n a$length", $record);
    push @frames, $frame;
    push @in, address_of($from);
    push @out, unpack('x4 i', address_of($to));
  }
}

sub transmit {
  my ($at) = @_;
  substr($frames[$at], -4) = pack('N', ++$number);
  defined send($socket, $frames[$at], 0, $in[$at]) or die "send: $!";
  return $number;
}

# The number of the next frame that has come, and the index of its device; nothing if none comes in time.
sub receive {
  my ($wait) = @_;
  return unless select(my $ready = $readable, undef, undef, $wait);
  my $from = recv($socket, my $frame, 2048, 0x40) // return; # MSG_DONTWAIT
  return (unpack('N', substr($frame, -4)), unpack('x4 i', $from));
}

sub once {
  my ($at) = @_;
  my $start = now();
  my $sent = transmit($at);
  while ((my $left = $start + LOST_AFTER - now()) > 0) {
    my ($came, $device) = receive($left) or last;
    return (now() - $start) * 1e6 if defined $came && $came == $sent && $device == $out[$at];
  }
  return -1;
}

sub rate {
  my ($rate, $from, $count) = @_;
  my ($sent, %expected, $arrived) = (0);
  $arrived = 0;
  my $take = sub {
    my ($wait) = @_;
    my $got = 0;
    while (my ($came, $device) = receive($wait)) {
      ($wait, $got) = (0, 1);
      my $right = delete $expected{$came};
      $arrived++ if defined $right && $right == $device;
    }
    return $got;
  };
  my $start = now();
  while ($sent < $count) {
    my $due = int((now() - $start) * $rate) + 1;
    $due = $count if $due > $count;
    while ($sent < $due) {
      $expected{transmit($from + $sent)} = $out[$from + $sent];
      $sent++;
    }
    $take->(PAUSE);
  }
  my $seconds = now() - $start;
  1 while %expected && $take->(STRAGGLERS);
  printf "%d %.3f\n", $arrived, $seconds;
}

$| = 1;
print "done\n";
while (my $line = <STDIN>) {
  my ($command, @words) = split ' ', $line;
  load(@words) if $command eq 'load';
  rate(@words) if $command eq 'rate';
  if ($command eq 'loop') {
    my ($from, $count, $times) = @words;
    my @lines = map { my $at = $_; join(' ', map { sprintf '%.1f', once($at) } 1 .. $times) } $from .. $from + $count - 1;
    print map { "$_\n" } @lines;
  }
  print "done\n";
}
