#!/usr/bin/env bash
# Measures aside beside other cache libraries and writes bench/results: about 40
# minutes on two processors, on a machine that does nothing else. --short takes
# about three minutes and writes bench/short-results. See -h, and bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../bench"

mkdir -p ../.cache/bin
go build -trimpath -o ../.cache/bin/bench .
exec ../.cache/bin/bench "$@"
