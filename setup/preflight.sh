#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Looks, before any work, whether this machine can do it, and says everything that is in the way.
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/preflight.sh build|package|test|tree|vm

Checks what the work of `make`, `make deb`, `make test`, `make tree` (kernel, lint …) or `make test-vm` needs:
architecture and Debian release, free disk and shared memory, a reachable package archive if
something must be fetched, root or sudo if packages must be installed, user namespaces if this is
not root, permission to mount if it is, the owner of build/, /dev/fuse. Reports all that is missing, not only the first.

Exit status: 0 ok (perhaps with notes), 2 usage, 15 something is missing.
USAGE
}

case ${1:-} in
-h | --help) usage; exit 0 ;;
build | package | test | tree | vm) ;;
*) usage >&2; exit 2 ;;
esac
set_wanted=$1
problems=0

problem() {
    problems=$((problems + 1))
    say preflight "$*"
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# The deepest directory of a path that exists already.
existing() {
    local path=$1
    while [ ! -d "$path" ]; do path=$(dirname -- "$path"); done
    printf '%s\n' "$path"
}

check_disk() {
    local what=$1 path=$2 need=$3 found
    found=$(free_mb "$(existing "$path")")
    [ "$found" -ge "$need" ] ||
        problem "not enough disk for $what: $need MB are needed on the file system of $path," \
            "$found MB are free"
}

free_mb() {
    df --output=avail -BM -- "$1" 2>/dev/null | tail -n1 | tr -dc 0-9
}

# Where vm/ puts the memory that hosts share: the first that has room for all of it.
check_shared_memory() {
    local path found most=0
    for path in /dev/shm /var/tmp; do
        [ -w "$path" ] || continue
        found=$(free_mb "$path")
        [ "${found:-0}" -le "$most" ] || most=$found
    done
    if [ "$most" -lt 4096 ]; then
        problem "not enough room for the memory that hosts share: 4096 MB are needed on /dev/shm or" \
            "/var/tmp, $most MB are free"
    elif [ "$most" -lt 8192 ]; then
        say preflight "note: $most MB are free on /dev/shm or /var/tmp for the memory that hosts" \
            "share; topologies of 8 GB will be refused"
    fi
}

check_archive() {
    local uri=$1 name=$2 file
    file=$(mktemp -d)
    # apt's own fetcher, so its proxy settings and methods are those that will be used.
    /usr/lib/apt/apt-helper -o Acquire::Retries=1 -o Acquire::http::Timeout=15 \
        download-file "$uri" "$file/InRelease" >"$file/log" 2>&1 ||
        problem "the network: $name cannot be fetched from ($uri):" \
            "$(grep -m1 -oE '(Could not|Temporary failure|Unable to|Failed to|[45][0-9]{2} ).*' "$file/log" ||
                printf 'no answer')"
    rm -rf -- "$file"
}

# Of lines CODENAME RELEASE URI the first URI of this machine's release that is fetched.
own_release() {
    awk -v name="$(. /etc/os-release && printf %s "${VERSION_CODENAME:-}")" \
        '($1 == name || $2 == name) && $3 !~ /^cdrom:/ { print $3; exit }'
}

check_network() {
    local uri
    if [ -n "${MIRROR:-}" ] && [ "$needs_tree" = true ] && [[ $MIRROR == http*://* ]]; then
        check_archive "${MIRROR%/}/dists/trixie/InRelease" "the mirror given with MIRROR="
    fi
    # Of the sources the release's own: a CD-ROM or somebody's own archive has no such file.
    # shellcheck disable=SC2016  # apt expands it
    uri=$(apt-get indextargets --format '$(CODENAME) $(RELEASE) $(REPO_URI)dists/$(RELEASE)/InRelease' \
        'Created-By: Packages' 2>/dev/null | own_release) || true
    [ -z "$uri" ] || check_archive "$uri" "the package archive of this machine"
}

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] ||
    problem "this needs Debian on amd64; found $(uname -m)"

needs_tree=false
if [ "$set_wanted" = tree ] || [ "$set_wanted" = vm ]; then
    [ -z "$("$repo/setup/tree.sh" --missing tree)" ] || needs_tree=true
fi
missing=$("$repo/setup/host-packages.sh" --missing "$set_wanted") || problems=$((problems + 1))

check_disk "compiling" "$repo/build" 1500
if [ "$set_wanted" = tree ] || [ "$set_wanted" = vm ]; then
    if [ "$needs_tree" = true ]; then
        check_disk "the Debian 13 tree and what is made with it" "$FAMLAB_CACHE" 6000
        check_disk "mmdebstrap" "${TMPDIR:-/tmp}" 1500
    fi
fi
[ "$set_wanted" != vm ] || check_shared_memory

if [ -n "$missing" ] || [ "$needs_tree" = true ]; then
    check_network
fi
if [ -n "$missing" ] && ! is_root && ! command -v sudo >/dev/null; then
    problem "packages are missing, and this is neither root nor is sudo there. As root:" \
        "apt-get install --no-install-recommends ${missing//$'\n'/ }"
fi

# In the tree not even root may write to what belongs to others.
if [ -d "$repo/build" ] && [ ! -O "$repo/build" ] &&
    { ! is_root || [ "$set_wanted" = tree ] || [ "$set_wanted" = vm ]; }; then
    owner=$(stat -c %U -- "$repo/build")
    problem "$repo/build belongs to $owner; run this as $owner, or remove it first: make clean"
fi

if { [ "$set_wanted" = tree ] || [ "$set_wanted" = vm ]; } && is_root; then
    unshare --mount true 2>/dev/null ||
        problem "this root may not mount (no CAP_SYS_ADMIN); a container needs --privileged, or run" \
            "as a user with user namespaces"
elif [ "$set_wanted" = tree ] || [ "$set_wanted" = vm ]; then
    unshare --user --map-root-user true 2>/dev/null ||
        problem "user namespaces are refused to this user; allow them (sysctl" \
            "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)" \
            "or run as root"
    grep -qs "^\($(id -un)\|$(id -u)\):" /etc/subuid ||
        problem "/etc/subuid gives this user no subordinate ids; as root: usermod" \
            "--add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
fi

if [ "$set_wanted" = test ] && ! { : <>/dev/fuse; } 2>/dev/null; then
    if is_root && [ ! -e /dev/fuse ] && grep -qw fuse /proc/filesystems; then
        say preflight "note: no /dev/fuse here, tests that mount will be skipped; to have them:" \
            "mknod -m 666 /dev/fuse c 10 229"
    else
        say preflight "note: /dev/fuse cannot be opened by $(id -un), tests that mount will be" \
            "skipped; to have them: modprobe fuse, and read and write permission on /dev/fuse"
    fi
fi

[ "$problems" -eq 0 ] || die 15 preflight "$problems in the way; nothing was changed"
