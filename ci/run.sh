#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What CI runs: the commands of the README, then what keeps the sources sound. Stops at the first
# failure; a table of the times comes last in any case.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")/.."
export CI=true

times=()
print_times() {
    local line
    printf '\n'
    for line in "${times[@]}"; do printf 'ci: %s\n' "$line"; done
}
trap print_times EXIT

step() {
    local began=$SECONDS status=0
    printf '\nci: %s\n' "$*"
    "$@" || status=$?
    times+=("$(printf '%5d s  %s%s' $((SECONDS - began)) "$*" \
        "$([ "$status" -eq 0 ] || printf '  FAILED (exit status %d)' "$status")")")
    return "$status"
}

# With each of the compiler's sanitizers, and the host suite with the programs as they are installed.
step make test SANITIZE=address
step make test SANITIZE=thread
step tests/run host
step make deb
# Make test-vm boots them: the unit tests of the kernel patches, and a kernel without the methods.
step make kernel KERNEL_FLAVOR=kunit
step make kernel KERNEL_FLAVOR=nomap
step make test-vm
step make lint
step ci/fuzz.sh
