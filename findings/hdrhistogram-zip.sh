#!/usr/bin/env bash
# What:  the module github.com/HdrHistogram/hdrhistogram-go, as the module proxy has it.
# Guess: a few hundred kilobytes, as v1.1.2.
# Seen:  2026-11-28: v1.4.0 is 14.5 MB. 14.2 MB of it are bin/golangci-lint, a program of
#        37.8 MB that was committed. v1.1.2 is 0.2 MB. Everyone who requires it fetches it,
#        for tests too.
# Here:  the library modules do not require it; cmd/aside and bench do.
set -euo pipefail
cd "$(dirname "$0")"
. lib/zip.sh

fetch github.com/HdrHistogram/hdrhistogram-go v1.1.2
expect v1.1.2 "$(stat -c %s "$zip")" 200000 300000
fetch github.com/HdrHistogram/hdrhistogram-go v1.4.0
expect v1.4.0 "$(stat -c %s "$zip")" 14000000 15000000
expect "v1.4.0, bin/golangci-lint" "$(packed '/bin/golangci-lint$')" 14000000 15000000
