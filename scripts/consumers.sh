#!/usr/bin/env bash
# Measures what a program gets that uses this library: modules, megabytes fetched,
# and which versions of its own dependencies it must raise. Each program starts with
# empty caches and gets aside from a module proxy made of the files as they are now.
# Fails where a bound is exceeded.
#
#   scripts/consumers.sh              prints a Markdown table
#
# It needs the Go module proxy and takes a minute or two.
set -euo pipefail
cd "$(dirname "$0")/.."
base=github.com/asidecache/aside
# The version that the modules require of each other.
version=$(sed -n "s#^.*$base \(v[^ ]*\)\$#\1#p" redisl2/go.mod)

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
(cd tools && GOWORK=off go build -o "$tmp/" ./modproxy)
"$tmp/modproxy" "$tmp/proxy" "$version" . ./asideprom ./asideotel ./mongofeed ./pgfeed ./redisl2

upstream=$(go env GOPROXY) local=$(go env GOMODCACHE)/cache/download
export GOPROXY="file://$tmp/proxy,$upstream" GONOSUMDB=$base,$base/* GOWORK=off GOFLAGS= GOTOOLCHAIN=local

failed= may_move=
# consumer NAME MODULES MEGABYTES IMPORTS... : a new program with these imports, and
# what it may cost.
consumer() {
	local name=$1 modules=$2 megabytes=$3
	shift 3
	local dir=$tmp/$RANDOM
	mkdir -p "$dir/app" && cd "$dir/app"
	export GOMODCACHE=$dir/mod
	go mod init example.com/app 2>/dev/null
	{
		echo "package main"
		printf 'import _ "%s"\n' "$@"
		echo "func main() {}"
	} >main.go
	go get "${@/%/@$version}" 2>/dev/null && go mod tidy 2>/dev/null && go list -deps . >/dev/null
	local have bytes mb binary
	have=$(go list -m all | wc -l)
	bytes=$(find "$GOMODCACHE/cache/download" -name '*.zip' -printf '%s\n' | awk '{s += $1} END {print s}')
	mb=$(awk "BEGIN {printf \"%.1f\", $bytes / 1e6}")
	moved=$(moved "$@")
	echo "| $name | $have | $mb | ${moved:-none} |"
	if [ "$have" -gt "$modules" ] || awk "BEGIN {exit !($mb > $megabytes)}" || [ "$moved" != "$may_move" ]; then
		echo "consumers: $name: want at most $modules modules and $megabytes MB, and moved: ${may_move:-none}" >&2
		failed=1
	fi
	cd - >/dev/null
}

# moved IMPORTS... : the dependencies of an existing program that go get raises.
moved() {
	mkdir -p ../old && cd ../old
	# What is fetched here is not measured, so it may come from this machine.
	local GOPROXY="file://$tmp/proxy,file://$local,$upstream"
	go mod init example.com/old 2>/dev/null
	local own=(github.com/prometheus/client_golang@v1.20.5 go.mongodb.org/mongo-driver/v2@v2.1.0 github.com/rs/zerolog@v1.30.0
		golang.org/x/crypto@v0.33.0 github.com/redis/go-redis/v9@v9.7.0)
	cat >main.go <<-'EOF'
		package main

		import (
			_ "github.com/prometheus/client_golang/prometheus"
			_ "github.com/redis/go-redis/v9"
			_ "github.com/rs/zerolog"
			_ "go.mongodb.org/mongo-driver/v2/mongo"
			_ "golang.org/x/crypto/chacha20poly1305"
		)

		func main() {}
	EOF
	go get "${own[@]}" 2>/dev/null && go mod tidy 2>/dev/null
	local before after
	before=$(go list -m -f '{{.Path}} {{.Version}}' $(printf '%s\n' "${own[@]%@*}"))
	go get "${@/%/@$version}" 2>/dev/null
	after=$(go list -m -f '{{.Path}} {{.Version}}' $(printf '%s\n' "${own[@]%@*}"))
	{ diff <(echo "$before") <(echo "$after") || true; } | sed -n 's/^> //p' | paste -sd, -
}

echo "| program that uses | modules in \`go list -m all\` | MB fetched | own drivers moved |"
echo "| --- | ---: | ---: | --- |"
consumer "the library" 13 2 $base
consumer "the library and redisl2" 20 15 $base $base/redisl2
consumer "the library and asideotel" 30 10 $base $base/asideotel
consumer "the library and pgfeed" 30 11 $base $base/pgfeed
# A program that follows MongoDB has its driver already, which is nearly all of this.
may_move="go.mongodb.org/mongo-driver/v2 v2.10.0,golang.org/x/crypto v0.54.0"
consumer "the library and mongofeed" 30 60 $base $base/mongofeed

[ -z "$failed" ]
