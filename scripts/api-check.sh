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

not_run() {
	echo "api-check: NOT RUN: $*" >&2
	exit 75
}

cache=$PWD/.cache/api-check
wanted=scripts/api-check/requirements.txt
tool=$cache/venv/bin/schemathesis
if ! cmp -s "$wanted" "$cache/installed.txt"; then
	command -v python3 >/dev/null || not_run "there is no python3"
	rm -rf "$cache"
	mkdir -p "$cache"
	python3 -m venv "$cache/venv" >"$cache/log" 2>&1 || not_run "python3 cannot make a virtual environment (on Debian: apt-get install python3-venv)"
	timeout 300 "$cache/venv/bin/python" -m pip --disable-pip-version-check install --quiet --requirement "$wanted" >"$cache/log" 2>&1 ||
		not_run "schemathesis cannot be installed from PyPI; the reason is in $cache/log"
	cp "$wanted" "$cache/installed.txt"
fi

tmp=$(mktemp -d)
server=
finish() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$tmp"
}
trap finish EXIT

go build -o "$tmp/aside" ./cmd/aside
# Some records, and a page that a few of them fill, so that cursors are met with.
"$tmp/aside" load --count 200 --data "$tmp/data" >"$tmp/load.log" 2>&1 || {
	cat "$tmp/load.log" >&2
	exit 1
}
"$tmp/aside" serve --data "$tmp/data" --listen 127.0.0.1:0 --max-page 4096 --max-strong-loads unlimited \
	--shutdown-delay 0s --log-format json 2>"$tmp/serve.log" &
server=$!
url=
for _ in {1..300}; do
	url=$(sed -n 's/.*"msg":"serving","url":"\([^"]*\)".*/\1/p' "$tmp/serve.log")
	[ -z "$url" ] || break
	kill -0 "$server" 2>/dev/null || break
	sleep 0.1
done
if [ -z "$url" ]; then
	echo "api-check: aside serve did not start:" >&2
	cat "$tmp/serve.log" >&2
	exit 1
fi

# It finds its configuration in the directory where it runs, and leaves files.
cp scripts/api-check/schemathesis.toml scripts/api-check/hooks.py "$tmp/"
code=0
(cd "$tmp" && NO_COLOR=1 timeout 170 "$tool" run "$url/openapi.json" --checks all --exclude-checks positive_data_acceptance "$@") || code=$?
if grep '"level":"ERROR"' "$tmp/serve.log" >&2; then
	echo "api-check: the server logged errors" >&2
	code=1
fi
if ! kill -0 "$server" 2>/dev/null; then
	echo "api-check: the server ended:" >&2
	tail -n 20 "$tmp/serve.log" >&2
	code=1
fi
exit "$code"
