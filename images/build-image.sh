#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes build/image: the guest's root file system.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: images/build-image.sh

Makes build/image with root.erofs, the read-only root file system of every guest, and
packages.txt, what is in it. Needs the Debian 13 tree (setup/tree.sh) for mkfs.erofs.

The result is kept in the cache and made again only when images/packages.list, images/customize
or a file of images/guest/ changes; the latter alone takes about 2 s. MIRROR=URI takes another Debian mirror.

Exit status: 0 ok; 2 usage; 20 the Debian archive cannot be reached; 21 mmdebstrap failed;
22 there is no tree; 23 mkfs.erofs failed.
USAGE
}

# Times in the image do not depend on when it is made: 2025-08-09, the release of Debian 13.
export SOURCE_DATE_EPOCH=1754697600

build_base() {
    # The hook's text: without root it runs as another user, who may not look into this clone.
    "$repo/setup/debian-tar" --area image --variant=essential \
        --customize-hook="$(<"$repo/images/customize")" "${packages[@]}" >"$1/root.tar"
    tar -xOf "$1/root.tar" ./var/lib/dpkg/status |
        awk '/^Package:/ { name = $2 } /^Version:/ { print name, $2 }' >"$1/packages.txt"
}

# Uncompressed: an emulated CPU reads faster than it unpacks. A fixed UUID, so that the same input
# gives the same bytes.
build_image() {
    cp -- "$base/root.tar" "$base/packages.txt" "$1/"
    tar -rf "$1/root.tar" --owner=0 --group=0 --mtime="@$SOURCE_DATE_EPOCH" --mode=u=rwX,go=rX \
        --transform='s,^,./usr/lib/famlab/,' -C "$repo/images/guest" -- "${guest_files[@]}"
    "$repo/setup/in-tree" -- mkfs.erofs --quiet --tar=f -T "$SOURCE_DATE_EPOCH" \
        -U 00000000-0000-0000-0000-000000000001 "$1/root.erofs" "$1/root.tar" >>"$FAMLAB_LOG" 2>&1 ||
        die 23 image "mkfs.erofs failed"
    rm -- "$1/root.tar"
}

case ${1:-} in
'') ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
[ -d "$repo/build/tree/root" ] || die 22 image "there is no Debian 13 tree; make it with setup/tree.sh"

mapfile -t packages < <(grep -vE '^(#|$)' "$repo/images/packages.list")
base_key=$({
    printf '%s\n' "${MIRROR:-}" "$SOURCE_DATE_EPOCH" "${packages[@]}"
    declare -f build_base
    cat "$repo/setup/debian-tar" "$repo/images/customize"
} | cache_key)

guest_files=()
for file in "$repo"/images/guest/*; do
    guest_files+=("${file##*/}")
done
image_key=$({
    printf '%s\n' "$base_key"
    declare -f build_image
    cd "$repo/images/guest"
    stat -c '%n %A %s' -- "${guest_files[@]}"
    cat -- "${guest_files[@]}"
} | cache_key)

# A change to the guest's own files alone does not fetch the packages again.
base=$FAMLAB_CACHE/image-base/$base_key
if [ ! -d "$FAMLAB_CACHE/image/$image_key" ]; then
    cache_get image-base "$base_key" "$repo/build/image-base" build_base
fi
cache_get image "$image_key" "$repo/build/image" build_image
