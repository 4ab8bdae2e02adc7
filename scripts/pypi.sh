# For the checks that use a tool from PyPI, to be sourced by scripts/NAME.sh: what they
# share. The tool is listed in scripts/NAME/requirements.txt and put into .cache/NAME.
check=$(basename "$0" .sh)
cache=$PWD/.cache/$check

# not_run WORDS : ends with 75, which says that nothing was checked.
not_run() {
	echo "$check: NOT RUN: $*" >&2
	exit 75
}

# install TOOL [ARGUMENTS OF PIP...] : puts the tool into $cache/venv, unless it is there.
install() {
	local tool=$1 wanted=scripts/$check/requirements.txt
	shift
	if cmp -s "$wanted" "$cache/installed.txt"; then return; fi
	command -v python3 >/dev/null || not_run "there is no python3"
	rm -rf "$cache"
	mkdir -p "$cache"
	python3 -m venv "$cache/venv" >"$cache/log" 2>&1 || not_run "python3 cannot make a virtual environment (on Debian: apt-get install python3-venv)"
	timeout 300 "$cache/venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@" --requirement "$wanted" >"$cache/log" 2>&1 ||
		not_run "$tool cannot be installed from PyPI; the reason is in $cache/log"
	cp "$wanted" "$cache/installed.txt"
}

# start ARGUMENTS... : starts $tmp/aside with them, logs to $tmp/server.log, and sets server to
# its process and url to where it serves.
server=
start() {
	"$tmp/aside" "$@" --listen 127.0.0.1:0 --log-format json >"$tmp/server.out" 2>"$tmp/server.log" &
	server=$!
	url=
	for _ in {1..300}; do
		url=$(sed -n 's/.*"msg":"serving","url":"\([^"]*\)".*/\1/p' "$tmp/server.log")
		[ -z "$url" ] || return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	echo "$check: aside $1 did not start:" >&2
	cat "$tmp/server.log" >&2
	exit 1
}

# finish ends the server and removes $tmp.
finish() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$tmp"
}
