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

# The directory that holds all of them: what is on PATH may be single links.
initdb=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
[ -n "$initdb" ] || die "PostgreSQL's server programs are not installed"
bin=$(dirname "$(readlink -f "$initdb")")

mkdir -p .cache/bin
(cd tools/ferretdb && GOWORK=off go build -trimpath -o ../../.cache/bin/ferretdb .)

dir=$(mktemp -d)
as=()
if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
	as=(runuser -u postgres --)
	chown postgres "$dir"
fi
ferretdb=
stop() {
	trap - EXIT INT TERM
	[ -z "$ferretdb" ] || kill "$ferretdb" 2>/dev/null || true
	[ -z "$ferretdb" ] || wait "$ferretdb" 2>/dev/null || true
	(cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1) || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

# The cluster listens on a socket in its own directory alone.
cd /
"${as[@]}" "$bin/initdb" -D "$dir/data" -U ferretdb -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start -o \
	"-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off -c shared_buffers=256MB" >/dev/null ||
	die "PostgreSQL did not start: $(cat "$dir/log")"
cd "$OLDPWD"
sql() { "$bin/psql" -h "$dir" -U ferretdb -d "${2:-ferretdb}" -Atqc "$1"; }
sql 'create database ferretdb' postgres

.cache/bin/ferretdb -listen "127.0.0.1:$port" -postgres "postgres://ferretdb@/ferretdb?host=$dir" &
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
