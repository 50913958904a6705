#!/usr/bin/env bash
# npm run test:faults              makes every fault on emulated hosts with a load, and writes docs/reliability.md (as root)
# npm run test:faults -- NAME…     some of them; --help has the names
# npm run test:faults -- --soak 60 --seed 7     an hour of faults by chance
set -euo pipefail
cd "$(dirname "$0")/../.."

[ "$(id -u)" = 0 ] || { echo 'this needs root: it makes namespaces and starts Docker engines' >&2; exit 1; }

# shellcheck source=../../plugin/packages.sh
. plugin/packages.sh
# shellcheck disable=SC2086
missing=$(missing_packages $LAB_PROGRAMS faketime=faketime | paste -s -d ' ')
if [ -n "$missing" ]; then
  echo "installing $missing"
  # shellcheck disable=SC2086
  install_packages $missing >/dev/null
fi
install_docker_client >/dev/null
[ -d node_modules ] || npm ci

# The emulated hosts find their scripts beside their sources.
npx --no-install esbuild test/faults/main.ts --bundle --platform=node --target=node20 --sourcemap=inline \
  --external:esbuild --external:cpu-features --external:'*.node' --define:__dirname="\"$PWD/lab\"" --log-level=warning \
  --outfile=build/faults.cjs
exec node --enable-source-maps build/faults.cjs "$@"
