#!/bin/bash
# Takes away what a test run leaves that was ended by force (Ctrl-C, a kill): network namespaces and folders of emulated hosts whose
# test process is gone. What ran in them ends by itself, or here. Does nothing after a run that came to its end.
#
# usage: test/sweep.sh
set -u
cd "$(dirname "$0")/.."

# wait_for_end PATTERN: until no process has such a command line; ten seconds at most.
wait_for_end() {
  for _ in {1..100}; do
    pgrep -f "$1" >/dev/null || return
    sleep 0.1
  done
}

# runs PID: whether it does; one that nobody has waited for yet does not.
runs() {
  grep -qs . "/proc/$1/cmdline"
}

wait_for_end "$PWD/node_modules/jest-worker/" # the workers end a moment after Jest

for namespace in $(ip netns list 2>/dev/null | grep -o '^dnt-[^ ]*'); do # test/e2e/support/network-namespace.ts
  pid=${namespace#dnt-}
  ! runs "${pid%%-*}" || continue
  ip netns pids "$namespace" | xargs -r kill -KILL
  ip netns delete "$namespace"
done

for folder in "${TMPDIR:-/tmp}"/daolinet-e2e-*; do # lab/namespace.ts
  read -r pid processes < <(cat "$folder/owner"; echo) || continue
  # Of a process in another namespace this one cannot say whether it still runs.
  [ "$processes" = "$(readlink /proc/self/ns/pid)" ] && ! runs "$pid" || continue
  wait_for_end "namespace.sh .*$folder " # its host ends when its owner does, a moment later
  rm -rf "$folder"
done 2>/dev/null

for folder in "${TMPDIR:-/tmp}"/daolinet-{host,browser,lab,faults}-*-*; do # test/e2e/support, lab.test.ts, test/faults
  pid=${folder##*/daolinet-}
  pid=${pid#*-}
  [ ! -d "$folder" ] || runs "${pid%%-*}" || rm -rf "$folder"
done
