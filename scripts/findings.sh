#!/usr/bin/env bash
# Runs the scripts in findings and says which still see what they say. Not a part of CI:
# a change there is news about other software, no fault of ours.
#
#   scripts/findings.sh            all
#   scripts/findings.sh NAME...    some, such as hdrhistogram-zip
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ $# -ne 0 ] || names=($(cd findings && ls ./*.sh | sed 's|^\./||; s|\.sh$||'))
changed=()
for name in "${names[@]}"; do
	[ -f "findings/$name.sh" ] || { echo "findings: there is no findings/$name.sh" >&2 && exit 2; }
	echo "== $name"
	code=0
	timeout 300 "findings/$name.sh" || code=$?
	case $code in
	0 | 75) ;; # 75: it could not be run, and said why
	*) changed+=("$name") ;;
	esac
done
if [ ${#changed[@]} -ne 0 ]; then
	echo "findings: no more as they say: ${changed[*]}. Look, then change or remove them."
	exit 1
fi
