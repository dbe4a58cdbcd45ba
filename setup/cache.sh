#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Library, to be sourced: the cache of long-lived build results, and the progress lines of every
# script that fills it.
#
# An entry is a directory $FAMLAB_CACHE/KIND/KEY. KEY is the hash of everything that determines
# the contents, so an entry never changes and never has to be compared with anything. It is built
# in $FAMLAB_CACHE/tmp and moved into place by one rename(2): an entry that is there is complete.
#
#   say AREA TEXT...                 progress line with the time since the first script started
#   die CODE AREA TEXT...            the same, then exit CODE
#   cache_key <what-determines-it    prints the key of the bytes on standard input
#   cache_get KIND KEY LINK BUILDER [ARG...]
#                                    makes LINK a symlink to the entry; if there is none, calls
#                                    BUILDER DIR [ARG...] to fill DIR (log to $FAMLAB_LOG)
#   compiler_cache REPOSITORY        what ccache needs to find again what another clone compiled
#   lock_or_wait DESCRIPTOR AREA TEXT
#                                    flock(2)s it; says TEXT if it has to wait for another run
#   first_failure "${PIPESTATUS[@]}" exits with the first status that is not 0
#
# Two runs may want the same entry at once: one builds, the other says so and waits. A run that is
# killed leaves nothing but a directory in tmp, which the next run removes. The lock, held by
# flock(2), decides who is alive: process ids mean nothing between containers that share a cache.

# Without links and relative parts: it is mounted under this name in the tree, and links lead there.
FAMLAB_CACHE=$(realpath -m -- "${FAMLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/famlab}")
FAMLAB_START=${FAMLAB_START:-$EPOCHREALTIME}
FAMLAB_LOG=${FAMLAB_LOG:-/dev/null}
export FAMLAB_CACHE FAMLAB_START FAMLAB_LOG

# All that is ever made in the cache, hence all that setup/clean-cache.sh removes: kinds of entries,
# what serves them, and what vm/ remembers there.
readonly cache_kinds=(tree lint-tree kernel image-base image)
readonly cache_parts=("${cache_kinds[@]}" tmp locks logs ccache tidy accelerator libvirt)
readonly cache_mark='# The cache of famlab.'

# What is kept is read by other users too: guests of root, and those who share the cache.
umask 022

