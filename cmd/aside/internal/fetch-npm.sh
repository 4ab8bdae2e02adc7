#!/bin/sh
# Downloads a package from npm, checks its SHA-512 and unpacks it into DIR/package.
#
#   fetch-npm.sh NAME VERSION SHA512 DIR
set -eu
name=$1 version=$2 sha512=$3 dir=$4
cd "$dir"
npm pack --silent "$name@$version" >/dev/null
echo "$sha512  $name-$version.tgz" | sha512sum --check --quiet
tar -xzf "$name-$version.tgz"
