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
clones build again what they need. Refuses a directory that is not marked as a cache (no
CACHEDIR.TAG), and while something is being built in it.

Exit status: 0 ok, 2 usage, 16 refused.
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
[ $# -eq 0 ] || { usage >&2; exit 2; }
[ -d "$FAMLAB_CACHE" ] || exit 0
[ -f "$FAMLAB_CACHE/CACHEDIR.TAG" ] ||
    die 16 cache "$FAMLAB_CACHE has no CACHEDIR.TAG; it does not look like a cache, so it stays"
for file in "$FAMLAB_CACHE"/locks/*.lock; do
    [ -e "$file" ] || continue
    flock -n "$file" true ||
        die 16 cache "$(basename -- "$file" .lock) is being built; the cache stays"
done
size=$(du -sm -- "$FAMLAB_CACHE" | cut -f1)
rm -rf -- "$FAMLAB_CACHE"
say cache "removed $FAMLAB_CACHE, $size MB"
