#!/usr/bin/env bash
# Prints the directory of every Go module of this repository, the root
# first: ./... stops at a nested module, so each has to be entered.
set -euo pipefail
cd "$(dirname "$0")/.."

find . \( -path ./.git -o -path ./.cache -o -name testdata -o -name node_modules \) -prune -o -name go.mod -print |
	sed 's|/go.mod$||' | LC_ALL=C sort
