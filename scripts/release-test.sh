#!/usr/bin/env bash
# Tests scripts/release.sh: releases the files as they are now, under v0.0.0-test, in a
# repository of its own in a temporary directory. Then it does what a user does: installs
# the command from the tags, and loads cmd/aside alone with the go.sum of the release.
# Seen to fail: checksums of other files than the tagged ones; one tag left out; cmd/aside
# with a replace directive; a check of the script left out, each in turn.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD base=github.com/asidecache/aside version=v0.0.0-test

fail() {
	echo "release-test: $*" >&2
	exit 1
}

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
mkdir "$tmp/work"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	[ ! -e "$f" ] || printf '%s\0' "$f"
done | tar --null -T - -cf - | tar -C "$tmp/work" -xf -
git init -q --bare -b main "$tmp/origin.git"
cd "$tmp/work"
git init -q -b main
git config user.name test
git config user.email test@aside.invalid
git config core.hooksPath /dev/null
git remote add origin "$tmp/origin.git"
git add -A
git commit -q -m "all files"

# refused WORDS ARGS... : the script refuses, says so, and changes nothing.
refused() {
	local words=$1 out before
	shift
	before=$(git rev-parse HEAD; git tag; git status --porcelain)
	if out=$(scripts/release.sh "$@" 2>&1); then fail "release.sh $* did not refuse: $out"; fi
	grep -qF -- "$words" <<<"$out" || fail "release.sh $* does not say \"$words\": $out"
	[ "$before" = "$(git rev-parse HEAD; git tag; git status --porcelain)" ] || fail "release.sh $* refused, and changed something"
}
refused 'usage' --ci-passed
refused 'must look like' --ci-passed 0.1.0
refused 'must look like' --ci-passed v2.0.0
refused 'there is no --pish' --pish "$version"
refused 'CHANGELOG.md has no part' --ci-passed "$version"
sed -i '0,/^## Unreleased$/s//&\n\n## 0.0.0-test - 2001-02-03\n\n- The notes of the test.\n/' CHANGELOG.md
refused 'not committed' --ci-passed "$version"
git commit -q -a -m "changelog"
refused 'run .ci/run' "$version"
mkdir -p .cache
git rev-parse HEAD~1 >.cache/ci-passed
refused 'run .ci/run' "$version"
git rev-parse HEAD >.cache/ci-passed
git switch -q -c other
refused 'releases are made on main' "$version"
git switch -q main
git tag "redisl2/$version"
refused "the tag redisl2/$version exists" "$version"
git tag -d "redisl2/$version" >/dev/null

before=$(git rev-parse HEAD)
out=$(scripts/release.sh --dry-run "$version")
grep -qF 'The notes of the test.' <<<"$out" || fail "a dry run does not show the notes: $out"
[ "$before" = "$(git rev-parse HEAD)" ] && [ -z "$(git tag)" ] && [ -z "$(git status --porcelain)" ] || fail "a dry run changed something"

scripts/release.sh "$version" >/dev/null
[ -z "$(git -C "$tmp/origin.git" tag)" ] || fail "it pushed without --push"
git tag -d $(git tag) >/dev/null
git reset -q --hard "$before"
scripts/release.sh --push "$version" >/dev/null
[ "$(git log -1 --format=%s origin/main)" = "release: $version" ] || fail "main was not pushed"
want=$(printf '%s\n' "asideotel/$version" "asideprom/$version" "cmd/aside/$version" "mongofeed/$version" "pgfeed/$version" "redisl2/$version" "tests/$version" "$version")
[ "$(git -C "$tmp/origin.git" tag)" = "$want" ] || fail "tags: $(git -C "$tmp/origin.git" tag)"
if grep -rE "$base(/[a-z0-9]+)* v[0-9]" --include=go.mod --include=go.work . | grep -v "$version"; then fail "these requirements have another version"; fi
[ -z "$(git status --porcelain)" ] || fail "the release left changes: $(git status --porcelain)"

# A user, whose go command gets our modules from the tags in Git.
export GOWORK=off GOTOOLCHAIN=local GOFLAGS=-trimpath GOPRIVATE="$base,$base/*"
GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
export GOPROXY GOMODCACHE=$tmp/mod GOBIN=$tmp/bin
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$tmp/origin.git.insteadOf" GIT_CONFIG_VALUE_0=https://$base
(cd "$tmp" && go install "$base/cmd/aside@$version" 2>"$tmp/log") || fail "go install $base/cmd/aside@$version: $(cat "$tmp/log")"
[ "$("$tmp/bin/aside" version | head -n 1)" = "aside $version" ] || fail "the installed command says it is $("$tmp/bin/aside" version)"
# go.sum must have every line, and the go command compares each with what it fetches.
(cd cmd/aside && go list -deps -mod=readonly . >/dev/null 2>"$tmp/log") || fail "cmd/aside alone: $(cat "$tmp/log")"
# What lint asks of cmd/aside holds after a release too.
(unset GOPRIVATE && scripts/alone.sh ./cmd/aside mod tidy -diff 2>"$tmp/log") || fail "go.sum of cmd/aside is not tidy after a release: $(cat "$tmp/log")"
echo "release-test: $version was released, installed and built ($(git -C "$root" rev-parse --short HEAD) and changes)"
