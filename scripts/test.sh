#!/usr/bin/env bash
# Runs the tests of every module of this repository, each alone: with the versions
# that it requires, as those who import it do. A server that is missing fails them.
# RACE=1 adds the race detector; arguments go to go test. BEFORE_FAULTS is a process to
# wait for before the faults.
set -euo pipefail
cd "$(dirname "$0")/.."

export ASIDE_TEST_REQUIRE_SERVERS=1
failed=()

# module MODULE ARGUMENTS... : its tests, but for the faults, which come alone and last:
# what they measure would be the other tests.
module() {
	local mod=$1 flags=(-timeout 20m)
	shift
	case $mod in # with the race detector, the dependencies of the first two take minutes to build
	./bench) ;;
	./tools*) flags+=(-count=1) ;; # they test files outside of their modules: go test would not see a change
	*) if [ "${RACE:-}" = 1 ]; then flags+=(-race); fi ;;
	esac
	echo "== $mod: go test ${flags[*]}${*:+ $*}"
	scripts/alone.sh "$mod" list ./... | grep -v '/aside/e2e$' | xargs -r scripts/alone.sh "$mod" test "${flags[@]}" "$@"
}

# The service's tests take as long as all others together, and wait for servers most of
# the time, as these do. So both run at once.
mkdir -p .cache
trap 'trap "" TERM; kill 0; exit 130' INT # what runs in the background ignores Ctrl-C
module ./cmd/aside "$@" >.cache/test-service.log 2>&1 &
service=$!
for mod in $(scripts/modules.sh); do
	case $mod in
	./cmd/aside) ;; # runs already
	./tools/alertmanager) ;; # takes a minute to build: CONTRIBUTING.md says when to run it
	*) module "$mod" "$@" || failed+=("$mod") ;;
	esac
done
wait $service || failed+=(./cmd/aside)
cat .cache/test-service.log
if [ -n "${BEFORE_FAULTS:-}" ]; then tail --pid="$BEFORE_FAULTS" -f /dev/null; fi
echo "== faults"
scripts/e2e.sh short "$@" || failed+=(./cmd/aside/e2e)
echo "== model"
scripts/model.sh || failed+=(tests/model)
if [ ${#failed[@]} -ne 0 ]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
