#!/usr/bin/env bash
# Installs or builds what the tests need besides Go: redis-server, PostgreSQL,
# Chromium, spin and a C compiler (for the model, and for Go's race detector) from the
# system's packages, Prometheus and promtool (taken out of the system's package into
# .cache/bin), and a server that speaks MongoDB's protocol (FerretDB, built into
# .cache/bin) unless there is one. Does nothing where all is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "bootstrap: $*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

apt_updated=
apt=()
# apt_ready : false if this system or this user cannot install packages.
apt_ready() {
	have apt-get || return 1
	local as=()
	if [ "$(id -u)" -ne 0 ]; then
		if ! have sudo || ! sudo -n true 2>/dev/null; then return 1; fi
		as=(sudo -n)
	fi
	apt=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
	if [ -z "$apt_updated" ]; then
		"${apt[@]}" update
		apt_updated=1
	fi
}

# apt_install PACKAGE... : false if this system or this user cannot.
apt_install() {
	apt_ready || return 1
	echo "bootstrap: installing $*"
	"${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

have go || die "Go is not on PATH: see https://go.dev/doc/install"

if [ -z "${ASIDE_TEST_REDIS_SERVER:-}" ] && ! have redis-server && ! have valkey-server; then
	apt_install redis-server || die "redis-server 7 or newer is not on PATH, and this script cannot install it here.
  Debian, Ubuntu:  sudo apt-get install redis-server
  Fedora:          sudo dnf install valkey
  macOS:           brew install redis
or set ASIDE_TEST_REDIS_SERVER to the path of a redis-server or valkey-server."
fi

have_postgres() {
	local dir
	for dir in "${ASIDE_TEST_POSTGRES_BIN:-}" /usr/lib/postgresql/*/bin; do
		if [ -n "$dir" ] && [ -x "$dir/initdb" ]; then return 0; fi
	done
	have postgres && have initdb
}

# no_main_cluster: the package makes and starts no server. The tests start their own.
no_main_cluster() {
	local as=() conf=/etc/postgresql-common/createcluster.conf
	if [ "$(id -u)" -ne 0 ]; then as=(sudo -n); fi
	"${as[@]}" sh -c "mkdir -p ${conf%/*} && echo 'create_main_cluster = false' >>$conf"
}

if ! have_postgres; then
	# The file is there after the first package; the second one reads it.
	{ apt_install postgresql-common && no_main_cluster && apt_install postgresql; } ||
		die "PostgreSQL 15 or newer is not there, and this script cannot install it here.
  Debian, Ubuntu:  sudo apt-get install postgresql
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql
or set ASIDE_TEST_POSTGRES_BIN to the directory of initdb and postgres."
fi

if ! have chromium && ! have chromium-browser && ! have google-chrome && ! have google-chrome-stable; then
	apt_install chromium || die "no Chromium on PATH for the test of the documentation page, and this script cannot install it here.
  Debian:   sudo apt-get install chromium
  Fedora:   sudo dnf install chromium
  Others:   put chromium or google-chrome on PATH"
fi

if ! have spin || ! have gcc; then
	apt_install spin gcc libc6-dev || die "spin and gcc, which check the model in tests/model, are not on PATH, and this script cannot install them here.
  Debian, Ubuntu:  sudo apt-get install spin gcc
  macOS:           brew install spin
  Others:          https://spinroot.com"
fi

# take_prometheus : the two programs out of the package. Installing it would start a
# service.
take_prometheus() {
	apt_ready || return 1
	echo "bootstrap: taking Prometheus out of its package, into .cache/bin"
	local dir name
	dir=$(mktemp -d) || return 1
	mkdir -p .cache/bin
	# No chain of && outside of a condition: errexit does not hold in here.
	if (cd "$dir" && apt-get -qq download prometheus 2>/dev/null && dpkg-deb -x prometheus_*.deb .); then
		for name in prometheus promtool; do
			# Renamed at once: another run may look for it now.
			cp "$dir/usr/bin/$name" ".cache/bin/.$name.$$" && mv ".cache/bin/.$name.$$" ".cache/bin/$name" || return 1
		done
	fi
	rm -rf "$dir"
	[ -x .cache/bin/prometheus ] && [ -x .cache/bin/promtool ]
}

if ! { [ -x .cache/bin/prometheus ] && [ -x .cache/bin/promtool ]; } && ! { have prometheus && have promtool; }; then
	take_prometheus || die "prometheus and promtool 2.42 or newer, which check the alerts, are not on PATH, and this script cannot get them here.
  Debian, Ubuntu:  sudo apt-get install prometheus
  macOS:           brew install prometheus
  Others:          https://prometheus.io/download/"
fi

if [ -z "${ASIDE_TEST_MONGODB_URI:-}" ] && [ -z "${ASIDE_TEST_FERRETDB:-}" ] && ! have mongod; then
	[ -x .cache/bin/ferretdb ] || echo "bootstrap: building FerretDB, once (about a minute on two cores)"
	mkdir -p .cache/bin
	(cd tools/ferretdb && GOWORK=off go build -trimpath -o ../../.cache/bin/ferretdb .)
fi
