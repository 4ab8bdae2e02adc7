#!/usr/bin/env bash
# Runs FerretDB on a throw-away PostgreSQL until it is interrupted: a MongoDB
# stand-in that answers a read by id from an index, for loading and measuring
# more records than the SQLite that the tests use can bear.
#
#   scripts/ferretdb-postgres.sh [PORT]        (default 27018)
#   aside serve --mongo 'mongodb://127.0.0.1:27018/?directConnection=true'
#
# FerretDB 1.24 asks PostgreSQL for documents with a given id by a condition that
# none of the indexes it makes can serve. This script makes one that can, in
# collection todos of database test, as soon as that exists. Needs PostgreSQL's
# server programs (Debian, Ubuntu: apt-get install postgresql).
set -euo pipefail
cd "$(dirname "$0")/.."

port=${1:-27018}

die() {
	echo "ferretdb-postgres: $*" >&2
	exit 1
}

. scripts/postgres.bash

mkdir -p .cache/bin
(cd tools/ferretdb && GOWORK=off go build -trimpath -o ../../.cache/bin/ferretdb .)

ferretdb=
stop() {
	trap - EXIT INT TERM
	[ -z "$ferretdb" ] || kill "$ferretdb" 2>/dev/null || true
	[ -z "$ferretdb" ] || wait "$ferretdb" 2>/dev/null || true
	stop_postgres
}
trap stop EXIT
trap 'exit 0' INT TERM

start_postgres ferretdb fsync=off shared_buffers=256MB || die "there is no PostgreSQL"
sql() { postgres_sql ferretdb "${2:-ferretdb}" "$1"; }
sql 'create database ferretdb' postgres

.cache/bin/ferretdb -listen "127.0.0.1:$port" -postgres "postgres://ferretdb@/ferretdb?host=$pg_dir" &
ferretdb=$!

while kill -0 "$ferretdb" 2>/dev/null; do
	table=$(sql "select table_name from information_schema.tables where table_schema = 'test' and table_name like 'todos\\_%'")
	if [ -n "$table" ]; then
		sql "create index aside_id_path on test.\"$table\" using gin ((_jsonb->'id') jsonb_path_ops) with (fastupdate = off)"
		echo "ferretdb-postgres: made the index on id of test.$table"
		break
	fi
	sleep 0.5
done
wait "$ferretdb"
