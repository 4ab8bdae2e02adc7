#!/usr/bin/env bash
# Runs the tests of every module of this repository. A server that is missing
# fails them. RACE=1 adds the race detector; arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

export ASIDE_TEST_REQUIRE_SERVERS=1
flags=(-timeout 10m)
if [ "${RACE:-}" = 1 ]; then
	export CGO_ENABLED=1
	flags+=(-race)
fi

failed=()
for mod in $(scripts/modules.sh); do
	echo "== $mod: go test ${flags[*]}${*:+ $*} ./..."
	(cd "$mod" && go test "${flags[@]}" "$@" ./...) || failed+=("$mod")
done
if [ ${#failed[@]} -ne 0 ]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
