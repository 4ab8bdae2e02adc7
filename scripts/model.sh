#!/usr/bin/env bash
# Checks the model of the protocol (tests/model) with spin, in all its states: the
# protocol as it is, which must keep every promise, and each mutation of it, which
# must break the one that tests/model/variants says.
#
#   scripts/model.sh              the small set, as the tests run it
#   scripts/model.sh long         the long set too: see tests/model/README.md
#   scripts/model.sh NAME...      single variants
#
# A broken promise is shown by the shortest run that leads there, in words, in
# .cache/model/NAME.txt.
#
#   JOBS     how many are checked at once (default: one for each processor)
#   MEMORY   MB that one of them may use (default 900; 12000 for the long set)
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "model: $*" >&2
	exit 1
}

variants=tests/model/variants
for tool in spin gcc; do
	command -v $tool >/dev/null || die "$tool is not on PATH; scripts/bootstrap.sh installs it"
done

# lookup NAME : its line of the table.
lookup() { awk -v name="$1" '!/^#/ && $2 == name' "$variants"; }

# check NAME : checks one variant and leaves its row of the table.
check() (
	name=$1
	read -r _ _ expect rest < <(lookup "$name")
	promise=
	if [ "$expect" = breaks ]; then
		promise=${rest%% *}
		rest=${rest#* }
	fi
	read -ra defines <<<"$rest"
	mkdir "$tmp/$name"
	cp tests/model/*.pml "$tmp/$name"
	cd "$tmp/$name"

	# A mutation is searched breadth first, for the shortest run. Only a long
	# search repays the compiler's optimisation, which takes seconds.
	options=(-DSAFETY -DNOREDUCE -DVECTORSZ=512 "-DMEMLIM=$memory")
	if [ "$expect" = breaks ]; then
		options+=(-O0 -DBFS)
	elif [ "$memory" -gt 1000 ]; then
		options+=(-O2 -DCOLLAPSE)
	else
		options+=(-O0)
	fi
	{ spin "${defines[@]}" -a aside.pml && gcc "${options[@]}" -w -o pan pan.c; } >log 2>&1 || {
		echo "$name|$expect $promise|does not compile|-|-" >"$tmp/$name.row"
		sed "s/^/$name: /" log >&2
		return
	}
	start=$EPOCHREALTIME
	./pan -m1000000 -w22 >log 2>&1 || true
	took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log | awk '{ printf "%d", $1 }')

	broken=
	if [ -s aside.pml.trail ]; then
		spin -t -T "${defines[@]}" aside.pml 2>/dev/null | grep -E '^ *(node|redis|primary|broken)' | sed 's/^ *//' >trail || true
		broken=$(sed -n 's/^broken: \([A-Z]*[0-9]*\).*/\1/p' trail)
	fi
	if grep -q -E 'out of memory|too small|Search not completed|VECTORSZ|aborting' log && [ -z "$broken" ]; then
		result="not searched to the end"
	elif grep -q 'errors: 0$' log; then
		result=holds
	elif [ -n "$broken" ]; then
		result="breaks $broken"
		cp trail "$root/.cache/model/$name.txt"
	else
		result="another error"
	fi
	case $result in
	holds | breaks*) ;;
	*) sed "s/^/$name: /" log >&2 ;;
	esac
	echo "$name|$expect $promise|$result|${states:--}|$took" >"$tmp/$name.row"
)

if [ "${1:-}" = --check ]; then # from xargs, below
	root=$PWD
	check "$2"
	exit
fi

default_memory=900
case "${1:-}" in
'') names=$(awk '$1 == "small" { print $2 }' "$variants") ;;
long)
	names=$(awk '$1 == "small" || $1 == "long" { print $2 }' "$variants")
	default_memory=12000
	: "${JOBS:=1}"
	;;
*)
	names="$*"
	for name in $names; do
		[ -n "$(lookup "$name")" ] || die "there is no variant $name in $variants"
	done
	;;
esac
export memory=${MEMORY:-$default_memory}
tmp=$(mktemp -d)
export tmp
trap 'rm -rf "$tmp"' EXIT
mkdir -p .cache/model

xargs -P "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" -n 1 "$0" --check <<<"$names"

failed=
printf '%-26s %-11s %-11s %11s %8s\n' variant expected result states seconds
for name in $names; do
	IFS='|' read -r n expected result states took <"$tmp/$name.row" || die "$name left no result"
	mark=
	if [ "${expected% }" != "$result" ]; then
		failed="$failed $name"
		mark=' <--'
	fi
	printf '%-26s %-11s %-11s %11s %8s%s\n' "$n" "$expected" "$result" "$states" "$took" "$mark"
done
if [ -n "$failed" ]; then
	for name in $failed; do
		if [ -s ".cache/model/$name.txt" ] && grep -q "^$name|.*|breaks" "$tmp/$name.row"; then
			printf '\n%s:\n' "$name"
			cat ".cache/model/$name.txt"
		fi
	done
	echo
	die "not as expected:$failed"
fi
