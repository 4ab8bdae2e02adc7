#!/usr/bin/env bash
# Releases the modules of this repository under one version.
#
#   scripts/release.sh --dry-run v0.2.0   does all of it in a temporary clone, and shows it
#   scripts/release.sh v0.2.0             makes the commit and the tags; pushes nothing
#   scripts/release.sh --push v0.2.0      pushes main and the tags too, all or none of them
#
# Before: write the version's part of CHANGELOG.md, commit it on main, run .ci/run on that
# commit. Where CI ran elsewhere and you saw it pass, add --ci-passed.
#
# The modules require each other, so it writes the new version into their go.mod files and
# into go.work, and tags that commit: VERSION for the library, DIRECTORY/VERSION for the
# others. All but cmd/aside have a replace directive, which has no effect on
# those who import them. cmd/aside may have none (`go install PACKAGE@VERSION` would refuse
# it), so its go.sum needs the checksums of the others before they can be downloaded.
# They depend on the files alone, and tools/modproxy makes them from the files that are
# tagged. scripts/release-test.sh checks that the go command finds the same.
set -euo pipefail
cd "$(dirname "$0")/.."
base=github.com/asidecache/aside
nested=(redisl2 asideprom asideotel mongofeed pgfeed tests cmd/aside)

die() {
	echo "release: $*" >&2
	exit 1
}

dry= push= ci= version=
for arg; do
	case $arg in
	--dry-run) dry=1 ;;
	--push) push=1 ;;
	--ci-passed) ci=1 ;;
	-*) die "there is no $arg; see the head of scripts/release.sh" ;;
	*)
		[ -z "$version" ] || die "give one version, not $version and $arg"
		version=$arg
		;;
	esac
done
[ -n "$version" ] || die "usage: scripts/release.sh [--dry-run] [--push] [--ci-passed] VERSION"
[[ $version =~ ^v[01]\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || die "the version must look like v0.2.0 or v0.2.0-rc.1, is $version (v2 and later need other module paths)"
tags=("$version" "${nested[@]/%//$version}")

branch=$(git symbolic-ref --short -q HEAD || true)
[ "$branch" = main ] || die "releases are made on main, this is ${branch:-no branch}"
[ -z "$(git status --porcelain)" ] || die "there are changes that are not committed: $(git status --porcelain | head -n 3 | tr '\n' ' ')"
for tag in "${tags[@]}"; do
	if git rev-parse -q --verify "refs/tags/$tag" >/dev/null; then die "the tag $tag exists; a released version is never changed, take the next one"; fi
done
notes=$(scripts/release-notes.sh "$version") || exit 1
if [ -z "$ci" ] && [ "$(cat .cache/ci-passed 2>/dev/null)" != "$(git rev-parse HEAD)" ]; then
	die "CI has not passed here for this commit: run .ci/run, or give --ci-passed if you saw it pass elsewhere"
fi

if [ -n "$dry" ]; then
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	git clone -q --no-hardlinks . "$tmp/clone"
	for key in user.name user.email; do git -C "$tmp/clone" config "$key" "$(git config "$key" || echo release)"; done
	"$tmp/clone/scripts/release.sh" --ci-passed "$version" >/dev/null
	git -C "$tmp/clone" --no-pager show --stat --format='commit: %s' HEAD
	git -C "$tmp/clone" --no-pager diff HEAD~1 HEAD
	echo "tags: ${tags[*]}"
	printf 'notes:\n%s\n' "$notes"
	echo "release: this was a dry run, nothing was changed"
	exit
fi

proxy=$(mktemp -d)
undo() {
	rm -rf "$proxy"
	git restore --staged --worktree .
}
trap undo EXIT

files=(go.work)
for mod in $(scripts/modules.sh); do files+=("$mod/go.mod"); done
sed -E -i.before "s#($base(/[a-z0-9]+)*) v[0-9][^ ]*#\1 $version#" "${files[@]}"
rm -f "${files[@]/%/.before}"
about=cmd/aside/version.go
sed -E -i.before "s#^(const lastRelease = ).*#\1\"$version\"#" $about
rm $about.before

(cd tools && GOWORK=off go build -o "$proxy/" ./modproxy)
sums=$("$proxy/modproxy" -sums "$proxy/proxy" "$version" . ./redisl2 ./mongofeed ./pgfeed ./asideprom ./asideotel ./tests | LC_ALL=C sort)
sum=cmd/aside/go.sum
LC_ALL=C awk -v sums="$sums" -v base="$base" '
	$1 == base || index($1, base "/") == 1 { next }
	!done && $1 > base { print sums; done = 1 }
	{ print }
	END { if (!done) print sums }' "$sum" >"$proxy/go.sum"
cp "$proxy/go.sum" "$sum"

git add go.work "$sum" "$about" $(git ls-files '*go.mod')
git commit -q -m "release: $version" -m "The modules require each other in this version." || die "git commit failed"
trap 'rm -rf "$proxy"' EXIT
for tag in "${tags[@]}"; do git tag -a -m "$tag" "$tag"; done
echo "release: tagged $(git rev-parse --short HEAD): ${tags[*]}"

command=(git push --atomic origin main "${tags[@]}")
if [ -z "$push" ]; then
	echo "release: nothing is pushed. When you are sure:"
	echo "  ${command[*]}"
	exit
fi
"${command[@]}"
echo "release: pushed. Look at it from outside:"
echo "  go install $base/cmd/aside@$version && aside version"
