#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles a CMake project of the repository in the Debian 13 tree.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/compile-in-tree.sh STEP SOURCES OBJECTS PLACE

Compiles the CMake project in SOURCES, a directory of the repository, with the compiler and libraries
of the Debian 13 tree, and says what it does as STEP. The project has to leave its results in
FAMFS_BIN_DIR, which is PLACE. Only what changed is compiled; objects are in OBJECTS, all of them
relative to the repository. Remove that directory to compile all.

Exit status: 0 ok; 2 usage; 22 there is no tree; 24 the compilation failed, messages above.
USAGE
}

case $#:${1:-} in
*:-h | *:--help) usage; exit 0 ;;
4:[!-]*) ;;
*) usage >&2; exit 2 ;;
esac
step=$1 sources=$2 objects=$repo/$3 place=$repo/$4
[ -f "$repo/$sources/CMakeLists.txt" ] || die 2 "$step" "$sources/CMakeLists.txt is not there"
[ -d "$repo/build/tree/root" ] || die 22 "$step" "there is no Debian 13 tree; make it with setup/tree.sh"

mkdir -p -- "$objects" "$place"
exec 9>"$objects/.lock"
lock_or_wait 9 "$step" "another run is compiling; waiting for it"

# Objects of another tree may be linked with libraries that are not where the result runs.
tree=$(readlink -f -- "$repo/build/tree")
# CMake's files have absolute names: after the clone was moved or copied they lead elsewhere.
source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$objects/CMakeCache.txt" 2>/dev/null) || true
if [ "$(cat "$objects/.tree" 2>/dev/null)" != "$tree $place" ] || [ ! "$source" -ef "$repo/$sources" ]; then
    say "$step" "configuring for the tree ${tree##*/}"
    find "$objects" -mindepth 1 ! -name .lock -delete
    "$repo/setup/in-tree" -- cmake --no-warn-unused-cli -G Ninja -S "$repo/$sources" -B "$objects" \
        -DBUILD_TESTING=OFF -DFAMFS_BIN_DIR="$place" >&2 || die 24 "$step" "cmake failed"
    echo "$tree $place" >"$objects/.tree"
fi
say "$step" "compiling $sources/"
"$repo/setup/in-tree" -- ninja -C "$objects" >&2 || die 24 "$step" "the compilation failed"
say "$step" "done"
