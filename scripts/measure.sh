#!/usr/bin/env bash
# Measures loading and serving on this machine and prints the tables as a page of
# Markdown. The figures that are kept stand in docs/reference/performance.md.
#
#   scripts/measure.sh [ARCHIVE [SMALL_ARCHIVE]] > .cache/measurements.md
#   DURATION=5s scripts/measure.sh                 (a quick trial)
#
# ARCHIVE is a mongodump archive with 200,000 todos, SMALL_ARCHIVE one with 500;
# without them todos are made up. Starts what it needs on free ports, with its
# data in a temporary directory: redis-server, the aside of the last commit, and a
# server of MongoDB's protocol. Takes about 40 minutes, and wants the machine for
# itself: progress, and what to make of it, goes to standard error.
#
#   DURATION  of the tutorial's workload; other runs take 20s, or this if it is
#             less. In seconds, such as 60s (default).
#   ROUNDS    of the tutorial's workload; each is in the table (default 2).
#   PARTS     which of "embedded small_mongo large_mongo postgres" to measure
#             (default all).
#   TREE=1    measure the files as they are instead of the last commit.
#   MONGO     connection string of a MongoDB to measure; collection test.todos
#             (or that in the string) is loaded and left there. Default: mongod if
#             it is on PATH, else FerretDB on PostgreSQL if that is installed.
#   ASIDE_TEST_REDIS_SERVER  the redis-server to use.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

die() {
	echo "measure: $*" >&2
	exit 1
}
say() { echo "measure: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

absolute() { case $1 in /* | '') echo "$1" ;; *) echo "$OLDPWD/$1" ;; esac }
archive=$(absolute "${1:-}")
small=$(absolute "${2:-}")
for f in "$archive" "$small"; do
	[ -z "$f" ] || [ -r "$f" ] || die "cannot read $f"
done
seconds=${DURATION:-60s}
seconds=${seconds%s}
case $seconds in '' | *[!0-9]* | 0) die "DURATION must be whole seconds, such as 60s, is ${DURATION:-}" ;; esac
long=${seconds}s
short=$((seconds < 20 ? seconds : 20))s
first=$((seconds < 8 ? seconds : 8))s
rounds=${ROUNDS:-2}
case $rounds in '' | *[!0-9]* | 0) die "ROUNDS must be 1 or more, is $rounds" ;; esac
parts=${PARTS:-embedded small_mongo large_mongo postgres}
for part in $parts; do
	case $part in
	embedded | small_mongo | large_mongo | postgres) ;;
	*) die "PARTS holds embedded, small_mongo, large_mongo or postgres, not $part" ;;
	esac
done
users=100
ids=1-200000

redis_server=${ASIDE_TEST_REDIS_SERVER:-$(command -v redis-server || command -v valkey-server || true)}
[ -n "$redis_server" ] || die "redis-server is not on PATH; scripts/bootstrap.sh installs it"
have go || die "Go is not on PATH"

# Whatever is in the caller's environment must not change what is measured.
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep '^ASIDE_' || true)

. scripts/postgres.bash

tmp=$(mktemp -d)
redis= server= mongod= # process ids
failed=                # set once a request failed
stop() { # PID: asks it to end and waits; a process that does not is killed after 30 s
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null || true
	(
		for ((i = 0; i < 300; i++)); do
			kill -0 "$1" 2>/dev/null || exit 0
			sleep 0.1
		done
		kill -9 "$1" 2>/dev/null
	) &
	wait "$1" 2>/dev/null || true
}
cleanup() {
	trap - EXIT INT TERM HUP
	stop "$server"
	stop "$mongod"
	stop "$redis"
	stop_postgres
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the parts -------------------------------------------------------------

connects() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
	local port
	for _ in {1..100}; do
		port=$((20000 + RANDOM % 12000)) # below the ports that systems give to clients
		connects "$port" || { echo "$port" && return; }
	done
	die "found no free port"
}

# fresh_redis starts an empty one on $redis_port, in place of the last.
fresh_redis() {
	stop "$redis"
	redis=
	local reply
	for _ in {1..5}; do
		redis_port=$(free_port)
		"$redis_server" --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$tmp" >"$tmp/redis.log" 2>&1 &
		redis=$!
		for _ in {1..100}; do
			kill -0 "$redis" 2>/dev/null || break # the port was taken meanwhile
			reply=$({ exec 3<>"/dev/tcp/127.0.0.1/$redis_port" && printf 'PING\r\n' >&3 && IFS= read -r -t 2 line <&3 && echo "$line"; } 2>/dev/null || true)
			case $reply in +PONG*) return ;; esac
			sleep 0.05
		done
	done
	die "redis-server did not start: $(tail -n 3 "$tmp/redis.log")"
}

# serve FLAG... starts a server at $url, in place of the last.
serve() {
	stop_serving
	: >"$tmp/serve.log" # the new process may open it after the first look into it
	"$aside" serve --listen 127.0.0.1:0 --log-format json "$@" 2>"$tmp/serve.log" &
	server=$!
	for _ in {1..300}; do
		url=$(sed -n 's/.*"msg":"serving","url":"\([^"]*\)".*/\1/p' "$tmp/serve.log")
		[ -z "$url" ] || return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	die "aside serve $* did not start: $(tail -n 3 "$tmp/serve.log")"
}
stop_serving() {
	stop "$server"
	server=
}

# bench FLAG... leaves its report in $tmp/bench.json. Failed requests are in it.
bench() {
	local code=0
	"$aside" bench --url "$url/todos" --json "$@" >"$tmp/bench.json" 2>"$tmp/bench.log" || code=$?
	[ "$code" -le 1 ] && [ -s "$tmp/bench.json" ] || die "aside bench $* ended with $code: $(tail -n 3 "$tmp/bench.log")"
}

# field NAME : a figure of the report's first level, which is indented by two.
field() { sed -n "s/^  \"$1\": \([^,]*\),\{0,1\}\$/\1/p" "$tmp/bench.json"; }
tier() { # TIER NAME : the same of one tier's; nothing if that answered nothing
	awk -v t="    \"$1\": {" -v f="      \"$2\": " '
		$0 == t { in_tier = 1; next }
		in_tier && /^    }/ { exit }
		in_tier && index($0, f) == 1 { v = substr($0, length(f) + 1); sub(/,$/, "", v); print v; exit }' "$tmp/bench.json"
}
number() { awk -v v="$1" -v f="$2" 'BEGIN { if (v == "" || v == "null") print "-"; else printf f "\n", v }'; }

