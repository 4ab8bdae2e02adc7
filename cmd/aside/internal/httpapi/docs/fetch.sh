#!/bin/sh
# Downloads swagger-ui from npm and compresses the two files that the documentation page
# needs. The result is reproducible.
# To change the version: set version and sha512, run this script, look at the page, commit.
set -eu
version=5.35.0
sha512=534eaba4cb56f55dd73c638179a993512af4674f63317e0826e00da44fc465b021c341bc0a0c2bcd4e18997927fe1d3008336c5dd19aad334d1c2dec53cc9551
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
../../fetch-npm.sh swagger-ui-dist "$version" "$sha512" "$tmp"
for f in swagger-ui-bundle.js swagger-ui.css; do
	# Remove the references to source maps: these files are not served.
	sed '/^\/\/# sourceMappingURL=/d; s/\/\*# sourceMappingURL=.*\*\///' "$tmp/package/$f" | gzip -9n >"$f.gz"
done
cp "$tmp/package/LICENSE" swagger-ui.LICENSE
cp "$tmp/package/NOTICE" swagger-ui.NOTICE
cp "$tmp/package/swagger-ui-bundle.js.LICENSE.txt" swagger-ui-bundle.js.LICENSE.txt
