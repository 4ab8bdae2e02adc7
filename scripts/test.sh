#!/usr/bin/env bash
# Runs the tests of every module of this repository, each alone: with the versions
# that it requires, as those who import it do. A server that is missing fails them.
# RACE=1 adds the race detector, but for what takes minutes to build with it: packages
# whose tests need the drivers of databases, and the benchmarks beside other libraries.
# RACE=all adds it to those of the service too. Further arguments go to go test.
# BESIDE is a group of processes that must not disturb the faults, and get what these leave.
set -euo pipefail
cd "$(dirname "$0")/.."

export ASIDE_TEST_REQUIRE_SERVERS=1
failed=()

# module MODULE ARGUMENTS... : its tests, but for the faults, which come alone and last:
# what they measure would be the other tests.
module() {
	local mod=$1 race=() flags=(-timeout 20m) heavy= code=0 packages
	shift
	case $mod in
	./bench) ;;
	./tools*) flags+=(-count=1) ;; # they test files outside of their modules: go test would not see a change
	*) if [ -n "${RACE:-}" ]; then race=(-race); fi ;;
	esac
	if [ "$mod" = ./cmd/aside ] && [ "${RACE:-}" = 1 ]; then
		heavy=$(scripts/alone.sh "$mod" list -test -f '{{.ImportPath}} {{join .Deps " "}} ' ./... |
			sed -nE 's/^([^ ]*)\.test .* (go\.mongodb\.org\/mongo-driver\/v2\/mongo|github\.com\/jackc\/pgx\/v5) .*/\1/p')
	fi
	packages=$(scripts/alone.sh "$mod" list ./... | grep -v '/aside/e2e$')
	grep -vxF "$heavy" <<<"$packages" | run "$mod" "${race[@]}" "${flags[@]}" "$@" || code=1
	if [ -n "$heavy" ]; then
		grep -xF "$heavy" <<<"$packages" | run "$mod" "${flags[@]}" "$@" || code=1
	fi
	return $code
}

# run MODULE ARGUMENTS... : tests the packages that come in.
run() {
	echo "== $1: go test ${*:2}"
	xargs -r scripts/alone.sh "$1" test "${@:2}"
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
if [ -n "${BESIDE:-}" ]; then renice -n 19 -g "$BESIDE" >/dev/null 2>&1 || true; fi # it may have ended
echo "== faults"
scripts/e2e.sh short "$@" || failed+=(./cmd/aside/e2e)
echo "== model"
scripts/model.sh || failed+=(tests/model)
if [ ${#failed[@]} -ne 0 ]; then
	echo "failed: ${failed[*]}"
	exit 1
fi