head_of_table() {
	echo
	echo '| run | requests/s | p50 ms | p99 ms | max ms | failures | hit ratio (L1, L2) | generator CPU | `aside serve` | `aside bench` |'
	echo '| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- | --- |'
}

# row NAME SERVE_FLAGS BENCH_FLAGS : runs the load and prints a line of the table.
row() {
	local name=$1 shown=$2
	shift 2
	say "$name ($*)"
	bench "$@"
	local ratio l1 l2
	ratio=$(number "$(field hit_ratio)" %.3f)
	l1=$(tier L1 share) l2=$(tier L2 share)
	l1=$(number "${l1:-0}" %.3f) l2=$(number "${l2:-0}" %.3f)
	rate=$(field requests_per_second)
	echo "| $name | $(number "$rate" %.0f) | $(number "$(field p50_ms)" %.3f) | $(number "$(field p99_ms)" %.3f) | $(number "$(field max_ms)" %.0f) | $(field failures) of $(field requests) | $ratio ($l1, $l2) | $(number "$(field generator_cpu_share)" %.2f) | \`$shown\` | \`$*\` |"
	if [ "$(field failures)" != 0 ]; then
		failed=1
		say "failures: $(tail -n 1 "$tmp/bench.log"): $(tr -d '\n' <"$tmp/bench.json" | sed -n 's/.*"failed": //p')"
	fi
}

