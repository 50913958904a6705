#!/bin/bash
# Every test: types, lint, unit tests, those with a real Open vSwitch, and end to end with a real Docker engine and the
# plugin. Installs what is missing. The end-to-end tests run on emulated hosts; this machine's own Docker and Open vSwitch
# are left alone.
#
# usage: npm test                (as root)
set -uo pipefail
cd "$(dirname "$0")/.."

RESULTS=build/test
passed=0 failed=0

say() { echo; echo "== $*"; }

# count NAME: adds up what jest wrote about a run; a suite that could not run counts as a failed test.
count() {
  local numbers
  numbers=$(node -p 'const r = JSON.parse(fs.readFileSync(process.argv[1])); `${r.numPassedTests} ${
    r.numFailedTests + r.numRuntimeErrorTestSuites}`' "$RESULTS/$1.json" 2>/dev/null) || numbers='0 1'
  passed=$((passed + ${numbers% *}))
  failed=$((failed + ${numbers#* }))
}

# run_jest NAME ARGUMENT...
run_jest() {
  local name=$1
  shift
  rm -f "$RESULTS/$name.json"
  npx jest --json --outputFile "$RESULTS/$name.json" "$@" </dev/null
  count "$name"
}

if [ "$(id -u)" != 0 ]; then
  echo 'npm test needs root: it starts Docker engines and Open vSwitch. npm run check does without.' >&2
  exit 1
fi
mkdir -p $RESULTS

# shellcheck source=plugin/packages.sh
. plugin/packages.sh
# shellcheck disable=SC2086
missing=$(missing_packages $LAB_PROGRAMS curl=curl docker-compose=docker-compose wg=wireguard-tools wireguard-go=wireguard-go \
  ping=iputils-ping chromium=chromium sysctl=procps | paste -s -d ' ')
if [ -n "$missing" ]; then
  say "installing $missing"
  # shellcheck disable=SC2086
  install_packages $missing >$RESULTS/packages.log 2>&1 || { tail -n 20 $RESULTS/packages.log; exit 1; }
fi
install_docker_client >>$RESULTS/packages.log 2>&1
[ -d node_modules ] || npm ci || exit 1

# Most of it is waiting for packages: the plugin, and the Debian testing that Docker 28 comes from.
{ bash lab/build-plugin.sh >$RESULTS/plugin.folder && bash lab/testing-userland.sh; } </dev/null >$RESULTS/plugin.log 2>&1 &
build=$!
trap 'kill $build 2>/dev/null; bash test/sweep.sh' EXIT

say 'types, lint and unit tests'
rm -f $RESULTS/unit.json
bash test/check.sh --json --outputFile $RESULTS/unit.json </dev/null || check_failed=1
count unit

say 'with a real Open vSwitch'
run_jest ovs --selectProjects ovs

say 'the plugin'
if wait $build; then
  say "end to end, with this machine's Docker (e2e) and with Docker 28 of Debian testing (e2e-28)"
  export DAOLINET_LAB_REGISTRY
  DAOLINET_LAB_REGISTRY=$(cat $RESULTS/plugin.folder)
  DAOLINET_TEST_DOCKER=20.10 run_jest e2e --selectProjects e2e e2e-28 --maxWorkers 3
else
  cat $RESULTS/plugin.log >&2
  failed=$((failed + 1))
fi

[ -z "${check_failed:-}" ] || [ $failed != 0 ] || failed=1 # types, lint or format
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
