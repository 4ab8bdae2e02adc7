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

initdb=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
[ -n "$initdb" ] || die "PostgreSQL's server programs are not installed"
bin=$(dirname "$(readlink -f "$initdb")")

dir=$(mktemp -d)
as=()
if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
	as=(runuser -u postgres --)
	chmod 755 "$dir"
	mkdir "$dir/server"
	chown postgres "$dir/server"
else
	mkdir "$dir/server"
fi
stop() {
	trap - EXIT INT TERM
	(cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/server/data" -m immediate -w stop >/dev/null 2>&1) || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

go build -trimpath -o "$dir/aside" ./cmd/aside
cd /
"${as[@]}" "$bin/initdb" -D "$dir/server/data" -U todo -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
# It listens on a socket in its own directory alone.
"${as[@]}" "$bin/pg_ctl" -D "$dir/server/data" -l "$dir/server/log" -w start -o \
	"-c listen_addresses='' -c unix_socket_directories='$dir/server' -c wal_level=logical" >/dev/null ||
	die "PostgreSQL did not start: $(cat "$dir/server/log")"
sql() { "$bin/psql" -h "$dir/server" -U todo -d postgres -Atqc "$1"; }

echo "$("$bin/postgres" --version), $(nproc) processors: aside load ${source[*]}, records/s"
first=() again=()
rate() { "$dir/aside" load "${source[@]}" --postgres "postgres://todo@/postgres?host=$dir/server" 2>/dev/null | sed -n 's/.*(\([0-9]*\)\/s).*/\1/p'; }
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
