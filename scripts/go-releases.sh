#!/usr/bin/env bash
# Builds, vets and tests the library modules with Go releases other than the one that is
# installed: all of them with the oldest that their go.mod files allow, and the library and
# redisl2 with the newest. The go command fetches each from the module proxy. If one cannot
# be fetched, the script says so, goes on with the others, and ends with 75.
#
#   scripts/go-releases.sh [RELEASE...]
set -euo pipefail
cd "$(dirname "$0")/.."

# The only place that names them. The two newest releases of Go are supported.
releases=(go1.25.14 go1.27.4)
[ $# -eq 0 ] || releases=("$@")

missing=
for release in "${releases[@]}"; do
	if ! have=$(GOTOOLCHAIN=$release GOWORK=off go version 2>&1); then
		echo "go-releases: NOT RUN: $release cannot be fetched: $(tail -n 1 <<<"$have")" >&2
		missing=1
		continue
	fi
	modules=(. ./redisl2)
	# The others need drivers, which take minutes to compile with each release: an API of the
	# standard library that is too new shows with the oldest.
	if [ "$release" = "${releases[0]}" ]; then modules+=(./asideprom ./asideotel ./mongofeed ./pgfeed); fi
	for mod in "${modules[@]}"; do
		echo "== $mod: $release"
		GOTOOLCHAIN=$release scripts/alone.sh "$mod" vet ./...
		# go test checks a part of what go vet does; that has been done.
		GOTOOLCHAIN=$release scripts/alone.sh "$mod" test -short -vet=off -timeout 5m ./...
	done
done
[ -z "$missing" ] || exit 75
