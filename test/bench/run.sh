#!/usr/bin/env bash
# npm run bench            runs every benchmark
# npm run bench -- NAME…   runs some of them (NAME is a file of this folder without .ts)
# Each prints a table and writes build/bench/NAME.json. Nothing asserts them: the machine's load decides too much.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -d node_modules ] || npm ci

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for file in test/bench/*.ts; do names+=("$(basename "$file" .ts)"); done
fi
failed=0
for name in "${names[@]}"; do
  if [ ! -f "test/bench/$name.ts" ]; then
    echo "there is no benchmark $name; there are:$(printf ' %s' $(basename -as .ts test/bench/*.ts))" >&2
    exit 2
  fi
  # An emulated host (lab/host.ts) finds its scripts beside itself.
  npx --no-install esbuild "test/bench/$name.ts" --bundle --platform=node --target=node20 --sourcemap=inline \
    --external:esbuild --external:cpu-features --external:'*.node' --define:__dirname="\"$PWD/lab\"" --log-level=warning --outfile="build/bench/$name.cjs"
  printf '\n== %s\n' "$name"
  node --enable-source-maps "build/bench/$name.cjs" --json "build/bench/$name.json" || failed=1
done
exit $failed
