#!/bin/sh
# Installs what the tests use and is not there yet (Debian, Ubuntu). Run as root, or with sudo at hand.
set -eu

packages="gcc libc6-dev make binutils elfutils gdb musl-tools strace busybox-static git perl python3 sqlite3 redis-server redis-tools linux-perf tcc luajit"

missing=""
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "test/setup.sh: everything is there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "test/setup.sh: no apt-get here; install by hand:$missing" >&2
  exit 1
fi

root=""
[ "$(id -u)" = 0 ] || root="sudo"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update
# Word splitting is meant: one argument a package.
# shellcheck disable=SC2086
$root apt-get install -y --no-install-recommends $missing
