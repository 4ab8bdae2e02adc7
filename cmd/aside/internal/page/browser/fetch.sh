#!/bin/sh
# Downloads axe-core, which finds faults of accessibility, from npm. It is data of the tests
# and in no binary. Its licence is MPL-2.0.
# To change the version: set version and sha512, run this script, run the tests, commit.
set -eu
version=4.14.1
sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
cd "$(dirname "$0")/testdata"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
../../../fetch-npm.sh axe-core "$version" "$sha512" "$tmp"
gzip -9n <"$tmp/package/axe.min.js" >axe.min.js.gz
cp "$tmp/package/LICENSE" axe.LICENSE
