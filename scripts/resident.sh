#!/usr/bin/env bash
# Runs a service under load and shows how much memory it takes: a service that
# leaks takes more at the end than after the first minutes.
#
#   scripts/resident.sh            ten minutes
#   DURATION=60s scripts/resident.sh
#
# 200,000 made-up todos in the embedded store, both tiers, 50 users that read
# (Zipf 0.99) and change 10 %, create 2 % and delete 2 %. Exits with 1 if the last
# third takes a tenth more than the second.
set -euo pipefail
cd "$(dirname "$0")/.."

duration=${DURATION:-600s}
seconds=${duration%s}
case $seconds in '' | *[!0-9]*) echo "resident: DURATION must be whole seconds, such as 60s, is $duration" >&2 && exit 2 ;; esac
redis_server=${ASIDE_TEST_REDIS_SERVER:-$(command -v redis-server || command -v valkey-server)}
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep '^ASIDE_' || true)

tmp=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$tmp"' EXIT
go build -trimpath -o "$tmp/aside" ./cmd/aside
"$tmp/aside" load --count 200000 --seed 1 --data "$tmp/data" >/dev/null 2>&1

socket=$tmp/redis.sock
"$redis_server" --port 0 --unixsocket "$socket" --save '' --dir "$tmp" --maxmemory 1gb >"$tmp/redis.log" 2>&1 &
pids+=($!)
for _ in {1..100}; do [ -S "$socket" ] && break || sleep 0.05; done
"$tmp/aside" serve --listen 127.0.0.1:0 --data "$tmp/data" --redis "unix://$socket" --log-format json 2>"$tmp/serve.log" &
server=$!
pids+=("$server")
url=
for _ in {1..300}; do
	url=$(sed -n 's/.*"msg":"serving","url":"\([^"]*\)".*/\1/p' "$tmp/serve.log")
	[ -z "$url" ] || break
	kill -0 "$server" 2>/dev/null || { cat "$tmp/serve.log" >&2 && exit 1; }
	sleep 0.1
done

"$tmp/aside" bench --url "$url/todos" --users 50 --duration "${seconds}s" --pick zipf --zipf-exponent 0.99 \
	--update 10% --create 2% --delete 2% --json >"$tmp/bench.json" 2>"$tmp/bench.log" &
load=$!
pids+=("$load")
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }
echo '| seconds | resident, MiB |'
echo '| ---: | ---: |'
begin=$SECONDS
while kill -0 "$load" 2>/dev/null; do
	sleep 5
	now=$((SECONDS - begin))
	kb=$(resident)
	echo "$now $kb" >>"$tmp/samples"
	[ $((now % (seconds / 10 + 1))) -ge 5 ] || echo "| $now | $((kb / 1024)) |"
done
wait "$load" || { cat "$tmp/bench.log" >&2 && exit 1; }
sed -n 's/^  "requests": \([0-9]*\),/\n\1 requests/p' "$tmp/bench.json"
awk -v all="$seconds" '
	$1 > all / 3 && $1 <= 2 * all / 3 { second += $2; n++ }
	$1 > 2 * all / 3 && $1 <= all { last += $2; m++ }
	END {
		if (!n || !m) { print "resident: too few samples"; exit 1 }
		printf "mean of the second third %.0f MiB, of the last %.0f MiB: %.3f\n", second / n / 1024, last / m / 1024, (last / m) / (second / n)
		exit (last / m) / (second / n) > 1.1
	}' "$tmp/samples"
