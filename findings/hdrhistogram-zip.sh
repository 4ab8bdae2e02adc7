#!/usr/bin/env bash
# What:  the module github.com/HdrHistogram/hdrhistogram-go, as the module proxy has it.
# Guess: a few hundred kilobytes, as v1.1.2.
# Seen:  2026-11-28: v1.4.0 is 14.5 MB. 14.2 MB of it are bin/golangci-lint, a program of
#        37.8 MB that was committed. v1.1.2 is 0.2 MB. Everyone who requires it fetches it,
#        for tests too.
# Here:  the library modules do not require it; cmd/aside and bench do.
set -euo pipefail

# fetch MODULE VERSION : downloads one module into $tmp and sets $zip to its archive.
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
fetch() {
	local json
	json=$(cd "$tmp" && GOWORK=off GOFLAGS= GOMODCACHE=$tmp/mod go mod download -json "$1@$2") || {
		echo "not run: $1@$2 cannot be fetched from the module proxy"
		exit 75
	}
	zip=$(sed -n 's/^.*"Zip": "\(.*\)".*$/\1/p' <<<"$json")
}

# expect WHAT HAVE LEAST MOST : prints a size in bytes, and ends with 1 if it is another.
expect() {
	echo "$1: $2 bytes"
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		echo "CHANGED: $1"
		exit 1
	fi
}

# packed PATTERN : bytes of $zip that files take whose names match.
packed() { python3 -c 'import re, sys, zipfile
print(sum(f.compress_size for f in zipfile.ZipFile(sys.argv[1]).infolist() if re.search(sys.argv[2], f.filename)))' "$zip" "$1"; }

fetch github.com/HdrHistogram/hdrhistogram-go v1.1.2
expect v1.1.2 "$(stat -c %s "$zip")" 200000 300000
fetch github.com/HdrHistogram/hdrhistogram-go v1.4.0
expect v1.4.0 "$(stat -c %s "$zip")" 14000000 15000000
expect "v1.4.0, bin/golangci-lint" "$(packed '/bin/golangci-lint$')" 14000000 15000000
