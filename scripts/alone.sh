#!/usr/bin/env bash
# Runs a go command in one module with the versions that this module requires, as
# those who import it do: without go.work.
#
#   scripts/alone.sh ./redisl2 test ./...
#
# cmd/aside has no replace directives, since `go install PACKAGE@VERSION` refuses
# them. Until the other modules are released it gets them from a copy of its go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD mod=$1 command=$2
shift 2

export GOWORK=off
if [ "$command" = mod ]; then # "go mod tidy": the flag stands behind the second word
	command="mod $1"
	shift
fi
if [ "${mod#./}" = cmd/aside ]; then
	copy=$root/.cache/alone/cmd-aside.mod
	mkdir -p "$root/.cache/alone"
	cp cmd/aside/go.mod "$copy"
	# Without the lines that a release adds: what is replaced has none.
	grep -v '^github.com/asidecache/aside[ /]' cmd/aside/go.sum >"${copy%.mod}.sum"
	for other in . asideprom asideotel mongofeed pgfeed redisl2 tests; do
		path=github.com/asidecache/aside/$other
		go mod edit -replace "${path%/.}=$root/$other" "$copy"
	done
	set -- "-modfile=$copy" "$@"
fi
cd "$mod"
# shellcheck disable=SC2086
exec go $command "$@"
