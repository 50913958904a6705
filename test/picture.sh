#!/bin/bash
# Makes docs/page.png anew: the page on a cluster of three emulated hosts. Needs what `npm test` has installed.
#
# usage: bash test/picture.sh [FILE]       (as root)
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo 'this needs root: it makes namespaces and starts Docker engines' >&2; exit 1; }
mkdir -p build
# The emulated hosts find their scripts beside the sources of the lab.
npx --no-install esbuild test/picture.ts --bundle --platform=node --target=node20 --external:esbuild \
  --external:puppeteer-core --define:__dirname="\"$PWD/lab\"" --log-level=warning --outfile=build/picture.cjs
exec node build/picture.cjs "$@"
