#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing of the host's own Debian packages.
set -euo pipefail

# shellcheck source=setup/cache.sh
. "$(dirname -- "$(readlink -f -- "$0")")/cache.sh"

usage() {
    cat <<'USAGE'
usage: setup/host-packages.sh [--missing] SET

Installs the Debian packages of SET that are not there yet, from this machine's own package
sources, without recommended packages. As root, or through sudo. SET is one of

  build    compile the programs of daemon/             (make)
  package  build, and make install or make deb         (make install, make deb)
  test     build, and run unit tests and tests/host    (make test)
  tree     make the Debian 13 tree and work in it      (make tree, kernel, lint …)
  vm       test and tree, and run virtual hosts        (make test-vm, make bench)

  --missing   only print what is missing, one package per line

Exit status: 0 ok, 2 usage, 15 not possible on this machine, 20 the archive cannot be reached.
USAGE
}

# Every name below exists in Debian 12 and in Debian 13.
readonly build=(ccache cmake g++ libcli11-dev libcpp-httplib-dev libdaxctl-dev libfmt-dev libfuse3-dev
    libgmock-dev libgtest-dev libsodium-dev libspdlog-dev libyaml-cpp-dev make ninja-build
    pkg-config zlib1g-dev)
readonly package=(dpkg-dev fakeroot file help2man)
readonly test=(attr curl fuse3 gdb help2man python3 python3-jinja2 python3-libvirt python3-pytest
    python3-pytest-timeout python3-pytest-xdist python3-yaml zstd)
# gpg: mmdebstrap finds with it the keys that the new system needs.
readonly tree=(bubblewrap gpg mmdebstrap mount util-linux)
readonly vm=(libvirt-daemon-driver-qemu socat)

only_print=false
if [ "${1:-}" = --missing ]; then
    only_print=true
    shift
fi
case ${1:-} in
-h | --help) usage; exit 0 ;;
build) wanted=("${build[@]}") ;;
package) wanted=("${build[@]}" "${package[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
tree) wanted=("${tree[@]}") ;;
vm) wanted=("${build[@]}" "${test[@]}" "${tree[@]}" "${vm[@]}") ;;
*) usage >&2; exit 2 ;;
esac
# mmdebstrap without root needs newuidmap.
if [ "$(id -u)" -ne 0 ] && [[ " ${wanted[*]} " == *" mmdebstrap "* ]]; then
    wanted+=(uidmap)
fi

codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-unknown}")
case $codename in
bookworm | trixie) ;;
*) die 15 packages "this is ${codename}; package names are known for Debian 12 (bookworm) and" \
    "Debian 13 (trixie). A Debian 13 container or chroot will do." ;;
esac

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
mapfile -t missing < <(printf '%s\n' "${wanted[@]}" | sort -u | grep -vxF -- "$installed" || true)

if $only_print; then
    [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}"
    exit 0
fi

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600
    -o Acquire::Retries=3)

# What apt says is shown only if it fails.
run_apt() {
    "${apt[@]}" "$@" >"$log" 2>&1
}

fail_apt() {
    sed 's/^/    /' "$log" | tail -n 25 >&2
    if grep -qE 'Could not (resolve|connect)|Temporary failure|Unable to (connect|fetch)|Failed to fetch' "$log"
    then
        die 20 packages "the package archive of this machine cannot be reached; check the network" \
            "and /etc/apt"
    fi
    die 15 packages "apt-get failed; install by hand: apt-get install --no-install-recommends ${missing[*]}"
}

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die 15 packages "packages are missing, and this is neither root nor is sudo there. As root:" \
            "apt-get install --no-install-recommends ${missing[*]}"
    fi
    log=$(mktemp)
    trap 'rm -f -- "$log"' EXIT
    say packages "installing ${missing[*]}"
    install=(install --yes --no-install-recommends "${missing[@]}")
    # Package lists may be absent (a fresh chroot) or older than the archive: then update, once.
    if ! run_apt "${install[@]}"; then
        say packages "updating the package lists"
        run_apt update || fail_apt
        run_apt "${install[@]}" || fail_apt
    fi
    say packages "installed ${#missing[@]} packages"
fi

# As root, libvirt's QEMU driver looks this user up before it reads its configuration, and only a
# package with the system-wide daemon creates it.
if [ "$1" = vm ] && [ "$(id -u)" -eq 0 ] && ! getent passwd libvirt-qemu >/dev/null; then
    say packages "creating the system user libvirt-qemu"
    getent group libvirt-qemu >/dev/null || groupadd --system libvirt-qemu
    useradd --system --gid libvirt-qemu --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin libvirt-qemu
fi
