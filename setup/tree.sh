#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the Debian 13 trees: build/tree (QEMU, the kernel's source, compilers and libraries for
# everything that runs in guests) and build/lint-tree (the checkers, with the headers they need).
set -euo pipefail

repo=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
# shellcheck source=setup/cache.sh
. "$repo/setup/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/tree.sh [--missing] [tree|lint-tree]

tree (default)   build/tree: Debian 13 with QEMU 11.1, the Linux 7.3 source, g++ 14 and the
                 libraries of the daemon; build/qemu-system-x86_64 runs its QEMU on this host
lint-tree        build/lint-tree: Debian 13 with clang-format, clang-tidy, shellcheck, mypy …

Both are kept in the cache and built again only when their package lists change. Everything in
them belongs to the user who runs this. MIRROR=URI takes another Debian mirror.

  --missing   make nothing; print the name of the tree if the cache does not have it
USAGE
}

# QEMU and what must come from backports together with it.
readonly qemu=(qemu-system-x86/trixie-backports qemu-system-common/trixie-backports
    qemu-system-data/trixie-backports seabios/trixie-backports)
readonly kernel=(linux-source-7.3/trixie-backports bc bison cpio flex kmod libelf-dev libssl-dev
    make openssl pahole patch perl python3-minimal rsync xz-utils zstd)
readonly daemon=(ccache cmake g++ gcc libbenchmark-dev libcli11-dev libcpp-httplib-dev
    libdaxctl-dev libfmt-dev libfuse3-dev libgmock-dev libgtest-dev libndctl-dev libsodium-dev
    libspdlog-dev libyaml-cpp-dev ninja-build pkg-config uuid-dev zlib1g-dev)
readonly image=(erofs-utils gdb)
readonly lint=(clang-19 clang-format-19 clang-tidy-19 codespell flake8 git libclang-rt-19-dev
    llvm-19 mypy pylint python3-jinja2 python3-pytest python3-typeshed python3-yaml shellcheck yamllint)

# It ends when this script does, even if that is killed.
readonly debian_tar=(setpriv --pdeathsig TERM "$repo/setup/debian-tar")

unpack() {
    # Without owners: the tree must be removable without privilege. Without set-user-id bits.
    umask 022
    tar -x --no-same-owner --no-same-permissions --exclude='./dev/*' -C "$1" 2>>"$FAMLAB_LOG"
}

build_lint_tree() {
    mkdir "$1/root"
    "${debian_tar[@]}" --area lint-tree "${daemon[@]}" "${lint[@]}" |
        unpack "$1/root" || first_failure "${PIPESTATUS[@]}"
}

build_tree() {
    local root=$FAMLAB_CACHE/tree/$tree_key/root
    mkdir "$1/root"
    "${debian_tar[@]}" --area tree --backports \
        "${qemu[@]}" "${kernel[@]}" "${daemon[@]}" "${image[@]}" |
        unpack "$1/root" || first_failure "${PIPESTATUS[@]}"
    # The host's libc may be older than this QEMU wants, so the tree's own loader starts it.
    cat >"$1/qemu-system-x86_64" <<WRAPPER
#!/bin/sh
export QEMU_MODULE_DIR='$root/usr/lib/x86_64-linux-gnu/qemu'
exec '$root/usr/lib64/ld-linux-x86-64.so.2' --library-path '$root/usr/lib/x86_64-linux-gnu' \\
    '$root/usr/bin/qemu-system-x86_64' -L '$root/usr/share/qemu' -L '$root/usr/share/seabios' "\$@"
WRAPPER
    chmod 755 "$1/qemu-system-x86_64"
}

only_print=false
if [ "${1:-}" = --missing ]; then
    only_print=true
    shift
fi

# Prints what would have to be built, if that is all that was asked for.
missing() {
    $only_print || return 1
    [ -d "$FAMLAB_CACHE/$1/$2" ] || printf '%s\n' "$1"
}

case ${1:-tree} in
tree)
    tree_key=$({
        printf '%s\n' "${MIRROR:-}" "${qemu[@]}" "${kernel[@]}" "${daemon[@]}" "${image[@]}"
        declare -f build_tree unpack
        cat "$repo/setup/debian-tar"
    } | cache_key)
    ! missing tree "$tree_key" || exit 0
    cache_get tree "$tree_key" "$repo/build/tree" build_tree
    cache_link "$repo/build/tree/qemu-system-x86_64" "$repo/build/qemu-system-x86_64"
    ;;
lint-tree)
    lint_key=$({
        printf '%s\n' "${MIRROR:-}" "${daemon[@]}" "${lint[@]}"
        declare -f build_lint_tree unpack
        cat "$repo/setup/debian-tar"
    } | cache_key)
    ! missing lint-tree "$lint_key" || exit 0
    cache_get lint-tree "$lint_key" "$repo/build/lint-tree" build_lint_tree
    ;;
-h | --help) usage ;;
*) usage >&2; exit 2 ;;
esac
