#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes build/kernel, the kernel that guests boot.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"
here=$repo/kernel-config

usage() {
    cat <<'USAGE'
usage: kernel-config/build.sh

Makes build/kernel: vmlinux, bzImage, System.map, config and build.log. Environment:

  (nothing)             Linux 7.3 of the Debian 13 tree with the patches of kernel-config/patches
                        and the configuration of kernel-config/fragments, kept in the cache
  KERNEL_FLAVOR=NAME    other fragments, as build/kernel-NAME; kernel-config/flavors lists the names
  KERNEL_SRC=DIR        your own source tree instead, as it is now. DIR is only read, it may have
                        been built in and may be read-only. If it has a .config, that is kept and
                        the fragments are laid on top, else the fragments alone decide. Patches
                        are not applied. The next run compiles only what changed.
  KERNEL=FILE           a finished vmlinux or bzImage: nothing is built, it is used as it is

Exit status: 0 ok, 2 usage, 22 no Debian 13 tree, 23 a patch does not apply, 24 the kernel cannot
have what a fragment asks for, 25 it does not configure or compile.
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
[ $# -eq 0 ] || { usage >&2; exit 2; }

flavor=${KERNEL_FLAVOR:-default}
link=$repo/build/kernel
[ "$flavor" = default ] || link+=-$flavor
fragments=()
flavors=()
while read -r name words; do
    case $name in '' | '#'*) continue ;; esac
    flavors+=("$name")
    [ "$name" != "$flavor" ] || read -ra fragments <<<"$words"
done <"$here/flavors"
[ ${#fragments[@]} -gt 0 ] || die 2 kernel "KERNEL_FLAVOR=$flavor: there is ${flavors[*]}"

fragment_files() {
    printf "$here/fragments/%s.config\n" "$@"
}

# Writes what make says to the log. Steps are counted, warnings and errors are shown at once.
follow() {
    local line steps=0 next=$((SECONDS + 30))
    while IFS= read -r line; do
        printf '%s\n' "$line" >&3
        case $line in
        '  '[A-Z]*)
            steps=$((steps + 1))
            if [ "$SECONDS" -ge "$next" ]; then
                next=$((SECONDS + 30))
                say kernel "step $steps:${line:0:70}"
            fi
            ;;
        make* | '#'* | Merging* | Value* | Previous* | New* | '' | Using* | Kernel:*) ;;
        *) printf '%s\n' "$line" >&2 ;;
        esac
    done 3>>"$1"
}

# The version of an installed package of the tree.
tree_version() {
    awk -v package="$1" '$1 == "Package:" { name = $2 }
        $1 == "Version:" && name == package { print name, $2 }' \
        "$repo/build/tree/root/var/lib/dpkg/status"
}

# What a patched source depends on.
packaged_source() {
    tree_version linux-source-7.3
    tree_version gcc-14
    tree_version binutils
    cat -- "$here/patches/series"
    find "$here/patches" -name '*.patch' -exec cat -- {} +
}

# Source and objects stay in build/kernel-objects: make compiles for another flavour, or after a
# change of a fragment, only what its options concern. Those of the debug flavour concern all.
build_packaged() {
    local dir=$1 tarball kept=$repo/build/kernel-objects key lock out=out
    shift
    tarball=$(readlink -f -- "$repo/build/tree/root/usr/src/linux-source-7.3.tar.xz")
    key=$(packaged_source | cache_key)
    mkdir -p -- "$kept"
    exec {lock}>"$kept/lock"
    lock_or_wait "$lock" kernel "another run uses build/kernel-objects; waiting"
    if [ "$(cat -- "$kept/key" 2>/dev/null)" != "$key" ]; then
        rm -rf -- "$kept"/{source,out,out-debug}
        printf '%s\n' "$key" >"$kept/key"
    fi
    [[ " ${fragments[*]} " != *" debug "* ]] || out='out-debug'
    mkdir -p -- "$kept/source" "$kept/$out"
    "$repo/setup/in-tree" --bind "$kept/source:/usr/src/linux" --bind "$kept/$out:/usr/src/out" -- \
        "$here/packaged.sh" "$tarball" "$dir" "$@" 2>&1 | follow "$FAMLAB_LOG"
    exec {lock}>&-
    cp -- "$FAMLAB_LOG" "$dir/build.log"
}

make_packaged() {
    local key frags
    mapfile -t frags < <(fragment_files tiny "${fragments[@]}")
    key=$({
        packaged_source
        # A comment changes nothing.
        grep -hv '^ *#' -- "${frags[@]}" "$here/compile.sh" "$here/packaged.sh"
    } | cache_key)
    cache_get kernel "$key" "$link" build_packaged "${frags[@]}"
}

