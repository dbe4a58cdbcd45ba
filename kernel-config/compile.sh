#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Configures and compiles a kernel; runs inside the Debian 13 tree, started by build.sh.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: kernel-config/compile.sh SOURCE OUT CONFIG FRAGMENT...

Compiles the kernel in SOURCE, which must hold no build results and may be read-only, into the
directory OUT. Its configuration is the file CONFIG with the FRAGMENTs on top; if CONFIG is "-",
everything that no FRAGMENT asks for is off. What OUT has from an earlier run is used again.

Exit status: 0 ok, 2 usage, 24 the kernel cannot have what a fragment asks for, 25 it does not
configure or compile.
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 4 ]; then
    usage >&2
    exit 2
fi
source=$1 out=$2 config=$3
shift 3
here=$(dirname -- "$(readlink -f -- "$0")")

# Not the names of whoever and whatever compiles it.
export KBUILD_BUILD_USER=famlab KBUILD_BUILD_HOST=famlab KBUILD_BUILD_VERSION=1

mkdir -p -- "$out/merged"
make=(make --no-print-directory -C "$source" O="$out")
if [ "$config" = - ]; then
    "$source/scripts/kconfig/merge_config.sh" -m -O "$out/merged" "$@"
    cp -- "$out/merged/.config" "$out/.config.new"
    "${make[@]}" KCONFIG_CONFIG="$out/.config.new" \
        KCONFIG_ALLCONFIG="$out/merged/.config" allnoconfig || exit 25
else
    "$source/scripts/kconfig/merge_config.sh" -m -O "$out/merged" "$config" "$@"
    cp -- "$out/merged/.config" "$out/.config.new"
    "${make[@]}" KCONFIG_CONFIG="$out/.config.new" olddefconfig || exit 25
fi
"$here/check.sh" "$out/.config.new" "$@" || exit 24

# A new time stamp on an unchanged configuration would only cost a pass over it.
cmp -s -- "$out/.config.new" "$out/.config" || cp -- "$out/.config.new" "$out/.config"

"${make[@]}" -j"$(nproc)" vmlinux bzImage || exit 25
