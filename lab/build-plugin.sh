#!/bin/bash
# Builds the plugin for the end-to-end tests without touching this machine's Docker: in an engine of its own, whose layers
# stay in the cache, and pushes it into a registry's folder there. Does nothing when that folder is there already.
#
# usage: build-plugin.sh       prints the folder, to be served by docker-registry
set -euo pipefail
cd "$(dirname "$0")/.."

CACHE=/var/cache/daolinet
KEEP=3 # folders of earlier states of the sources

# build_inside FOLDER: runs in a namespace of its own; leaves the registry's files in FOLDER.
build_inside() {
  local port
  port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => {
    console.log(s.address().port); s.close(); })')
  containerd >/run/containerd.log 2>&1 &
  dockerd --data-root $CACHE/builder --bridge none --iptables=false --ip-forward=false --ip-masq=false \
    --containerd /run/containerd/containerd.sock >/run/dockerd.log 2>&1 &
  printf '%s\n' 'version: 0.1' 'log: { level: error }' "storage: { filesystem: { rootdirectory: $1 } }" \
    "http: { addr: '127.0.0.1:$port' }" >/run/registry.yml
  docker-registry serve /run/registry.yml >/run/registry.log 2>&1 &
  local tries=0
  until docker version >/dev/null 2>&1; do
    [ $((tries += 1)) -lt 100 ] || { tail -n 5 /run/dockerd.log >&2; echo "dockerd did not start" >&2; return 1; }
    sleep 0.2
  done
  plugin/build.sh "127.0.0.1:$port/daolinet/daolinet:latest" >&2
  docker image prune --force >/dev/null
}

if [ "${1:-}" = --inside ]; then
  build_inside "$2"
  exit
fi

mkdir -p $CACHE/registry
exec 8>$CACHE/lock
flock 8
folder=$CACHE/registry/$(plugin/build.sh --fingerprint)
if [ ! -d "$folder" ]; then
  scratch=$(mktemp -d "${TMPDIR:-/tmp}/daolinet-build.XXXXXX")
  trap 'rm -rf "$scratch" "$folder.new"' EXIT
  rm -rf "$folder.new"
  sh lab/namespace.sh "$scratch" builder bash "$0" --inside "$folder.new" </dev/null
  mv "$folder.new" "$folder"
  # Not those that a test run of another state may still be using.
  find $CACHE/registry -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn | tail -n +$((KEEP + 1)) |
    awk -v hour_ago="$(date -d '1 hour ago' +%s)" '$1 < hour_ago { print $2 }' | xargs -r rm -rf
fi
touch "$folder"
echo "$folder"