# A kernel tree that was ever built in, or only configured, refuses to be built elsewhere. So the
# sources are copied (what changed, that is) without build results: those of the list, and what the
# .gitignore files say. The top directory's own entries are settled before its .gitignore is read:
# Debian's ignores them all.
copy_source() {
    "$repo/setup/in-tree" --ro "$1:/usr/src/original" --bind "$2:/usr/src/copy" -- \
        rsync -a --no-owner --no-group --delete --include=/kernel/time/timeconst.bc --exclude-from=/dev/stdin \
        --include='/*' --filter=':- .gitignore' /usr/src/original/ /usr/src/copy/ <<'BUILD_RESULTS'
/.*
/vmlinux*
/System.map
/modules.*
/include/config/
/include/generated/
/arch/*/include/generated/
*.cmd
*.o
*.a
*.ko
*.mod
*.mod.c
*.order
*.symvers
.tmp_*
BUILD_RESULTS
}

# Drops the fragments whose options only our patches define, if SOURCE does not have them.
drop_unknown() {
    local source=$1 name known=()
    ! grep -qs '^config FUSE_DAX_FMAP$' "$source/fs/fuse/Kconfig" || return 0
    for name in "${fragments[@]}"; do
        case $name in famfs | kunit) ;; *) known+=("$name") ;; esac
    done
    [ ${#known[@]} -lt ${#fragments[@]} ] || return 0
    say kernel "it has none of our mapping methods (no FUSE_DAX_FMAP in fs/fuse/Kconfig), so" \
        "famfs.config is left out and files will be served by the daemon"
    fragments=("${known[@]}")
}

make_from_source() {
    local source=$1 work=$repo/build/kernel-src frags config=- lock
    local dir=$work/$flavor
    if ! { [ -f "$source/Kbuild" ] && [ -f "$source/scripts/kconfig/merge_config.sh" ]; }; then
        die 2 kernel "KERNEL_SRC=$source is not a Linux source tree (no Kbuild, no" \
            "scripts/kconfig/merge_config.sh)"
    fi
    mkdir -p -- "$work"
    exec {lock}>"$work/lock"
    lock_or_wait "$lock" kernel "another run uses build/kernel-src; waiting"
    if [ "$(cat -- "$work/origin" 2>/dev/null)" != "$source" ]; then
        rm -rf -- "$work/copy" "${flavors[@]/#/"$work/"}"
        printf '%s\n' "$source" >"$work/origin"
    fi
    mkdir -p -- "$work/copy" "$dir/out"
    say kernel "reading $source"
    drop_unknown "$source"
    copy_source "$source" "$work/copy" || die 25 kernel "$source cannot be copied (above)"
    if [ -f "$source/.config" ]; then
        cp -- "$source/.config" "$dir/config.yours"
        config=$dir/config.yours
        mapfile -t frags < <(fragment_files "${fragments[@]}")
        say kernel "compiling it with its own .config and the fragments ${fragments[*]}"
    else
        mapfile -t frags < <(fragment_files tiny "${fragments[@]}")
        say kernel "compiling it; it has no .config, so the fragments tiny ${fragments[*]} decide"
    fi
    : >"$dir/build.log"
    # The copy is mounted where the original is, so that messages and symbols name the original.
    "$repo/setup/in-tree" --ro "$work/copy:$source" -- \
        "$here/compile.sh" "$source" "$dir/out" "$config" "${frags[@]}" 2>&1 |
        follow "$dir/build.log" ||
        die "${PIPESTATUS[0]}" kernel "failed; the whole log is ${dir#"$repo/"}/build.log"
    ln -sfn out/vmlinux "$dir/vmlinux"
    ln -sfn out/System.map "$dir/System.map"
    ln -sfn out/arch/x86/boot/bzImage "$dir/bzImage"
    ln -sfn out/.config "$dir/config"
    cache_link "$dir" "$link"
    say kernel "done, $(cat -- "$dir/out/include/config/kernel.release")"
}

if [ -n "${KERNEL:-}" ]; then
    { [ -f "$KERNEL" ] && [ -r "$KERNEL" ]; } || die 2 kernel "KERNEL=$KERNEL: no such readable file"
    say kernel "using $KERNEL as it is"
    exit 0
fi
[ -d "$repo/build/tree/root" ] || die 22 kernel "build/tree is missing; make it with: make tree"
if [ -n "${KERNEL_SRC:-}" ]; then
    [ -d "$KERNEL_SRC" ] || die 2 kernel "KERNEL_SRC=$KERNEL_SRC: no such directory"
    make_from_source "$(readlink -f -- "$KERNEL_SRC")"
else
    make_packaged
fi
