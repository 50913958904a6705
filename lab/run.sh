#!/bin/bash
# A cluster of emulated hosts on this machine: each has its own network, Docker engine, Open vSwitch and plugin.
#
# usage: npm run lab -- up [--hosts N]              (as root)
#        npm run lab -- up --sites dc:2,cloud:1,home:1 --nat home
#        npm run lab -- exec h1 docker ps
#        npm run lab -- exec h1 daolictl host ls
#        npm run lab -- status | cut h1 h2 | link h2 --loss 20 --delay 200 | heal | kill h1 daolinetd | down
#        npm run lab -- roam home1 | link home --loss 5 | exec internet tcpdump -ni any      (with sites)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

[ "$(id -u)" = 0 ] || { echo 'the lab needs root: it makes namespaces and starts Docker engines' >&2; exit 1; }

# shellcheck source=../plugin/packages.sh
. plugin/packages.sh
if [ "${1:-}" = up ]; then
  # shellcheck disable=SC2086
  missing=$(missing_packages $LAB_PROGRAMS | paste -s -d ' ')
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
