#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What CI runs: the commands of the README, then what keeps the sources sound. Stops at the first
# failure; a table of the times comes last in any case.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/run.sh [checks | vm]...

Runs all that CI runs, or parts of it, for machines that share the work:
  checks   make test with each sanitizer, the programs as installed, the package, lint, fuzzers
  vm       make test-vm FULL=1, with the kernels that its tests boot; SHARD=2/5: a part of the tests;
           the short forms of make test-crash and make test-schedules

Exit status: that of the first step that fails, 0 if none does, 2 usage.
USAGE
}

parts=("$@")
for part in "${parts[@]}"; do
    case $part in
    checks | vm) ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
[ $# -gt 0 ] || parts=(checks vm)
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

checks() {
    # With each of the compiler's sanitizers, and the host suite with the programs as installed.
    step make test FULL=1
    step make test SANITIZE=thread
    step make
    step tests/run host
    step make deb
    step make lint
    step ci/fuzz.sh
}

vm() {
    # Make test-vm boots it: a kernel without the methods.
    step make kernel KERNEL_FLAVOR=nomap
    step make test-vm FULL=1
    step make test-crash
    step make test-schedules
}

for part in "${parts[@]}"; do
    "$part"
done
