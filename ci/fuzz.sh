#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzzers of daemon/ and runs each for a while.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")/.."
# shellcheck source=setup/cache.sh
. setup/cache.sh

usage() {
    cat <<'USAGE'
usage: ci/fuzz.sh [NAME]...

Runs the fuzzers named (image_fuzz, reader_fuzz …), or all, each for FUZZ_SECONDS (default 20), as many
at once as there are processors, with AddressSanitizer and UndefinedBehaviorSanitizer. Each starts from the inputs in daemon/*/NAME.corpus and from
what it found before, in build/fuzz-corpus/NAME. An input that makes one fail is kept in
build/sanitize-fuzz/; the fuzzer runs it again if given its name.

Exit status: 0 nothing found, 1 something found, 2 usage.
USAGE
}

case ${1:-} in
-h | --help) usage; exit 0 ;;
esac

readonly directory=build/sanitize-fuzz
# libFuzzer comes with clang, which is in the lint tree.
setup/tree.sh lint-tree
say fuzz "building"
setup/in-tree --lint -- cmake --log-level=WARNING -S daemon -B $directory -G Ninja \
    -DFAMFS_FUZZ=ON -DBUILD_TESTING=OFF -DCMAKE_CXX_COMPILER=clang++-19 \
    -DFAMFS_BIN_DIR="$PWD/$directory/bin" >/dev/null
setup/in-tree --lint -- ninja --quiet -C $directory fuzzers

mapfile -t built < <(find $directory -type f -perm -u+x -name '*_fuzz' | sort)
[ ${#built[@]} -gt 0 ] || die 1 fuzz "no fuzzer was built"
names=("${built[@]##*/}")
chosen=("$@")
[ $# -gt 0 ] || chosen=("${names[@]}")
for name in "${chosen[@]}"; do
    case " ${names[*]} " in
    *" $name "*) ;;
    *) die 2 fuzz "$name: no such fuzzer; there are: ${names[*]}" ;;
    esac
done

shopt -s nullglob
# What it says comes when it has ended, as others run beside it.
fuzz() { # FUZZER
    local name=${1##*/} status=0
    # What it finds goes to the first directory, and from there into the next run.
    local corpus=("build/fuzz-corpus/$name" daemon/*/"$name.corpus")
    mkdir -p "${corpus[0]}"
    setup/in-tree --lint -- env ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 "$1" \
        -max_total_time="${FUZZ_SECONDS:-20}" -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="$PWD/$directory/" "${corpus[@]}" >"$directory/$name.log" 2>&1 || status=1
    say fuzz "$name"
    cat -- "$directory/$name.log"
    return "$status"
}
# Jobs in the background do not hear of Ctrl-C.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
status=0 running=0
for fuzzer in "${built[@]}"; do
    case " ${chosen[*]} " in *" ${fuzzer##*/} "*) ;; *) continue ;; esac
    if [ "$running" -ge "$(nproc)" ]; then
        wait -n || status=1
        running=$((running - 1))
    fi
    fuzz "$fuzzer" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
[ "$status" -eq 0 ] || die 1 fuzz "something was found; the inputs are in $directory"
say fuzz "nothing found"
