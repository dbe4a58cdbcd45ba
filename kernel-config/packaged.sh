#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Unpacks, patches and compiles the packaged kernel; runs inside the Debian 13 tree, started by
# build.sh.
set -euo pipefail

here=$(dirname -- "$(readlink -f -- "$0")")
# shellcheck source=setup/cache.sh
. "$here/../setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: kernel-config/packaged.sh TARBALL RESULT FRAGMENT...

Makes vmlinux, bzImage, System.map and config in the directory RESULT from the kernel source
TARBALL, the patches of kernel-config/patches/series and the FRAGMENTs. The source is in
/usr/src/linux, without what no fragment can need, and is unpacked if it is not whole there; what
/usr/src/out has from an earlier run is used again.

Exit status: as compile.sh, and 23 if a patch does not apply.
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 3 ]; then
    usage >&2
    exit 2
fi
tarball=$1 result=$2
shift 2
source=/usr/src/linux out=/usr/src/out

# More than half of the source: other processors, graphics, sound. Kconfig and make files stay.
readonly unneeded=(--exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]'
    --exclude='*/sound/*.[ch]' --exclude='*/arch/[!x]*/*.[chS]' --exclude='*/arch/[!x]*/*.dts*'
    --exclude='*/Documentation/[!f]*/*.rst' --exclude='*/Documentation/*.yaml')

apply_patches() {
    local name strip output
    while read -r name strip _; do
        case $name in '' | '#'*) continue ;; esac
        say kernel "patch $name"
        output=$(patch --fuzz=0 --batch --forward "${strip:--p1}" -d "$source" \
            <"$here/patches/$name" 2>&1) || {
            say kernel "the patch $name of kernel-config/patches/series does not apply to" \
                "$(basename -- "$tarball"); it needs a new base. patch says:"
            printf '%s\n' "$output" | sed 's/^/    /' >&2
            exit 23
        }
    done <"$here/patches/series"
}

if [ ! -e "$source/.patched" ]; then
    say kernel "unpacking ${tarball##*/}"
    find "$source" "$out" -mindepth 1 -delete
    tar -xf "$tarball" -C "$source" --strip-components=1 "${unneeded[@]}"
    apply_patches
    touch "$source/.patched"
fi
"$here/compile.sh" "$source" "$out" - "$@"
cp -- "$out/vmlinux" "$out/System.map" "$out/arch/x86/boot/bzImage" "$result/"
cp -- "$out/.config" "$result/config"
