#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles daemon/, or another CMake project of the repository, for this machine.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/compile.sh [--sources SOURCES] DIRECTORY TARGET[,TARGET]... [CMAKE-OPTION...]

Compiles these targets of daemon/, or SOURCES, in DIRECTORY, such as build/host, and says how far it
is. Only what changed is compiled, and what the compiler's cache has is taken from there. DIRECTORY
is made anew if it was made with other options or for other sources, as after the clone was moved or
copied.

Exit status: 0 ok; 2 usage; 24 the compilation failed, messages above.
USAGE
}

sources=daemon
if [ "${1:-}" = --sources ] && [ $# -ge 2 ]; then
    sources=$2
    shift 2
fi
case $#:${1:-} in
*:-h | *:--help) usage; exit 0 ;;
[01]:*) usage >&2; exit 2 ;;
esac
directory=$1
IFS=, read -ra targets <<<"$2"
shift 2
cd -- "$repo"
compiler_cache "$repo"

configuration=$(printf '%s\n' "$repo" "$sources" "$@")
if [ "$(cat -- "$directory/.configuration" 2>/dev/null)" != "$configuration" ]; then
    say compile "configuring $directory"
    rm -rf -- "$directory"
    cmake --log-level=WARNING -S "$sources" -B "$directory" -G Ninja \
        -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@" >/dev/null || die 24 compile "cmake failed"
    printf '%s\n' "$configuration" >"$directory/.configuration"
fi

# Ninja's lines as progress lines, not more than one in ten seconds; all else as it is.
show() {
    local line next=$((SECONDS + 10)) done=0
    while IFS= read -r line; do
        if [[ $line =~ ^\[([0-9]+)/([0-9]+)\]\ (.*) ]]; then
            done=${BASH_REMATCH[1]}
            [ "$SECONDS" -ge "$next" ] || continue
            next=$((SECONDS + 10))
            say compile "$directory: $done of ${BASH_REMATCH[2]}"
        elif [[ $line != ninja:\ * ]]; then
            printf '%s\n' "$line" >&2
        fi
    done
    if [ "$done" -gt 0 ]; then
        say compile "$directory: $done steps in $SECONDS s"
    else
        say compile "$directory: nothing to do"
    fi
}

SECONDS=0
NINJA_STATUS='[%f/%t] ' ninja -C "$directory" "${targets[@]}" 2>&1 | show ||
    die 24 compile "$directory: the compilation failed, messages above"
