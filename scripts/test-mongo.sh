#!/usr/bin/env bash
# Runs the tests of the change feed of MongoDB (mongofeed) on a server that has change
# streams:
#
#   - that of ASIDE_TEST_MONGODB_URI, or mongod from PATH, if there is one: the real one
#   - SecantusDB, in any case: an independent implementation of the protocol. Only with it
#     do the tests run that kill the server or shorten its log.
#
# SecantusDB needs python3 (3.10 or newer) with venv, and PyPI the first time. It is put into
# .cache/test-mongo. Where it cannot be had, this says so and ends with 75; the tests on the
# real server have run then, if there is one. Arguments go to go test.
#
#   scripts/test-mongo.sh [-run Drop -v]
set -euo pipefail
cd "$(dirname "$0")/.."

not_run() {
	echo "test-mongo: NOT RUN on SecantusDB: $*" >&2
	exit 75
}

export ASIDE_TEST_REQUIRE_SERVERS=1
unset ASIDE_TEST_SECANTUSD
flags=(-count=1 -timeout 5m)
if [ "${RACE:-}" = 1 ]; then flags+=(-race); fi
if [ -n "${ASIDE_TEST_MONGODB_URI:-}" ] || command -v mongod >/dev/null; then
	echo "== MongoDB"
	scripts/alone.sh ./tests test "${flags[@]}" "$@" ./mongofeed
fi

cache=$PWD/.cache/test-mongo
wanted=scripts/test-mongo/requirements.txt
if ! cmp -s "$wanted" "$cache/installed.txt"; then
	command -v python3 >/dev/null || not_run "there is no python3"
	rm -rf "$cache"
	mkdir -p "$cache"
	python3 -m venv "$cache/venv" >"$cache/log" 2>&1 || not_run "python3 cannot make a virtual environment (on Debian: apt-get install python3-venv)"
	timeout 300 "$cache/venv/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary :all: --requirement "$wanted" >"$cache/log" 2>&1 ||
		not_run "it cannot be installed from PyPI; the reason is in $cache/log"
	cp "$wanted" "$cache/installed.txt"
fi
echo "== $(sed -n 's/^SecantusDB==/SecantusDB /p' "$wanted")"
ASIDE_TEST_SECANTUSD=$cache/venv/bin/secantusd-py scripts/alone.sh ./tests test "${flags[@]}" "$@" ./mongofeed
