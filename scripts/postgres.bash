# Sourced by scripts that need a throw-away PostgreSQL. Needs PostgreSQL's server
# programs (Debian, Ubuntu: apt-get install postgresql).

# start_postgres USER [SETTING...] starts a server whose data is in a new directory,
# $pg_dir. It listens on a socket there and nowhere else. Everybody may be USER. The
# caller calls stop_postgres at its end.
start_postgres() {
	local user=$1 initdb options='' setting
	shift
	initdb=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
	[ -n "$initdb" ] || { echo "PostgreSQL's server programs are not installed" >&2 && return 1; }
	# The directory that holds all of them: what is on PATH may be single links.
	pg_bin=$(dirname "$(readlink -f "$initdb")")
	pg_dir=$(mktemp -d)
	pg_as=()
	if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
		pg_as=(runuser -u postgres --)
		chown postgres "$pg_dir"
	fi
	for setting in listen_addresses= unix_socket_directories="$pg_dir" "$@"; do options+=" -c $setting"; done
	(
		cd /
		"${pg_as[@]}" "$pg_bin/initdb" -D "$pg_dir/data" -U "$user" -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
		"${pg_as[@]}" "$pg_bin/pg_ctl" -D "$pg_dir/data" -l "$pg_dir/log" -w start -o "$options" >/dev/null
	) || { echo "PostgreSQL did not start: $(cat "$pg_dir/log" 2>/dev/null)" >&2 && return 1; }
}

# postgres_sql USER DATABASE SQL runs SQL, and prints what it returns.
postgres_sql() { "$pg_bin/psql" -h "$pg_dir" -U "$1" -d "$2" -Atqc "$3"; }

stop_postgres() {
	[ -n "${pg_dir:-}" ] || return 0
	(cd / && "${pg_as[@]}" "$pg_bin/pg_ctl" -D "$pg_dir/data" -m immediate -w stop >/dev/null 2>&1) || true
	rm -rf "$pg_dir"
	pg_dir=
}
