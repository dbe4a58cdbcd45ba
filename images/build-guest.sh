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
[ -f "$repo/$sources/CMakeLists.txt" ] || die 2 guest "$sources/CMakeLists.txt is not there"
[ -d "$repo/build/tree/root" ] || die 22 guest "there is no Debian 13 tree; make it with setup/tree.sh"

objects=$repo/build/guest-objects
[ "$folder" = bin ] || objects+=-$folder
bin=$repo/build/guest/$folder
mkdir -p -- "$objects" "$bin"
exec 9>"$objects/.lock"
if ! flock -n 9; then
    say guest "another run is compiling; waiting for it"
    flock 9
fi

# Objects of another tree may be linked with libraries that are not in the guest.
tree=$(readlink -f -- "$repo/build/tree")
# CMake's files have absolute names: after the clone was moved or copied they lead elsewhere.
source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$objects/CMakeCache.txt" 2>/dev/null) || true
if [ "$(cat "$objects/.tree" 2>/dev/null)" != "$tree" ] || [ ! "$source" -ef "$repo/$sources" ]; then
    say guest "configuring for the tree ${tree##*/}"
    find "$objects" -mindepth 1 ! -name .lock -delete
    "$repo/setup/in-tree" -- cmake --no-warn-unused-cli -G Ninja -S "$repo/$sources" -B "$objects" \
        -DBUILD_TESTING=OFF -DFAMFS_BIN_DIR="$bin" >&2 || die 24 guest "cmake failed"
    echo "$tree" >"$objects/.tree"
fi
say guest "compiling $sources/"
"$repo/setup/in-tree" -- ninja -C "$objects" >&2 || die 24 guest "the compilation failed"
say guest "done"
