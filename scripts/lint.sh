#!/usr/bin/env bash
# Checks everything that can be checked without running the program. Changes
# nothing but what `go generate` does. RACE=1 has it build for the race detector what the
# tests with RACE=1 need so too.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

say() { echo "== $*"; }

say "tools, pinned in tools/go.mod and tools/actionlint/go.mod"
mkdir -p .cache/bin
(export GOWORK=off && cd tools && go build -o "$root/.cache/bin/" tool ./composecheck ./modproxy)
(export GOWORK=off && cd tools/actionlint && go build -o "$root/.cache/bin/" tool)

say "gofmt"
unformatted=$(gofmt -l $(scripts/gofiles.sh))
if [ -n "$unformatted" ]; then
	echo "not formatted, run gofmt -w on:"
	echo "$unformatted"
	exit 1
fi

for mod in $(scripts/modules.sh); do
	[ "$mod" != ./tools/alertmanager ] || continue # as in test.sh
	say "$mod: go mod tidy, go vet, staticcheck"
	scripts/alone.sh "$mod" mod tidy -diff
	race=
	case $mod in ./tools* | ./bench | ./cmd/aside) ;; *) race=${RACE:+-race} ;; esac # as in test.sh
	GOFLAGS="${GOFLAGS:-} $race" scripts/alone.sh "$mod" vet ./...
	(
		cd "$mod"
		case $mod in ./cmd/aside) ;; *) export GOWORK=off ;; esac # it takes no -modfile, which alone.sh needs there
		GOFLAGS="${GOFLAGS:-} $race" "$root/.cache/bin/staticcheck" ./...
	)
done

say "go generate changes nothing"
# Compared with the state before, not with the last commit, so that it can be
# run before one.
state() { git status --porcelain && git diff; }
before=$(state)
for dir in $(go list -m -f '{{.Dir}}'); do (cd "$dir" && go generate ./...); done # of go.work
if [ "$before" != "$(state)" ]; then
	git status --short
	echo "generated files are out of date: run go generate ./... and commit what it changes"
	exit 1
fi

say "compose.yaml"
.cache/bin/composecheck compose.yaml

say "shell scripts: bash -n"
for script in .ci/run $(find scripts findings -name '*.sh'); do bash -n "$script"; done

say "workflows: actionlint"
.cache/bin/actionlint -shellcheck= -pyflakes=

say "govulncheck"
# 3 means that it found something; anything else is a failure to look, as where
# the network does not reach the database.
status=0
.cache/bin/govulncheck ./... ./asideprom/... ./asideotel/... ./mongofeed/... ./pgfeed/... ./redisl2/... ./cmd/aside/... || status=$?
case $status in
0) ;;
3) exit 1 ;;
*) echo "govulncheck could not look (exit status $status); going on without it" ;;
esac
