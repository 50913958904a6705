#!/bin/bash
# A cluster of emulated hosts on this machine: each has its own network, Docker engine, Open vSwitch and plugin.
#
# usage: npm run lab -- up [--hosts N]              (as root)
#        npm run lab -- exec h1 docker ps
#        npm run lab -- exec h1 daolictl host ls
#        npm run lab -- status | cut h1 h2 | heal | kill h1 daolinetd | down
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

[ "$(id -u)" = 0 ] || { echo 'the lab needs root: it makes namespaces and starts Docker engines' >&2; exit 1; }

# shellcheck source=../plugin/packages.sh
. plugin/packages.sh
if [ "${1:-}" = up ]; then
  missing=$(missing_packages dockerd=docker.io ovs-vsctl=openvswitch-switch docker-registry=docker-registry \
    debootstrap=debootstrap busybox=busybox-static $DEBIAN_KEYS ip=iproute2 iptables=iptables nft=nftables \
    ethtool=ethtool conntrack=conntrack iperf3=iperf3 ps=procps | paste -s -d ' ')
  if [ -n "$missing" ]; then
    echo "installing $missing"
    # shellcheck disable=SC2086
    install_packages $missing >/dev/null
  fi
  install_docker_client >/dev/null
  [ -d node_modules ] || npm ci --silent
  mkdir -p build
  # The emulated hosts find their scripts beside these sources. esbuild stays outside: it builds daolictl for them.
  npx --no-install esbuild lab/main.ts --bundle --platform=node --target=node20 --external:esbuild \
    --define:__dirname="\"$here\"" --log-level=warning --outfile=build/lab.cjs
elif [ ! -e build/lab.cjs ]; then
  echo 'no lab is there: npm run lab -- up' >&2
  exit 1
fi
exec node build/lab.cjs "$@"
