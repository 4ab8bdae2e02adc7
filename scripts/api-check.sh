#!/usr/bin/env bash
# Holds the service against its own OpenAPI document, with schemathesis: no
# answer of 500 or above, none that the document does not name, no rule in the
# document that the server does not keep. Which requests are sent is fixed by a
# seed. It takes less than three minutes.
#
# It needs python3 with venv, and PyPI the first time. Where it has not got them
# it says so and ends with 75; nothing was checked then. schemathesis is put into
# .cache/api-check.
#
#   scripts/api-check.sh [further arguments of "schemathesis run"]
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/pypi.sh

install schemathesis

tmp=$(mktemp -d)
trap finish EXIT

go build -o "$tmp/aside" ./cmd/aside
# Some records, and a page that a few of them fill, so that cursors are met with.
"$tmp/aside" load --count 200 --data "$tmp/data" >"$tmp/load.log" 2>&1 || {
	cat "$tmp/load.log" >&2
	exit 1
}
start serve --data "$tmp/data" --max-page 4096 --max-strong-loads unlimited --shutdown-delay 0s

# It finds its configuration in the directory where it runs, and leaves files.
cp scripts/api-check/schemathesis.toml scripts/api-check/hooks.py "$tmp/"
code=0
(cd "$tmp" && NO_COLOR=1 timeout 170 "$cache/venv/bin/schemathesis" run "$url/openapi.json" --checks all --exclude-checks positive_data_acceptance "$@") || code=$?
if grep '"level":"ERROR"' "$tmp/server.log" >&2; then
	echo "api-check: the server logged errors" >&2
	code=1
fi
if ! kill -0 "$server" 2>/dev/null; then
	echo "api-check: the server ended:" >&2
	tail -n 20 "$tmp/server.log" >&2
	code=1
fi
exit "$code"
