#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 3s): long enough to see that it
# works and to find what is near its seeds. For a hunt: FUZZTIME=10m scripts/fuzz.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# go test may report its own -fuzztime as a failure, "context deadline exceeded" and no
# input, when that ends in the middle of a call. Such a run is made again, twice at most.
fuzz() {
	local out try
	for try in 1 2 3; do
		if out=$(go test -run '^$' -fuzz "^$1\$" -fuzztime "${FUZZTIME:-3s}" . 2>&1); then
			echo "$out"
			return 0
		fi
		echo "$out"
		if ! grep -q '^    context deadline exceeded$' <<<"$out" || grep -q 'Failing input' <<<"$out"; then return 1; fi
	done
	return 1
}

for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | LC_ALL=C sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $file: $target"
		(cd "$(dirname "$file")" && fuzz "$target")
	done
done
