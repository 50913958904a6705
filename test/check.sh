#!/bin/bash
# A developer's quick loop: types, lint, format and unit tests. Needs no root and no daemon.
#
# usage: npm run check
set -uo pipefail
cd "$(dirname "$0")/.."

[ -d node_modules ] || npm ci || exit 1
failed=''

# The first two take most of the time, and one core each.
{ npx tsc --noEmit && npx tsc --noEmit -p src/web; } &
types=$!
npx eslint . || failed="$failed lint"
wait $types || failed="$failed types"
npx prettier --check --log-level warn src lab test plugin config.json || failed="$failed format"
npx jest --selectProjects unit "$@" || failed="$failed unit tests"

[ -z "$failed" ] && exit
echo "check: these failed:$failed" >&2
exit 1