# load NAME SHOWN FLAG... : loads and prints a line of the table.
load() {
	local name=$1 shown=$2 report TIMEFORMAT=%R
	shift 2
	say "load: $name"
	{ time "$aside" load "$@" >"$tmp/load.out" 2>"$tmp/load.log"; } 2>"$tmp/load.time" ||
		die "aside load $* failed: $(tail -n 3 "$tmp/load.out" "$tmp/load.log")"
	report=$(grep 'records processed in' "$tmp/load.out")
	echo "| $name | $(echo "$report" | sed 's/.*(\([0-9]*\)\/s).*/\1/') | $(cat "$tmp/load.time") | ${report#*: } | \`aside load $shown\` |"
}
head_of_loads() {
	echo
	echo '| load | records/s | whole process, s | outcome | command |'
	echo '| --- | ---: | ---: | --- | --- |'
}

redis_url() { echo "redis://127.0.0.1:$redis_port"; }
one() { echo --users 1 --ids "$1" --duration "$short"; }
hot() { echo --users "$users" --spawn-rate 0 --ids 1-1000 --duration "$short"; }
warm() { bench --users "$users" --spawn-rate 0 --ids "$1" --pick scan --duration 5m; }

# settle waits, but not for ever, until PostgreSQL has vacuumed what was loaded: a
# GIN index keeps what is new in a list until then, and every look-up reads all
# of it, which takes more than ten times as long as one in the index itself.
settle() {
	say "waiting for PostgreSQL to settle (two minutes at most)"
	serve --mongo "$uri" --no-cache
	for _ in {1..60}; do
		bench --users 1 --requests 20 --ids "$ids"
		awk -v ms="$(field p50_ms)" 'BEGIN { exit !(ms < 2) }' && break
		sleep 2
	done
	stop_serving
}

# starting FLAG... starts a server; sets $took to the milliseconds until its first
# answer with a record.
starting() {
	local port from line=''
	stop_serving
	port=$(free_port)
	from=$EPOCHREALTIME
	"$aside" serve --listen "127.0.0.1:$port" --log-format json "$@" 2>"$tmp/serve.log" &
	server=$!
	while :; do
		line=$({ exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET /todos/1 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 && IFS= read -r -t 2 line <&3 && echo "$line"; } 2>/dev/null || true)
		case $line in *" 200 "*) break ;; esac
		kill -0 "$server" 2>/dev/null || die "aside serve $* did not start: $(tail -n 3 "$tmp/serve.log")"
	done
	took=$(awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", (b - a) * 1000 }')
}

# tutorial NAME SETTINGS STORE_SHOWN STORE_FLAG... : the tutorial's workload on
# each setting of the cache, for its first seconds and for all of its time.
tutorial() {
	local name=$1
	shift
	cold "$name, the first $first" "$first" "$@"
	cold "$name" "$long" "$@"
}

# cold NAME DURATION SETTINGS STORE_SHOWN STORE_FLAG... : runs each setting on a
# fresh process and an empty Redis; every other round in reverse order, so that a
# machine that gets slower does so for all.
cold() {
	local name=$1 duration=$2 settings=$3 shown=$4 cache order reversed='' setting round
	shift 4
	: >"$tmp/rates"
	for setting in $settings; do reversed="$setting $reversed"; done
	head_of_table
	for ((round = 1; round <= rounds; round++)); do
		order=$settings
		[ $((round % 2)) -eq 1 ] || order=$reversed
		for setting in $order; do
			fresh_redis
			case $setting in
			no-cache) cache="--no-cache" ;;
			L1) cache="" ;;
			L1+L2) cache="--redis URL" ;;
			L2) cache="--redis URL --no-l1" ;;
			esac
			serve "$@" ${cache//URL/$(redis_url)}
			row "$name, $setting, round $round" "$shown${cache:+ $cache}" --users "$users" --spawn-rate "$users" --ids "$ids" --duration "$duration"
			echo "$setting $rate $(field p99_ms)" >>"$tmp/rates"
			stop_serving
		done
	done
	awk '{ if (!($1 in sum)) order[++n] = $1; sum[$1] += $2; p99[$1] += $3 } END {
		if (!sum["no-cache"]) exit
		printf "\nWith the cache, divided by without, over all rounds:"
		for (i = 1; i <= n; i++) if (order[i] != "no-cache") {
			printf "%s %s requests per second **%.2f**, p99 **%.2f**", sep, order[i], sum[order[i]] / sum["no-cache"], p99[order[i]] / p99["no-cache"]
			sep = ";"
		}
		print "." }' "$tmp/rates"
}

