#!/usr/bin/env bash
# Checks the model of the protocol in docs/model with spin: the protocol as it is
# must keep its promises, and each variant with one rule left out must break one.
#   scripts/model.sh         small configurations, about a minute on two cores
#   scripts/model.sh long    larger ones too
# What it ran, with the trails of the broken variants, is in .cache/model.
set -euo pipefail
cd "$(dirname "$0")/.."

form=${1:-short}
case $form in short | long) ;; *)
	echo "usage: scripts/model.sh [short|long]" >&2
	exit 2
	;;
esac
for tool in spin gcc; do
	command -v $tool >/dev/null || {
		echo "model: $tool is not on PATH; scripts/bootstrap.sh installs it" >&2
		exit 1
	}
done

out=$PWD/.cache/model
rm -rf "$out"
mkdir -p "$out"

# processes R0 R1 W0 W1: readers on node 0 and 1, writers on node 0 and 1
processes() { echo "-DREADERS0=$1 -DREADERS1=$2 -DWRITERS0=$3 -DWRITERS1=$4"; }
apart=$(processes 1 1 1 0)   # a writer with a reader on its node and on the other
follow=$(processes 2 0 0 1)  # two readers of one node, the writer on the other
writers=$(processes 1 0 1 1) # two writers

failed=0
# check NAME holds|breaks FLAGS...
check() {
	local name=$1 expect=$2 dir=$out/$1 found
	shift 2
	mkdir -p "$dir"
	cp docs/model/*.pml "$dir"
	(
		cd "$dir"
		# shellcheck disable=SC2068 # flags are words
		spin $@ -a aside.pml >spin.log 2>&1
		gcc -O1 -w -DSAFETY -DVECTORSZ=1024 -DMEMLIM=4000 -DCOLLAPSE -o pan pan.c
		./pan -m1000000 -w22 >pan.log 2>&1
		if [ -f aside.pml.trail ]; then
			# shellcheck disable=SC2068
			spin -t -T $@ aside.pml 2>/dev/null | grep -E '^ *(node|redis|primary|broken)' | sed 's/^ *//' >trail || true
		fi
	)
	if grep -q 'errors: 0' "$dir/pan.log" && ! grep -q 'Search not completed\|max search depth too small' "$dir/pan.log"; then
		found=holds
	elif [ -s "$dir/trail" ] && grep -q '^broken' "$dir/trail"; then
		found="breaks $(sed -n 's/^broken: //p' "$dir/trail" | tail -1)"
	else
		found="not decided"
	fi
	printf '%-22s %-8s %-14s %10s states\n' "$name" "$expect" "$found" "$(awk '/states, stored/ {print $1; exit}' "$dir/pan.log")"
	[ "${found%% *}" = "$expect" ] || {
		echo "  expected that it $expect; see $dir"
		failed=1
	}
}

printf '%-22s %-8s %-14s\n' variant expected found
check protocol-apart holds $apart
check protocol-follow holds $follow
check protocol-writers holds $writers
if [ $form = long ]; then
	check protocol-four holds $(processes 1 1 1 1) -DCRASHES=0 -DKNOWN
fi
check NO_CAS breaks $apart -DCRASHES=0 -DNO_CAS
check RELEASE_FIRST breaks $writers -DCRASHES=0 -DRELEASE_FIRST
check JOIN_REFUSED breaks $follow -DCRASHES=0 -DJOIN_REFUSED
check SHORT_FENCE breaks $apart -DCRASHES=0 -DSHORT_FENCE
check PUBLISH_SHARED breaks $writers -DCRASHES=0 -DPUBLISH_SHARED
check NO_GENERATION breaks $apart -DCRASHES=0 -DNO_GENERATION
check NO_DROP_FENCED breaks $writers -DCRASHES=0 -DNO_DROP_FENCED
check UNKNOWN_RELEASE breaks $apart -DCRASHES=0 -DUNKNOWN_RELEASE
check ONE_TOKEN breaks $follow -DCRASHES=0 -DONE_TOKEN
exit $failed
