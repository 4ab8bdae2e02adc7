#!/usr/bin/env bash
# What:  go.mongodb.org/mongo-driver v2.10.0, one FindOne with a deadline, and a server that
#        answers with ExceededTimeLimit (262), an error after which a read may be sent again.
# Guess: the driver sends the command twice, or several times with growing pauses.
# Seen:  2026-11-28: without a deadline it sends two. With one it sends the command again at
#        once, without a pause, until the deadline: 993 times in 1s on a busy machine. No
#        option of the client limits that.
# Here:  cmd/aside/internal/mongostore turns the driver's retries of reads off, and sends a
#        read three times at most, with pauses.
set -euo pipefail
cd "$(dirname "$0")/lib"
lib=$PWD
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" --disable-pip-version-check install -q pymongo==4.15.3 || {
	echo "not run: pymongo cannot be installed from PyPI"
	exit 75
}
mkdir "$tmp/client"
cd "$tmp/client"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func main() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:" + os.Args[1] + "/?directConnection=true"))
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if os.Args[2] != "none" {
		deadline, _ := time.ParseDuration(os.Args[2])
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	fmt.Fprintln(os.Stderr, client.Database("d").Collection("c").FindOne(ctx, bson.D{}).Err())
}
GO
export GOWORK=off GOFLAGS=-mod=mod
{ go mod init client && go mod edit -require=go.mongodb.org/mongo-driver/v2@v2.10.0 && go build -o client .; } >log 2>&1 || {
	echo "not run: the driver cannot be built: $(tail -n 1 log)"
	exit 75
}

# finds DEADLINE : how many commands one FindOne sends.
finds() {
	coproc "$tmp/venv/bin/python" -B "$lib/mongo.py" 262 ExceededTimeLimit
	server=$COPROC_PID
	local port count in=${COPROC[1]} out=${COPROC[0]}
	read -r port <&"$out"
	./client "$port" "$1" 2>log || true
	exec {in}>&-
	read -r count <&"$out"
	echo "$count"
}
# expect WHAT HAVE LEAST MOST
expect() {
	echo "$1: $2 commands"
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		echo "CHANGED: $1"
		exit 1
	fi
}
expect "one FindOne without a deadline" "$(finds none)" 2 2
expect "one FindOne with a deadline of 1s" "$(finds 1s)" 100 1000000