# --- the program -----------------------------------------------------------

say "building aside"
aside=$tmp/aside
if [ "${TREE:-}" != 1 ] && git rev-parse --verify -q HEAD >/dev/null 2>&1; then
	commit=$(git rev-parse --short=12 HEAD)
	mkdir "$tmp/src"
	git archive HEAD | tar -x -C "$tmp/src"
	(cd "$tmp/src" && go build -trimpath -buildvcs=false -o "$aside" ./cmd/aside)
else
	commit="$(git rev-parse --short=12 HEAD 2>/dev/null || echo none), with the files as they were"
	go build -trimpath -buildvcs=false -o "$aside" ./cmd/aside
fi

cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
[ -n "$cpu" ] || cpu=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || uname -m)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null || true)
load_average=$(uptime | sed 's/.*load average[s]*: *//')
command="scripts/measure.sh"
for f in "$archive" "$small"; do [ -z "$f" ] || command="$command $(basename "$f")"; done
[ -z "${ROUNDS:-}" ] || command="ROUNDS=$rounds $command"
[ -z "${DURATION:-}" ] || command="DURATION=$long $command"

cat <<END
# Measurements

Made by \`$command\`, which starts everything that it measures; do not edit. Run it on your own
machine: the ratios travel better than the figures.

| | |
| --- | --- |
| date | $(date -u '+%Y-%m-%d %H:%M UTC') |
| commit | $commit |
| processor | $cpu, $(getconf _NPROCESSORS_ONLN) of them |
| memory | ${memory:-unknown} |
| system | $(uname -sr) |
| Go | $(go env GOVERSION) |
| Redis | $("$redis_server" --version | sed 's/ sha=.*//') |
| load of the machine at the start | $load_average |

How to read it: Redis, the server and the load generator share the processors; "generator CPU" is the generator's share of
all of them, the loopback network's work for its side included. The load is a closed loop: $users users on connections that are
kept alive, each asking again as soon as it has its answer. So at full load p50 is about the number of users divided by the
requests per second, and a single request takes far less. Latencies and requests per second are those of successful requests.
The runs are made one after the other, each on a fresh process.
END

# --- the embedded store ----------------------------------------------------

embedded() {
	echo
	echo "## Loading the embedded store"
	head_of_loads
	data=$tmp/archive
	if [ -n "$archive" ]; then
		load "archive" "--archive $(basename "$archive") --data DIR" --archive "$archive" --data "$data"
		load "the same again" "--archive $(basename "$archive") --data DIR" --archive "$archive" --data "$data"
		load "made up" "--count 200000 --data DIR" --count 200000 --data "$tmp/count"
		rm -rf "$tmp/count"
	else
		load "made up" "--count 200000 --data DIR" --count 200000 --data "$data"
		load "the same again" "--count 200000 --data DIR" --count 200000 --data "$data"
	fi

	say "starting"
	fresh_redis
	times='' times_redis=''
	for _ in {1..5}; do
		starting --data "$data"
		times="$times $took"
		starting --data "$data" --redis "$(redis_url)"
		times_redis="$times_redis $took"
	done
	stop_serving
	echo
	echo "## Starting"
	echo
	echo "Milliseconds from the start of the process to its first answer with one of the 200,000 records, five times:"
	echo "\`aside serve --data DIR\`$times; with \`--redis URL\`$times_redis."

	echo
	echo "## A hit in L1, a hit in L2, a miss"
	echo
	echo "The embedded store with 200,000 records, and Redis. The 1,000 hot ids were all asked for once before; for the misses every"
	echo "id is asked for once at most, with nothing cached."
	head_of_table
	fresh_redis
	serve --data "$data" --redis "$(redis_url)"
	warm 1-1000
	row "hit in L1" "--data DIR --redis URL" $(hot)
	fresh_redis
	serve --data "$data" --redis "$(redis_url)" --no-l1
	warm 1-1000
	row "hit in L2" "--data DIR --redis URL --no-l1" $(hot)
	serve --data "$data" --no-cache
	warm 1-1000
	row "no cache, the same ids" "--data DIR --no-cache" $(hot)
	fresh_redis
	serve --data "$data" --redis "$(redis_url)"
	row "miss" "--data DIR --redis URL" --users "$users" --spawn-rate 0 --ids "$ids" --pick scan --duration "$long"
	serve --data "$data" --no-cache
	row "no cache, the same ids" "--data DIR --no-cache" --users "$users" --spawn-rate 0 --ids "$ids" --pick scan --duration "$long"
	stop_serving

	echo
	echo "One request at a time, so that the latencies are those of the parts and not of a queue:"
	head_of_table
	fresh_redis
	serve --data "$data" --redis "$(redis_url)"
	warm 1-1000
	row "hit in L1, alone" "--data DIR --redis URL" $(one 1-1000)
	serve --data "$data" --redis "$(redis_url)" --no-l1
	warm 1-1000
	row "hit in L2, alone" "--data DIR --redis URL --no-l1" $(one 1-1000)
	fresh_redis
	serve --data "$data" --redis "$(redis_url)"
	row "miss, alone" "--data DIR --redis URL" $(one "$ids") --pick scan
	serve --data "$data" --no-cache
	row "no cache, alone" "--data DIR --no-cache" $(one "$ids") --pick scan
	stop_serving

	echo
	echo "## The tutorial's workload on the embedded store"
	echo
	echo "$users users, begun at $users a second, ids uniform over $ids, everything cold, $long. In the order in which they were run. This"
	echo "is the worst case for a cache: a store in the same process that answers in microseconds, and ids that seldom come twice."
	echo "No cache can win there: a store in the process needs none."
	tutorial "embedded" "no-cache L1 L1+L2 L2" "--data DIR" --data "$data"
}

# --- MongoDB's protocol ----------------------------------------------------

small_mongo() {
	echo
	echo "## 500 records in FerretDB on SQLite"
	echo
	echo "A stand-in for MongoDB that needs nothing installed. It reads every document for a look-up by \`id\`, hence so few."
	mkdir -p .cache/bin
	say "building FerretDB"
	if (cd tools/ferretdb && GOWORK=off go build -trimpath -o "$root/.cache/bin/ferretdb" .) >&2; then
		"$root/.cache/bin/ferretdb" >"$tmp/ferretdb.out" 2>"$tmp/ferretdb.log" &
		mongod=$!
		uri=
		for _ in {1..300}; do
			uri=$(head -n 1 "$tmp/ferretdb.out")
			[ -z "$uri" ] || break
			kill -0 "$mongod" 2>/dev/null || die "FerretDB did not start: $(tail -n 3 "$tmp/ferretdb.log")"
			sleep 0.1
		done
		head_of_loads
		if [ -n "$small" ]; then
			load "archive" "--archive $(basename "$small") --mongo URI" --archive "$small" --mongo "$uri"
		else
			load "made up" "--count 500 --mongo URI" --count 500 --mongo "$uri"
		fi
		head_of_table
		fresh_redis
		serve --mongo "$uri" --redis "$(redis_url)"
		row "miss" "--mongo URI --redis URL" --users "$users" --spawn-rate 0 --ids 1-500 --pick scan --duration "$short"
		row "hit in L1" "--mongo URI --redis URL" --users "$users" --spawn-rate 0 --ids 1-500 --duration "$short"
		serve --mongo "$uri" --redis "$(redis_url)" --no-l1
		warm 1-500
		row "hit in L2" "--mongo URI --redis URL --no-l1" --users "$users" --spawn-rate 0 --ids 1-500 --duration "$short"
		serve --mongo "$uri" --no-cache
		row "no cache" "--mongo URI --no-cache" --users "$users" --spawn-rate 0 --ids 1-500 --duration "$short"
		stop_serving
		stop "$mongod"
		mongod=
	else
		echo
		echo "Left out: it could not be built."
	fi
}

# mongo_server starts one that can hold 200,000 records; sets $uri and $what.
mongo_server() {
	local port
	if [ -n "${MONGO:-}" ]; then
		uri=$MONGO what="MongoDB"
		return
	fi
	port=$(free_port)
	uri="mongodb://127.0.0.1:$port/?directConnection=true"
	if have mongod; then
		mkdir "$tmp/mongo"
		mongod --port "$port" --bind_ip 127.0.0.1 --dbpath "$tmp/mongo" >"$tmp/mongo.log" 2>&1 &
		mongod=$! what="$(mongod --version | head -n 1)"
	else
		what="FerretDB on PostgreSQL"
		scripts/ferretdb-postgres.sh "$port" >"$tmp/mongo.log" 2>&1 &
		mongod=$!
	fi
	for _ in {1..1200}; do # FerretDB may have to be built
		if connects "$port"; then return; fi
		kill -0 "$mongod" 2>/dev/null || break
		sleep 0.1
	done
	stop "$mongod"
	mongod=
	return 1
}

# load_large STORE_SHOWN STORE_FLAG... : loads 200,000 records into a database server.
load_large() {
	local shown=$1
	shift
	if [ -n "$archive" ]; then
		load "archive" "--archive $(basename "$archive") $shown" --archive "$archive" "$@"
	else
		load "made up" "--count 200000 $shown" --count 200000 "$@"
	fi
}

# rows NAME STORE_SHOWN STORE_FLAG... : the rows of a database server.
rows() {
	local name=$1 shown=$2
	shift 2
	head_of_table
	fresh_redis
	serve "$@" --redis "$(redis_url)"
	row "miss, alone" "$shown --redis URL" $(one "$ids") --pick scan
	serve "$@" --no-cache
	row "no cache, alone" "$shown --no-cache" $(one "$ids") --pick scan
	fresh_redis
	serve "$@" --redis "$(redis_url)"
	row "miss" "$shown --redis URL" --users "$users" --spawn-rate 0 --ids "$ids" --pick scan --duration "$short"
	serve "$@" --redis "$(redis_url)"
	warm 1-1000
	row "hit in L1" "$shown --redis URL" $(hot)
	serve "$@" --no-cache
	row "no cache, the same ids" "$shown --no-cache" $(hot)
	stop_serving
	echo
	echo "The tutorial's workload: $users users, begun at $users a second, ids uniform over $ids, everything cold."
	tutorial "$name" "no-cache L1+L2 L2" "$shown" "$@"
}

large_mongo() {
	echo
	if mongo_server; then
		echo "## 200,000 records in $what"
		case $what in FerretDB*)
			echo
			echo "\`scripts/ferretdb-postgres.sh\` runs it, and makes an index that serves a look-up by \`id\`."
			;;
		esac
		head_of_loads
		load_large "--mongo URI" --mongo "$uri"
		local store=(--mongo "$uri") shown="--mongo URI"
		case $what in FerretDB*)
			for _ in {1..600}; do
				grep -q 'made the index' "$tmp/mongo.log" && break
				sleep 0.1
			done
			grep -q 'made the index' "$tmp/mongo.log" || die "there is no index on id: $(tail -n 3 "$tmp/mongo.log")"
			settle
			store+=(--no-bulk-loads) shown+=" --no-bulk-loads"
			;;
		esac
		rows "$what" "$shown" "${store[@]}"
	else
		echo "## 200,000 records in a MongoDB"
		echo
		echo "Left out: there is no mongod on PATH, no \`MONGO\` in the environment, and FerretDB on PostgreSQL did not start."
		say "no MongoDB: $(tail -n 2 "$tmp/mongo.log" 2>/dev/null)"
	fi
}

# --- PostgreSQL ------------------------------------------------------------

postgres() {
	echo
	if ! start_postgres todo wal_level=logical 2>"$tmp/postgres.log"; then
		echo "## 200,000 records in PostgreSQL"
		echo
		echo "Left out: $(cat "$tmp/postgres.log")."
		return
	fi
	local url="postgres://todo@/postgres?host=$pg_dir"
	echo "## 200,000 records in PostgreSQL $("$pg_bin/postgres" --version | sed 's/.*) //; s/ .*//')"
	head_of_loads
	load_large "--postgres URL" --postgres "$url"
	rows "PostgreSQL" "--postgres URL" --postgres "$url"
}

for part in $parts; do "$part"; done
[ -z "$failed" ] || die "requests failed; the table says in which runs"
say "done"
