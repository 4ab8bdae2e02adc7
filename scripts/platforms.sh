#!/usr/bin/env bash
# Compiles and vets for another platform what should run there: the library modules with
# their tests, and the command where it is released.
#
#   scripts/platforms.sh linux/arm64
set -euo pipefail
cd "$(dirname "$0")/.."

platform=${1:?usage: scripts/platforms.sh GOOS/GOARCH}
export GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0
for mod in . ./redisl2 ./asideprom ./asideotel ./mongofeed ./pgfeed ./cmd/aside; do
	echo "== $mod: $platform"
	scripts/alone.sh "$mod" build ./...
	scripts/alone.sh "$mod" vet ./...
done
