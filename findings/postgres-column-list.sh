#!/usr/bin/env bash
# What:  PostgreSQL, a publication with a column list, and changes of its table afterwards.
# Guess: a publication reads the table and cannot make a write fail. What it forbids says so.
# Seen:  2026-11-28, PostgreSQL 15.18 (Debian 12): after REPLICA IDENTITY FULL every UPDATE and
#        DELETE of the table is refused (42P10: column list used by the publication does not
#        cover the replica identity). And the type of a listed column cannot be changed: the
#        error speaks of a publication's WHERE clause, although there is none.
# Here:  docs/guide/postgresql.md says what to run first; pgfeed takes its column list away
#        when it opens the feed and finds such a table.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
if ! command -v initdb >/dev/null; then PATH=$bin:$PATH; fi
command -v initdb >/dev/null && command -v psql >/dev/null || { echo "not run: there is no PostgreSQL (apt-get install postgresql)"; exit 75; }
dir=$(mktemp -d)
run() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then # the server refuses to run as root
	id postgres >/dev/null 2>&1 || { echo "not run: there is no user postgres to run the server as"; exit 75; }
	chown postgres "$dir"
	run() { setpriv --reuid postgres --regid postgres --clear-groups -- "$@"; }
fi
cd "$dir"
run initdb -D "$dir/data" -A trust -U me >/dev/null
trap 'run pg_ctl -D "$dir/data" -m immediate stop >/dev/null 2>&1; rm -rf "$dir"' EXIT
run pg_ctl -D "$dir/data" -w -l "$dir/log" -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c wal_level=logical" start >/dev/null
sql() { psql -h "$dir" -U me -d postgres -X -v VERBOSITY=verbose -tAc "$1" 2>&1 || true; }
echo "$(sql 'SELECT version()' | cut -d' ' -f1-2)"
sql 'CREATE TABLE t (id int PRIMARY KEY, version int, name text)' >/dev/null
sql "INSERT INTO t VALUES (1, 1, 'one')" >/dev/null
sql 'CREATE PUBLICATION p FOR TABLE t (id, version)' >/dev/null
failed=0
expect() { # WHAT PATTERN OUTPUT
	if [[ $3 == *$2* ]]; then echo "as seen: $1: ${3%%$'\n'*}"; else echo "NOT as seen: $1: $3"; failed=1; fi
}
expect "an update before" "UPDATE 1" "$(sql "UPDATE t SET name = 'two'")"
expect "another type for a listed column" "used by a publication WHERE clause" "$(sql 'ALTER TABLE t ALTER version TYPE bigint')"
expect "another replica identity" "ALTER TABLE" "$(sql 'ALTER TABLE t REPLICA IDENTITY FULL')"
expect "an update after" "42P10" "$(sql "UPDATE t SET name = 'three'")"
expect "a deletion after" "42P10" "$(sql 'DELETE FROM t')"
exit $failed
