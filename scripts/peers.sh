#!/usr/bin/env bash
# Measures aside beside other cache libraries and writes bench/results. It takes
# the better part of an hour, on a machine that should do nothing else. --short
# takes a few minutes and writes bench/short-results. See -h, and bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../bench"

mkdir -p ../.cache/bin
GOWORK=off go build -trimpath -o ../.cache/bin/bench .
exec ../.cache/bin/bench "$@"
