#!/usr/bin/env bash
# Holds the files of `aside bench --csv` against locust itself: the expected files of
# the tests are made again by locust's own writer, and locust and aside bench load the same
# server. This also runs docs/guide/load-testing/locustfile.py. It takes less than a minute.
#
# It needs python3 with venv, and PyPI the first time. Where it has not got them
# it says so and ends with 75; nothing was checked then. locust is put into
# .cache/locust-check.
#
#   scripts/locust-check.sh             checks
#   scripts/locust-check.sh --rewrite   makes the expected files of the tests
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/pypi.sh

here=$PWD/scripts/locust-check
python=$cache/venv/bin/python
install locust

tmp=$(mktemp -d)
trap finish EXIT

# The same requests, written by locust's own code.
expected=$PWD/cmd/aside/internal/bench/report/testdata/locust
if [ "${1:-}" = --rewrite ]; then
	"$python" "$here/replay.py" "$expected/requests.csv" "$expected"
	exit
fi
mkdir "$tmp/replay"
"$python" "$here/replay.py" "$expected/requests.csv" "$tmp/replay"
for file in stats stats_history failures exceptions; do
	cmp "$tmp/replay/replay_$file.csv" "$expected/replay_$file.csv" || {
		echo "locust-check: locust writes another _$file.csv than the tests expect (--rewrite makes them again)" >&2
		exit 1
	}
done

# The same server, with a few failures.
go build -o "$tmp/aside" ./cmd/aside
start demo --count 300 --data "$tmp/data"
run_locust() { # LOCUSTFILE PREFIX
	(cd "$tmp" && timeout 60 "$cache/venv/bin/locust" -f "$1" --headless --host "$url" --users 5 --spawn-rate 5 \
		--run-time 8s --csv "$tmp/$2" --only-summary) >"$tmp/$2.log" 2>&1
}
run_locust "$PWD/docs/guide/load-testing/locustfile.py" locust || {
	echo "locust-check: the locustfile of the guide failed:" >&2
	tail -n 30 "$tmp/locust.log" >&2
	exit 1
}
if [ "$(wc -l <"$tmp/locust_failures.csv")" != 1 ]; then
	echo "locust-check: requests of the locustfile failed:" >&2
	cat "$tmp/locust_failures.csv" >&2
	exit 1
fi
sed 's|return "/todos/" + |return "/nowhere/" + |' "$PWD/docs/guide/load-testing/locustfile.py" >"$tmp/failing.py"
run_locust "$tmp/failing.py" failing || true # 1: requests failed
"$tmp/aside" bench --url "$url/todos" --users 5 --duration 4s --ids 1-301 --update 5% --create 5% --delete 5% \
	--max-error-ratio 5% --csv "$tmp/aside" >"$tmp/bench.out"
# The first needs rows of failures too: those of the failing run.
cp "$tmp/failing_failures.csv" "$tmp/locust_failures.csv"
"$python" "$here/compare.py" "$tmp/aside" "$tmp/locust" "$tmp/failing"
echo "locust-check: aside bench and $("$cache/venv/bin/locust" --version | cut -d' ' -f1,2) write the same files"