say() {
    local area=$1 tenths
    shift
    # EPOCHREALTIME has a decimal point or comma, by locale, and always six digits after it.
    tenths=$(((${EPOCHREALTIME//[.,]/} - ${FAMLAB_START//[.,]/}) / 100000))
    printf '[famlab %5d.%ds] %s: %s\n' $((tenths / 10)) $((tenths % 10)) "$area" "$*" >&2
}

die() {
    local code=$1
    shift
    say "$@"
    exit "$code"
}

cache_key() {
    sha256sum | cut -c1-20
}

# Removes what interrupted runs left in tmp: a directory whose lock nobody holds has no builder.
cache_remove_stale() {
    local dir name
    for dir in "$FAMLAB_CACHE"/tmp/*; do
        [ -d "$dir" ] || continue
        name=${dir##*/}
        (
            flock -n 9 || exit 0
            say cache "removing what an interrupted run left: $name"
            rm -rf -- "$dir"
        ) 9>"$FAMLAB_CACHE/locks/${name%.*}.lock"
    done
}

# rename(2) over the old link, so that no moment exists without one.
cache_link() {
    local entry=$1 link=$2
    mkdir -p -- "$(dirname -- "$link")"
    ln -sfn -- "$entry" "$link.$$"
    mv -T -- "$link.$$" "$link"
}

# Programs are started from the cache, and what it holds is removed: nobody else may write there.
cache_check_owner() { # EXIT-CODE
    local bad
    [ -d "$FAMLAB_CACHE" ] || return 0
    # Another run may be adding and removing files.
    bad=$(find "$FAMLAB_CACHE" -maxdepth 2 ! -type l \( ! -uid "$EUID" ! -uid 0 -o -perm /022 \) \
        -printf '%p (owner %u, mode %m)' -quit 2>/dev/null) || true
    [ -z "$bad" ] || die "$1" cache "others can write to $bad, and programs are started from this" \
        "cache: name another FAMLAB_CACHE, or make it yours alone (chown, chmod go-w)"
}

# A directory that has other contents is somebody's data, whatever FAMLAB_CACHE says.
cache_adopt() {
    local tag=$FAMLAB_CACHE/CACHEDIR.TAG name names allowed
    cache_check_owner 2
    ! grep -qsxF -- "$cache_mark" "$tag" || return 0
    mapfile -d '' -t names < <(find "$FAMLAB_CACHE" -mindepth 1 -maxdepth 1 -printf '%f\0' 2>/dev/null)
    # Before the first entry there can only be what vm/ has left. With a tag there, it is a cache
    # without the mark, or another run that starts now.
    allowed=' lost+found accelerator libvirt '
    [ ! -e "$tag" ] || allowed+="CACHEDIR.TAG ${cache_parts[*]} "
    for name in "${names[@]}"; do
        [[ $allowed == *" $name "* ]] || die 2 cache "FAMLAB_CACHE=$FAMLAB_CACHE holds $name, which" \
            "is not of this cache; name a directory that is new or empty"
    done
    mkdir -p -- "$FAMLAB_CACHE"
    # The first line is what backup programs look for.
    printf 'Signature: 8a477f597d28d172789f06886806bc55\n%s\n' "$cache_mark" >"$tag"
}

cache_build_failed() {
    local status=$1 kind=$2 tmp=$3
    rm -rf -- "$tmp"
    if [ "$status" -ne 0 ] && [ -s "$FAMLAB_LOG" ]; then
        say "$kind" "failed; the last lines of $FAMLAB_LOG:"
        tail -n 25 -- "$FAMLAB_LOG" | sed 's/^/    /' >&2
    fi
}

cache_get() {
    local kind=$1 key=$2 link=$3 builder=$4
    shift 4
    local entry=$FAMLAB_CACHE/$kind/$key began lock tmp
    [[ " ${cache_kinds[*]} " == *" $kind "* ]] || die 2 "$kind" "is missing in cache_kinds (setup/cache.sh)"
    cache_adopt
    mkdir -p -- "$FAMLAB_CACHE"/{tmp,locks,logs,"$kind"}
    cache_remove_stale
    if [ ! -d "$entry" ]; then
        exec {lock}>"$FAMLAB_CACHE/locks/$kind-$key.lock"
        lock_or_wait "$lock" "$kind" "another run is building $key; waiting for it"
        if [ ! -d "$entry" ]; then
            began=$SECONDS
            tmp=$FAMLAB_CACHE/tmp/$kind-$key.$$
            FAMLAB_LOG=$FAMLAB_CACHE/logs/$kind-$key.log
            : >"$FAMLAB_LOG"
            # shellcheck disable=SC2064  # the values of now are wanted
            trap "cache_build_failed \$? '$kind' '$tmp'" EXIT
            rm -rf -- "$FAMLAB_CACHE/tmp/$kind-$key".*
            mkdir -- "$tmp"
            say "$kind" "building $key"
            "$builder" "$tmp" "$@"
            mv -T -- "$tmp" "$entry"
            trap - EXIT
            FAMLAB_LOG=/dev/null
            say "$kind" "done in $((SECONDS - began)) s, $(du -sm "$entry" | cut -f1) MB"
        else
            say "$kind" "reused $key, which the other run built"
        fi
        exec {lock}>&-
    else
        say "$kind" "reused $key"
    fi
    cache_link "$entry" "$link"
}

compiler_cache() {
    cache_adopt
    export CCACHE_DIR=$FAMLAB_CACHE/ccache CCACHE_BASEDIR=$1 CCACHE_NOHASHDIR=true
    export CCACHE_SLOPPINESS=pch_defines,time_macros
}

lock_or_wait() {
    local descriptor=$1
    shift
    flock -n "$descriptor" || { say "$@"; flock "$descriptor"; }
}

first_failure() {
    local status
    for status; do
        [ "$status" -eq 0 ] || exit "$status"
    done
}
