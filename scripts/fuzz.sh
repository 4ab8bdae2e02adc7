#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 3s): long enough to see that it
# works and to find what is near its seeds. For a hunt: FUZZTIME=10m scripts/fuzz.sh
set -euo pipefail
cd "$(dirname "$0")/.."

for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | LC_ALL=C sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $file: $target"
		(cd "$(dirname "$file")" && go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-3s}" .)
	done
done
