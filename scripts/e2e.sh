#!/usr/bin/env bash
# Runs the tests of faults (cmd/aside/e2e/README.md) and prints their table.
#
#   scripts/e2e.sh            the short form that CI runs, about two minutes on two cores
#   scripts/e2e.sh long       the form that the published table comes from, about half an hour
#   scripts/e2e.sh long*2     the same, each row twice as long
#
# Further arguments go to go test, such as -run TestPartition. The table and
# its JSON are put into RESULTS (.cache/e2e), what was seen of violations into
# RESULTS/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

form=short
case ${1:-} in
short* | long*)
	form=$1
	shift
	;;
esac
results=${RESULTS:-$PWD/.cache/e2e}
rm -rf "$results"
mkdir -p "$results/artifacts"

scripts/bootstrap.sh
status=0
ASIDE_TEST_REQUIRE_SERVERS=1 ASIDE_E2E=$form ASIDE_E2E_RESULTS=$results \
	go test -count=1 -timeout 3h -outputdir "$results/artifacts" -artifacts "$@" ./cmd/aside/e2e || status=$?
[ ! -f "$results/faults.md" ] || cat "$results/faults.md"
exit $status
