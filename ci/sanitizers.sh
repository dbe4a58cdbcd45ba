#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the daemon with the sanitizers of the compiler and runs what can be run with them.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")/.."
# shellcheck source=setup/cache.sh
. setup/cache.sh

usage() {
    cat <<'USAGE'
usage: ci/sanitizers.sh [address|daemon|thread|fuzz]...

  address   unit tests with AddressSanitizer and UndefinedBehaviorSanitizer
  daemon    tests/host on the programs of that build
  thread    unit tests with ThreadSanitizer
  fuzz      each fuzzer for FUZZ_SECONDS (default 20), from its corpus (daemon/*/NAME.corpus)

Without arguments: all. The builds are in build/sanitize-*. Exit status: 0 nothing found, 1
something found, 2 usage.
USAGE
}

readonly kinds=(address daemon thread fuzz)
export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

build() { # KIND DIRECTORY [CMAKE-OPTION...]
    local directory=$2
    say sanitizers "$1: building"
    cmake --log-level=WARNING -S daemon -B "$directory" -G Ninja \
        -DFAMFS_BIN_DIR="$PWD/$directory/bin" -DCMAKE_BUILD_TYPE=Debug \
        -DCMAKE_CXX_FLAGS=-O1 "${@:3}" >/dev/null
    nice ninja --quiet -C "$directory"
}

build_address() {
    build address build/sanitize-address -DFAMFS_SANITIZE=address
}

run_address() {
    build_address
    say sanitizers "address: unit tests"
    ctest --test-dir build/sanitize-address --output-on-failure --progress -j"$(nproc)"
}

run_daemon() {
    build_address
    say sanitizers "daemon: tests/host"
    FAMFS_BIN=$PWD/build/sanitize-address/bin FAMLAB_TEST_RESULTS=$PWD/build/results/host-address \
        tests/run host -k "not test_rules"
}

run_thread() {
    build thread build/sanitize-thread -DFAMFS_SANITIZE=thread
    say sanitizers "thread: unit tests"
    ctest --test-dir build/sanitize-thread --output-on-failure --progress -j"$(nproc)"
}

run_fuzz() {
    # libFuzzer comes with clang, which is in the lint tree.
    say sanitizers "fuzz: building"
    setup/in-tree --lint -- cmake --log-level=WARNING -S daemon -B build/sanitize-fuzz -G Ninja \
        -DFAMFS_FUZZ=ON -DBUILD_TESTING=OFF -DCMAKE_CXX_COMPILER=clang++-19 \
        -DFAMFS_BIN_DIR="$PWD/build/sanitize-fuzz/bin" >/dev/null
    setup/in-tree --lint -- ninja --quiet -C build/sanitize-fuzz fuzzers
    local fuzzer corpus found=0
    shopt -s nullglob
    while IFS= read -r fuzzer; do
        found=1
        say sanitizers "fuzz: ${fuzzer##*/}"
        # What it finds goes to the first directory, and from there into the next run.
        corpus=("build/fuzz-corpus/${fuzzer##*/}" daemon/*/"${fuzzer##*/}.corpus")
        mkdir -p "${corpus[0]}"
        setup/in-tree --lint -- "$fuzzer" -max_total_time="${FUZZ_SECONDS:-20}" -verbosity=0 \
            -print_final_stats=1 -artifact_prefix="$PWD/build/sanitize-fuzz/" "${corpus[@]}"
    done < <(find build/sanitize-fuzz -type f -perm -u+x -name '*_fuzz*' ! -name '*.o')
    [ "$found" -eq 1 ] || die 1 sanitizers "no fuzzer was built"
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
chosen=("$@")
[ $# -gt 0 ] || chosen=("${kinds[@]}")
for kind in "${chosen[@]}"; do
    case " ${kinds[*]} " in *" $kind "*) ;; *) usage >&2; exit 2 ;; esac
    "run_$kind"
done
say sanitizers "nothing found"
