# fetch MODULE VERSION : downloads one module into $tmp and sets $zip to its archive.
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
fetch() {
	local json
	json=$(cd "$tmp" && GOWORK=off GOFLAGS= GOMODCACHE=$tmp/mod go mod download -json "$1@$2") || {
		echo "not run: $1@$2 cannot be fetched from the module proxy"
		exit 75
	}
	zip=$(sed -n 's/^.*"Zip": "\(.*\)".*$/\1/p' <<<"$json")
}

# expect WHAT HAVE LEAST MOST : prints a size in bytes, and ends with 1 if it is another.
expect() {
	echo "$1: $2 bytes"
	if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		echo "CHANGED: $1"
		exit 1
	fi
}

# packed PATTERN : bytes of $zip that files take whose names match.
packed() { python3 -c 'import re, sys, zipfile
print(sum(f.compress_size for f in zipfile.ZipFile(sys.argv[1]).infolist() if re.search(sys.argv[2], f.filename)))' "$zip" "$1"; }
