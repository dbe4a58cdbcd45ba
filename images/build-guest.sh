#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles programs for the guests: daemon/ into build/guest/bin.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: images/build-guest.sh [SOURCES FOLDER]

Compiles daemon/ with the compiler and libraries of the Debian 13 tree and leaves the programs in
build/guest/bin. Guests see build/guest as /opt/famlab, and its bin comes first in their PATH: a
new build is there at once, without a new image and without a restart.

A build is a directory of its own in build/guest/builds; build/guest/bin leads to the newest, which
is the only one that is kept.

With SOURCES, the CMake project in that directory of the repository instead, and its programs are
left in build/guest/FOLDER. It has to place them in FAMFS_BIN_DIR, as daemon/ does.

Only what changed is compiled. Objects are in build/guest-objects or
build/guest-objects-FOLDER; remove it to compile all.

Exit status: 0 ok; 2 usage; 22 there is no tree; 24 the compilation failed, messages above.
USAGE
}

case $#:${1:-} in
*:-h | *:--help) usage; exit 0 ;;
0:) sources=daemon folder=bin ;;
2:[!-]*) sources=$1 folder=$2 ;;
*) usage >&2; exit 2 ;;
esac
objects=build/guest-objects
[ "$folder" = bin ] || objects+=-$folder
"$repo/setup/compile-in-tree.sh" guest "$sources" "$objects" "$objects/programs"

# Guests keep programs in memory by their names: a name never gets other contents.
cd -- "$repo/build"
mkdir -p -- guest/builds
exec 9>guest/builds/.lock
lock_or_wait 9 guest "another run is placing programs; waiting for it"
compiled=../$objects/programs
build=builds/$folder-$(cd -- "$compiled" && sha256sum -- * | sha256sum | cut -c1-16)
if [ ! -d "guest/$build" ]; then
    rm -rf -- guest/builds/.new
    # Links: a linker writes a new file.
    cp -a --link -- "$compiled" guest/builds/.new
    mv -T -- guest/builds/.new "guest/$build"
fi
[ -L "guest/$folder" ] || rm -rf -- "guest/$folder"
ln -sfnT -- "$build" "guest/$folder"
find guest/builds -mindepth 1 -maxdepth 1 -name "$folder-*" ! -path "guest/$build" \
    -exec rm -rf -- {} +
