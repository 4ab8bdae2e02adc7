#!/usr/bin/env bash
# What:  the module github.com/klauspost/compress, as the module proxy has it.
# Guess: a few megabytes of Go code.
# Seen:  2026-11-28: v1.20.3 is 40.4 MB, and 39.4 MB of it are testdata folders, which no
#        build reads. Go fetches a module whole, so a library that compresses with it makes
#        each of its users fetch that once.
# Here:  the library module does not require it.
set -euo pipefail
cd "$(dirname "$0")"
. lib/zip.sh

fetch github.com/klauspost/compress v1.20.3
expect v1.20.3 "$(stat -c %s "$zip")" 40000000 41000000
expect "v1.20.3, testdata" "$(packed '/testdata/')" 39000000 40000000
