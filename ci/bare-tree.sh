#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Follows the README as a newcomer would: in a bare Debian tree with nothing preinstalled, an empty
# cache and a fresh clone of the committed state. Then once more, when nothing may be rebuilt.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: ci/bare-tree.sh [--keep] SUITE [-- COMMAND...]

SUITE is bookworm (Debian 12) or trixie (Debian 13). Makes a bare tree of it, clones the committed
state of this repository into it, and runs there, as root, `make test` and `make test-vm`, then
both again: the second time nothing may be built. With COMMAND, runs that instead, in the clone.

  --keep    leave the tree behind and say where it is

Needs root, 15 GB of disk and the network. Takes about 40 minutes on 2 cores.
FAMFS_REFERENCE_IMAGE is passed on. Exit status: 0 as predicted; 1 a command failed; 2 usage;
3 the second run built something again.
USAGE
}

keep=
suite=
command=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --keep) keep=yes ;;
    --) shift; command=("$@"); break ;;
    bookworm | trixie) suite=$1 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ -n "$suite" ] || { usage >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || die 2 bare-tree "needs root: the tree is entered with all privileges inside"

area="bare $suite"
home=$(mktemp -d "${TMPDIR:-/var/tmp}/famlab-bare.XXXXXX")
remove_tree() {
    if [ -n "$keep" ]; then
        say "$area" "kept: $home"
    else
        rm -rf --one-file-system -- "$home"
    fi
}
trap remove_tree EXIT
trap 'exit 130' INT TERM
root=$home/root
mkdir -- "$root"

say "$area" "making the tree"
"$repo/setup/debian-tar" --suite "$suite" --area "$area" apt | tar -x -C "$root"
rm -rf -- "${root:?}"/var/lib/apt/lists/*

# What a machine has and a directory has not: names, devices, shared memory, a place for sockets.
enter=(bwrap --bind "$root" / --dev /dev --proc /proc --ro-bind /sys /sys
    --perms 1777 --tmpfs /dev/shm --perms 1777 --tmpfs /tmp --tmpfs /run
    --unshare-pid --unshare-ipc --die-with-parent --cap-add ALL --clearenv
    --setenv PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    --setenv HOME /root --setenv LANG C.UTF-8 --setenv DEBIAN_FRONTEND noninteractive)
for name in fuse kvm; do
    [ ! -e "/dev/$name" ] || enter+=(--dev-bind "/dev/$name" "/dev/$name")
done
for name in resolv.conf hosts; do
    [ ! -e "/etc/$name" ] || enter+=(--ro-bind "$(readlink -f "/etc/$name")" "/etc/$name")
done
for name in CI MIRROR HOSTS TOPOLOGY TESTS KERNEL_FLAVOR; do
    [ -z "${!name:-}" ] || enter+=(--setenv "$name" "${!name}")
done
if [ -n "${FAMFS_REFERENCE_IMAGE:-}" ]; then
    enter+=(--ro-bind "$(dirname -- "$(readlink -f -- "$FAMFS_REFERENCE_IMAGE")")" /srv
        --setenv FAMFS_REFERENCE_IMAGE "/srv/$(basename -- "$FAMFS_REFERENCE_IMAGE")")
fi

# The clone is made outside, so that even git is missing inside unless the README says to get it.
clone=/root/famlab-$suite
git clone --quiet --no-local "$repo" "$root$clone"
in_tree() {
    "${enter[@]}" --chdir "$clone" -- "$@" </dev/null
}

say "$area" "what the README says comes first"
in_tree sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends git make' \
    >"$home/apt.log" 2>&1 || { tail -n 20 "$home/apt.log" >&2; exit 1; }

if [ ${#command[@]} -gt 0 ]; then
    in_tree "${command[@]}"
    exit
fi

run_twice() {
    local target=$1 round status log
    for round in first second; do
        log=$home/$target.$round.log
        say "$area" "make $target, $round run"
        status=0
        in_tree make "$target" 2>&1 | tee "$log" || status=$?
        [ "$status" -eq 0 ] || die 1 "$area" "make $target, $round run: exit status $status"
        say "$area" "make $target, $round run: passed"
    done
    if grep -E '^\[famlab .*\] [a-z-]+: building' "$log"; then
        die 3 "$area" "make $target built again what the first run had built (above)"
    fi
}
run_twice test
run_twice test-vm
say "$area" "make test and make test-vm passed twice; the second time nothing was rebuilt"
