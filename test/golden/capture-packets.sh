#!/bin/bash
# Records frames that the Linux kernel's own stack sends, as packets.json beside this file: the oracle for src/packet.
# Needs root, iproute2, ethtool, tcpdump and python3. Run by hand; the result is committed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
a=gold-a$$ r=gold-r$$ b=gold-b$$ work=$(mktemp -d)
cleanup() { kill ${dump:-} ${server:-} 2>/dev/null || true; for ns in $a $r $b; do ip netns del "$ns" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT
for ns in $a $r $b; do ip netns add "$ns"; ip -n "$ns" link set lo up; done
# a (10.1.0.2) -- router (10.1.0.1, 10.2.0.1, MTU 1000 towards b) -- b (10.2.0.2)
ip -n $a link add eth0 address 02:42:0a:01:00:02 type veth peer name eth0 netns $r address 02:42:0a:01:00:01
ip -n $b link add eth0 address 02:42:0a:02:00:02 type veth peer name eth1 netns $r address 02:42:0a:02:00:01
ip -n $a addr add 10.1.0.2/24 dev eth0; ip -n $r addr add 10.1.0.1/24 dev eth0
ip -n $r addr add 10.2.0.1/24 dev eth1; ip -n $b addr add 10.2.0.2/24 dev eth0
for d in "$a eth0" "$r eth0" "$r eth1" "$b eth0"; do
  set -- $d; ip netns exec "$1" ethtool -K "$2" tx off rx off gso off tso off gro off >/dev/null 2>&1 || true
  ip -n "$1" link set "$2" up
done
ip -n $r link set eth1 mtu 1000; ip -n $b link set eth0 mtu 1000
ip -n $a route add default via 10.1.0.1; ip -n $b route add default via 10.2.0.1
ip netns exec $r bash -c 'mount -o remount,rw /proc/sys 2>/dev/null; echo 1 > /proc/sys/net/ipv4/ip_forward'
ip netns exec $a tcpdump --immediate-mode -i eth0 -U -w "$work/a.pcap" 'arp or ip' 2>/dev/null & dump=$!
until [ -s "$work/a.pcap" ]; do sleep 0.05; done
ip netns exec $b python3 "$here/capture-packets.py" serve & server=$!
ip netns exec $a python3 "$here/capture-packets.py" probe
sleep 0.2
kill $dump $server; wait $dump $server 2>/dev/null || true
python3 "$here/capture-packets.py" convert "$work/a.pcap" > "$here/packets.json"
