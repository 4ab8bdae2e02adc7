#!/bin/sh
# Fetches the two files of swagger-ui that the documentation page needs from the
# npm package swagger-ui-dist, checks it, and packs them reproducibly.
# To change the version: set both lines, run it, look at the page, commit.
set -eu
version=5.35.0
sha512=534eaba4cb56f55dd73c638179a993512af4674f63317e0826e00da44fc465b021c341bc0a0c2bcd4e18997927fe1d3008336c5dd19aad334d1c2dec53cc9551
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && npm pack --silent "swagger-ui-dist@$version" >/dev/null)
echo "$sha512  $tmp/swagger-ui-dist-$version.tgz" | sha512sum --check --quiet
tar -xzf "$tmp/swagger-ui-dist-$version.tgz" -C "$tmp"
for f in swagger-ui-bundle.js swagger-ui.css; do
	# The map files are not shipped: the reference would answer 404.
	sed '/^\/\/# sourceMappingURL=/d; s/\/\*# sourceMappingURL=.*\*\///' "$tmp/package/$f" | gzip -9n >"$f.gz"
done
cp "$tmp/package/LICENSE" swagger-ui.LICENSE
cp "$tmp/package/NOTICE" swagger-ui.NOTICE
cp "$tmp/package/swagger-ui-bundle.js.LICENSE.txt" swagger-ui-bundle.js.LICENSE.txt
