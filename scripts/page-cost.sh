#!/usr/bin/env bash
# Measures what open pages cost: requests per second of aside serve while ten pages are
# open, by those while none is, round after round.
#
#   scripts/page-cost.sh            12 rounds of 10 seconds for each, 4 minutes
#   scripts/page-cost.sh 3 5        3 rounds of 5 seconds
#   PAGES=0 scripts/page-cost.sh    the same work twice: how much the figure varies by itself
#
# A page is a connection that takes the events. Wants the machine for itself, and curl.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-12} seconds=${2:-10} pages=${PAGES:-10}

tmp=$(mktemp -d)
server= open=()
cleanup() {
	[ ${#open[@]} -eq 0 ] || kill "${open[@]}" 2>/dev/null || true
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	wait
	rm -rf "$tmp"
}
trap cleanup EXIT

: >"$tmp/log"
go build -o "$tmp/aside" ./cmd/aside
"$tmp/aside" load --count 1000 --data "$tmp/data" >/dev/null 2>&1
"$tmp/aside" serve --listen 127.0.0.1:0 --data "$tmp/data" --log-format json 2>"$tmp/log" &
server=$!
url=
for _ in {1..100}; do
	url=$(sed -n 's/.*"msg":"serving","url":"\([^"]*\)".*/\1/p' "$tmp/log")
	[ -z "$url" ] || break
	sleep 0.1
done
[ -n "$url" ] || { echo "page-cost: aside serve did not start: $(tail -n 3 "$tmp/log")" >&2 && exit 1; }

rate() {
	"$tmp/aside" bench --url "$url/todos" --users 50 --spawn-rate 0 --ids 1-1000 --duration "${seconds}s" --json >"$tmp/bench.json" 2>"$tmp/bench.log"
	sed -n 's/^  "requests_per_second": \([^,]*\),*$/\1/p' "$tmp/bench.json"
}
with() {
	local i
	open=()
	for ((i = 0; i < pages; i++)); do
		curl -sN "$url/page/events" >"$tmp/events.$i" &
		open+=($!)
	done
	rate
	for ((i = 0; i < pages; i++)); do
		[ -s "$tmp/events.$i" ] || { echo "page-cost: a page got no events" >&2 && exit 1; }
	done
	[ ${#open[@]} -eq 0 ] || kill "${open[@]}"
}

rate >/dev/null # to get warm
for ((round = 1; round <= rounds; round++)); do
	if [ $((round % 2)) -eq 1 ]; then
		none=$(rate) some=$(with)
	else
		some=$(with) none=$(rate)
	fi
	awk -v n="$none" -v s="$some" -v p="$pages" 'BEGIN { printf "none %.0f/s, %d pages %.0f/s, ratio %.3f\n", n, p, s, s / n }'
done | tee "$tmp/ratios"
sed 's/.*ratio //' "$tmp/ratios" | sort -n | awk '{ v[NR] = $1 } END { printf "median %.3f, range %.3f to %.3f\n", v[int((NR + 1) / 2)], v[1], v[NR] }'
