#!/usr/bin/env bash
# A drill for those who are on call: three servers with PostgreSQL, Redis and Prometheus, a
# load, and five faults in random order. For each one you say what it is, with nothing but
# the dashboard, the alerts and the runbook (docs/guide/operations.md).
#
#   scripts/drill.sh
#
# Answers are read from standard input, one number a line. The alerts are those of
# deploy/prometheus with all times divided by 20. Needs what scripts/bootstrap.sh installs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

die() {
	echo "drill: $*" >&2
	exit 1
}

initdb=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
[ -n "$initdb" ] || die "PostgreSQL's server programs are not installed; scripts/bootstrap.sh installs them"
command -v redis-server >/dev/null || die "redis-server is not on PATH; scripts/bootstrap.sh installs it"
prometheus=$(command -v prometheus || echo "$root/.cache/bin/prometheus")
[ -x "$prometheus" ] || die "Prometheus is not there; scripts/bootstrap.sh fetches it"
bin=$(dirname "$(readlink -f "$initdb")")

dir=$(mktemp -d)
as=()
mkdir "$dir/pg"
if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
	as=(runuser -u postgres --)
	chmod 755 "$dir"
	chown postgres "$dir/pg"
fi
running=()
stop() {
	trap - EXIT INT TERM
	for p in "${running[@]}"; do kill -CONT "$p" 2>/dev/null && kill -9 "$p" 2>/dev/null; done || true
	(cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -m immediate stop >/dev/null 2>&1) || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

# background NAME COMMAND... : its process is in $last.
background() {
	local name=$1
	shift
	"$@" >"$dir/$name.log" 2>&1 &
	last=$!
	disown
	running+=("$last")
}

GOFLAGS="${GOFLAGS:--buildvcs=false}" go build -trimpath -o "$dir/aside" ./cmd/aside
background redis redis-server --port 27990 --save '' --dir "$dir" --maxmemory 64mb
redis=$last
cli() { redis-cli -p 27990 "$@" >/dev/null; }
until cli ping 2>/dev/null; do sleep 0.1; done
for n in 1 2 3; do cli acl setuser "node$n" on nopass '~*' '&*' +@all; done
(
	cd /
	"${as[@]}" "$bin/initdb" -D "$dir/pg/data" -U admin -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
	"${as[@]}" "$bin/pg_ctl" -D "$dir/pg/data" -l "$dir/pg/log" -w start -o \
		"-c listen_addresses='' -c unix_socket_directories='$dir/pg' -c wal_level=logical -c max_slot_wal_keep_size=1GB" >/dev/null
) || die "PostgreSQL did not start"
database="postgres://todo@/postgres?host=$dir/pg"
sql() { "$bin/psql" -h "$dir/pg" -U admin -d postgres -Atqc "$1" >/dev/null; }
sql "CREATE ROLE todo LOGIN REPLICATION; GRANT CREATE ON DATABASE postgres TO todo; GRANT CREATE ON SCHEMA public TO todo"
"$dir/aside" load --count 20000 --postgres "$database" >/dev/null 2>&1

for n in 1 2 3; do
	background "node$n" "$dir/aside" serve --node "node$n" --listen "127.0.0.1:2700$n" --admin "127.0.0.1:2701$n" \
		--postgres "$database" --redis "redis://node$n:x@127.0.0.1:27990" --l1-size 5000 --ttl 20s --max-loads 8
done
for n in 1 2 3; do
	until curl -sf "127.0.0.1:2700$n/readyz" >/dev/null; do sleep 0.2; done
	background "load$n" "$dir/aside" bench --url "http://127.0.0.1:2700$n/todos" --ids 1-20000 --rate 150 --users 60 \
		--update 5% --duration 1h
done
sed -e 's/for: 1m$/for: 3s/; s/for: 2m$/for: 6s/; s/for: 5m$/for: 15s/; s/for: 10m$/for: 30s/; s/for: 15m$/for: 45s/' \
	-e 's/\[5m\]/[15s]/g; s/\[15m\]/[45s]/g' deploy/prometheus/aside.rules.yml >"$dir/rules.yml"
cat >"$dir/prometheus.yml" <<EOF
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: aside
    static_configs: [{targets: ["127.0.0.1:27001", "127.0.0.1:27002", "127.0.0.1:27003"]}]
EOF
background prometheus "$prometheus" --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" --web.listen-address=127.0.0.1:27090

# begin FAULT, end FAULT
begin() {
	case $1 in
	1) kill -STOP "$redis" ;;
	2) cli acl setuser node2 off && cli client kill user node2 ;;
	3) sql "ALTER ROLE todo NOREPLICATION" && sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'" ;;
	4) background lock "$bin/psql" -h "$dir/pg" -U admin -d postgres -qc "BEGIN; LOCK TABLE todos; SELECT pg_sleep(600)" && lock=$last ;;
	5) cli config set maxmemory 1mb && cli config set maxmemory-policy noeviction ;;
	esac
}
end() {
	case $1 in
	1) kill -CONT "$redis" ;;
	2) cli acl setuser node2 on ;;
	3) sql "ALTER ROLE todo REPLICATION" ;;
	4) kill "$lock" && sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()" ;;
	5) cli config set maxmemory 64mb ;;
	esac
}

cat <<EOF
Alerts:     http://127.0.0.1:27090/api/v1/alerts   (or /alerts in a browser)
Dashboards: http://127.0.0.1:27001/#/dashboard, 27002, 27003
Commands:   aside nodes|inspect|top --admin http://127.0.0.1:27011
Runbook:    docs/guide/operations.md

 1 Redis does not answer                    5 Redis is full
 2 one node does not reach Redis            6 a node has died
 3 nobody follows the feed                  7 a loader reads a replica that lags
 4 the table in the database is locked      8 one key is hot
EOF
sleep 45 # until the alerts of the start are gone
right=0
for fault in $(shuf -e 1 2 3 4 5); do
	begin "$fault"
	start=$SECONDS
	printf '\n%s: something is wrong. What? ' "$(date +%T)"
	read -r answer || answer=
	took=$((SECONDS - start))
	if [ "$answer" = "$fault" ]; then
		right=$((right + 1))
		echo "Right, after $took s."
	else
		echo "No, it was $fault (after $took s)."
	fi
	end "$fault"
	sleep 45 # until its alerts are gone
done
echo "$right of 5"
[ "$right" -eq 5 ]
