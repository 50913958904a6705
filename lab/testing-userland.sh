#!/bin/bash
# Makes a Debian testing in a folder of the cache, whose programs (Docker 28, Open vSwitch and all others) an emulated host
# can run on this machine's kernel. Takes some minutes once, and a moment when it is there.
#
# usage: testing-userland.sh       prints the folder
set -euo pipefail

CACHE=/var/cache/daolinet
ROOT=$CACHE/testing
PACKAGES=docker.io,docker-cli,docker-registry,openvswitch-switch,busybox-static,iproute2,iptables,nftables,ethtool
PACKAGES=$PACKAGES,tcpdump,conntrack,curl,docker-compose,iperf3,procps,kmod,ca-certificates
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
MIRROR=${DAOLINET_MIRROR:-http://deb.debian.org/debian}

mkdir -p $CACHE
exec 8>$CACHE/testing.lock
flock 8
if [ "$(cat $ROOT/packages 2>/dev/null)" != "$PACKAGES" ]; then
  rm -rf $ROOT.new
  trap 'rm -rf $ROOT.new' EXIT
  # The script's name is given, because older versions of debootstrap do not know it for testing.
  if ! debootstrap --variant=minbase --keyring=$KEYS --include=$PACKAGES testing $ROOT.new "$MIRROR" sid >$CACHE/testing.log 2>&1; then
    tail -n 20 $CACHE/testing.log $ROOT.new/debootstrap/debootstrap.log >&2
    exit 1
  fi
  rm -rf $ROOT.new/var/cache/apt/archives/*.deb $ROOT.new/var/lib/apt/lists/*
  echo "$PACKAGES" >$ROOT.new/packages
  rm -rf $ROOT
  mv $ROOT.new $ROOT
  trap - EXIT
fi
echo $ROOT
