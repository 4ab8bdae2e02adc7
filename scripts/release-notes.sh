#!/usr/bin/env bash
# Prints what CHANGELOG.md says about one version. Fails if it says nothing.
#
#   scripts/release-notes.sh v0.1.0
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:?usage: scripts/release-notes.sh VERSION}
notes=$(awk -v head="## ${version#v} - " '
	/^## / { inside = index($0, head) == 1 && substr($0, length(head) + 1) ~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]$/; next }
	inside { print }' CHANGELOG.md)
if [ -z "${notes//[[:space:]]/}" ]; then
	echo "release-notes: CHANGELOG.md has no part \"## ${version#v} - YEAR-MONTH-DAY\" with text in it" >&2
	exit 1
fi
printf '%s\n' "$notes" | sed '1{/^$/d}'
