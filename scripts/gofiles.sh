#!/usr/bin/env bash
# Prints every Go file of this repository, of all its modules.
set -euo pipefail
cd "$(dirname "$0")/.."

find . \( -path ./.git -o -path ./.cache -o -name node_modules \) -prune -o -name '*.go' -print
