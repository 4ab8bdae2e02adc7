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

. scripts/pypi.sh

export ASIDE_TEST_REQUIRE_SERVERS=1
unset ASIDE_TEST_SECANTUSD
flags=(-count=1 -timeout 5m)
if [ "${RACE:-}" = 1 ]; then flags+=(-race); fi
if [ -n "${ASIDE_TEST_MONGODB_URI:-}" ] || command -v mongod >/dev/null; then
	echo "== MongoDB"
	scripts/alone.sh ./tests test "${flags[@]}" "$@" ./mongofeed
fi

install SecantusDB --only-binary :all:
echo "== $(sed -n 's/^SecantusDB==/SecantusDB /p' scripts/test-mongo/requirements.txt)"
ASIDE_TEST_SECANTUSD=$cache/venv/bin/secantusd-py scripts/alone.sh ./tests test "${flags[@]}" "$@" ./mongofeed
