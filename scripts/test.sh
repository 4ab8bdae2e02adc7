#!/usr/bin/env bash
# Runs the tests of every module of this repository. A server that is missing
# fails them. RACE=1 adds the race detector; arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

export ASIDE_TEST_REQUIRE_SERVERS=1
failed=()
for mod in $(scripts/modules.sh); do
	flags=(-timeout 10m)
	case $mod in
	./tools*) ;; # FerretDB takes minutes to build a second time, and no test there is concurrent
	*) if [ "${RACE:-}" = 1 ]; then flags+=(-race); fi ;;
	esac
	echo "== $mod: go test ${flags[*]}${*:+ $*} ./..."
	(cd "$mod" && go test "${flags[@]}" "$@" ./...) || failed+=("$mod")
done
if [ ${#failed[@]} -ne 0 ]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
