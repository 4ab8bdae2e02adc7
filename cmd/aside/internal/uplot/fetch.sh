#!/bin/sh
# Downloads uPlot, which draws the charts of the pages, from npm.
# To change the version: set version and sha512, run this script, look at a report and at the page, commit.
set -eu
version=1.6.32
sha512=2883159c6ebccefbb95d751b0b82d010f9e1c0ec41b8bc96d401eda66e882935c89a46cb824332fa369b8cb8122cc6ac36e186cd09bf7a9ded3a4c93c6989023
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
../fetch-npm.sh uplot "$version" "$sha512" "$tmp"
cp "$tmp/package/dist/uPlot.iife.min.js" uplot.min.js
cp "$tmp/package/dist/uPlot.min.css" uplot.min.css
cp "$tmp/package/LICENSE" LICENSE
