#!/usr/bin/env bash
# Measures `aside load --postgres` beside a throw-away PostgreSQL on this machine, with its
# default settings (fsync and synchronous_commit on).
#
#   scripts/load-postgres.sh [ARCHIVE] [RUNS]     (default: 200,000 generated todos, 5 runs)
#
# Each run loads into an empty table, and then the same once more. Needs PostgreSQL's
# server programs (Debian, Ubuntu: apt-get install postgresql), and wants the machine for
# itself.
set -euo pipefail
cd "$(dirname "$0")/.."

source=(--count 200000)
[ -z "${1:-}" ] || source=(--archive "$(realpath "$1")")
runs=${2:-5}

die() {
	echo "load-postgres: $*" >&2
	exit 1
}

. scripts/postgres.bash

dir=$(mktemp -d)
stop() {
	trap - EXIT INT TERM
	stop_postgres
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

go build -trimpath -o "$dir/aside" ./cmd/aside
start_postgres todo wal_level=logical || die "there is no PostgreSQL"
sql() { postgres_sql todo postgres "$1"; }

echo "$("$pg_bin/postgres" --version), $(nproc) processors: aside load ${source[*]}, records/s"
first=() again=()
rate() { "$dir/aside" load "${source[@]}" --postgres "postgres://todo@/postgres?host=$pg_dir" 2>/dev/null | sed -n 's/.*(\([0-9]*\)\/s).*/\1/p'; }
for ((n = 0; n < runs; n++)); do
	sql 'drop table if exists todos' 2>/dev/null
	sql checkpoint
	first+=("$(rate)")
	again+=("$(rate)")
	[ "$(sql 'select count(*) from todos')" -gt 0 ] || die "nothing was loaded"
done
show() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { printf "median %d, from %d to %d\n", v[int((NR + 1) / 2)], v[1], v[NR] }'; }
echo "into an empty table: $(show "${first[@]}")"
echo "the same again:      $(show "${again[@]}")"
