#!/usr/bin/env bash
# Shows a bug of the track record: runs a test of today on the version before
# its fix, where it must fail.
#   e2e/before.sh COMMIT PACKAGE TEST FILE...
# COMMIT is the fix; the FILEs of today are put over the version before it.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || {
	sed -n '2,5s/^# \?//p' "$0"
	exit 2
}
fix=$1 package=$2 test=$3
shift 3

dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/before"; rm -rf "$dir"' EXIT
git worktree add --quiet --detach "$dir/before" "$fix~1"
cp --parents "$@" "$dir/before"
cd "$dir/before"
go vet "$package" # a test that does not compile shows nothing
if go test -count=1 -timeout 2m -run "$test" "$package"; then
	echo "$test passes on the version before $fix: it does not show the bug"
	exit 1
fi
echo "shown: $test fails on the version before $fix"
