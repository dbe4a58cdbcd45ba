#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Removes the cache that all clones of this user share.
set -euo pipefail

# shellcheck source=setup/cache.sh
. "$(dirname -- "$(readlink -f -- "$0")")/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/clean-cache.sh

Removes the cache, $FAMLAB_CACHE or ~/.cache/famlab: trees, kernels, images, compiler cache. Other
clones build again what they need. Refuses a directory that this cache has not marked as its own
(CACHEDIR.TAG) or to which others can write, and while something in it is being built or used, by a
running host for example. Whatever else is in the directory stays.

Exit status: 0 ok, 2 usage, 16 refused.
USAGE
}

# Processes that run from an entry or have it as an argument: hosts' QEMU, commands in the tree.
users_of_entries() {
    local file kind
    local -a words
    for file in /proc/[0-9]*/cmdline; do
        # Without a process of its own for each; one may have ended meanwhile.
        { mapfile -d '' -t words <"$file"; } 2>/dev/null || continue
        for kind in "${cache_kinds[@]}"; do
            if [[ "${words[*]}" == *"$FAMLAB_CACHE/$kind/"* ]]; then
                file=${file%/cmdline}
                printf '%s (%s) ' "${file##*/}" "$(cat -- "$file/comm" 2>/dev/null)"
                break
            fi
        done
    done
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
[ $# -eq 0 ] || { usage >&2; exit 2; }
[ -d "$FAMLAB_CACHE" ] || exit 0
grep -qsxF -- "$cache_mark" "$FAMLAB_CACHE/CACHEDIR.TAG" ||
    die 16 cache "$FAMLAB_CACHE has no CACHEDIR.TAG of this cache; it stays"
cache_check_owner 16
for file in "$FAMLAB_CACHE"/locks/*.lock; do
    [ -e "$file" ] || continue
    flock -n "$file" true ||
        die 16 cache "$(basename -- "$file" .lock) is being built; the cache stays"
done
users=$(users_of_entries)
[ -z "$users" ] || die 16 cache "in use by the processes ${users% }; the cache stays." \
    "Labs end with: vm/famlab down"
size=$(du -sm -- "$FAMLAB_CACHE" | cut -f1)
for part in "${cache_parts[@]}" CACHEDIR.TAG; do
    rm -rf -- "${FAMLAB_CACHE:?}/$part"
done
if rmdir -- "$FAMLAB_CACHE" 2>/dev/null; then
    say cache "removed $FAMLAB_CACHE, $size MB"
else
    say cache "removed what is of the cache in $FAMLAB_CACHE; other things are in it and stay"
fi
