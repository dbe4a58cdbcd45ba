#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the sources without running them. All tools come from the lint tree, so they are of the
# same version on every machine.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")/.."
# shellcheck source=setup/cache.sh
. setup/cache.sh

usage() {
    cat <<'USAGE'
usage: ci/lint.sh [CHECK...]

Runs all checks, or those that are named:
  license    every file has an SPDX line
  words      no path of the machine that the files were written on, no unresolved merge
  spelling   codespell
  shell      shellcheck
  yaml       yamllint
  python     flake8 and mypy --strict
  format     clang-format
  tidy       clang-tidy (minutes)

The tools are in build/lint-tree (make lint-tree). Exit status: 0 nothing found, 1 something found,
2 usage.
USAGE
}

readonly checks=(license words spelling shell yaml python format tidy)
in_tree=(setup/in-tree --lint --)

# Tracked files and new ones that are not ignored, without those that are deleted.
sources() { # [PATTERN...]
    git ls-files -z --cached --others --exclude-standard -- "$@" | sort -zu |
        while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done
}

shell_scripts() {
    sources ':!*.py' | xargs -0 grep -lIZE -m1 '^#!/(usr/)?bin/(env )?(bash|sh|dash)( |$)|^#!/usr/bin/busybox sh|^# shellcheck shell=' |
        sort -zu
}

# Files without a name ending that begin with a python line, beside all *.py.
python_scripts() {
    sources | xargs -0 grep -lIZE -m1 '^#!/usr/bin/python3' | sort -zu
}

check_license() {
    local missing
    # Formats that cannot carry a comment are left out.
    missing=$(sources ':!LICENSES' ':!*.json' ':!*.patch' ':!*.corpus/*' | xargs -0 grep -L 'SPDX-License-Identifier: ' || true)
    [ -z "$missing" ] || { printf 'no SPDX-License-Identifier line:\n%s\n' "$missing"; return 1; }
}

check_words() {
    local words=('^<<<<<<< ' '^>>>>>>> ' '/home/[a-z]+/') status=0
    # The place of this clone; a short one such as /src may well be meant in general.
    [ "${#PWD}" -lt 8 ] || words+=("${PWD//./\\.}")
    for word in "${words[@]}"; do
        if sources ':!ci/lint.sh' | xargs -0 grep -nIE -- "$word"; then status=1; fi
    done
    return "$status"
}

check_spelling() {
    sources ':!LICENSES' ':!*.patch' | xargs -0 "${in_tree[@]}" codespell --ignore-words-list=fo,te,inout,nd,crate,ue
}

check_shell() {
    shell_scripts | xargs -0 "${in_tree[@]}" shellcheck --external-sources
}

check_yaml() {
    sources '*.yaml' '*.yml' | xargs -0 "${in_tree[@]}" yamllint --strict \
        -d '{extends: default, rules: {document-start: disable, line-length: {max: 110}, truthy: {check-keys: false}, braces: {max-spaces-inside: 1}, brackets: {max-spaces-inside: 1}}}'
}

check_python() {
    local status=0
    { sources '*.py'; python_scripts; } | sort -zu | xargs -0 "${in_tree[@]}" flake8 \
        --max-line-length 100 --extend-ignore E203,E704,W503 || status=1
    "${in_tree[@]}" mypy --cache-dir build/mypy/vm || status=1
    # Other tests' modules may have the same names, hence a run of its own.
    "${in_tree[@]}" env MYPYPATH=tests:vm mypy --cache-dir build/mypy/tests \
        --allow-untyped-decorators tests tests/run || status=1
    return "$status"
}

check_format() {
    sources 'daemon/*.h' 'daemon/*.cpp' 'tests/guest/*.h' 'tests/guest/*.cpp' \
        'vm/noncoherent/*.h' 'vm/noncoherent/*.cpp' | xargs -0 "${in_tree[@]}" clang-format-19 --dry-run --Werror
}

check_tidy() {
    # A compilation database of its own: clang cannot read all options that gcc was given.
    "${in_tree[@]}" cmake --log-level=WARNING -S daemon -B build/lint -G Ninja \
        -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_CXX_COMPILER_LAUNCHER= \
        -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DFAMFS_FUZZ=ON >/dev/null || return 1
    # Not of tests: most of them is gtest's macros, at a quarter of all the time.
    sources 'daemon/*.cpp' ':!daemon/*_test.cpp' |
        xargs -0 "${in_tree[@]}" ci/tidy --database build/lint
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
chosen=("$@")
[ $# -gt 0 ] || chosen=("${checks[@]}")
failed=()
for check in "${chosen[@]}"; do
    case " ${checks[*]} " in *" $check "*) ;; *) usage >&2; exit 2 ;; esac
    say lint "$check"
    "check_$check" || failed+=("$check")
done
if [ "${#failed[@]}" -gt 0 ]; then
    say lint "found something: ${failed[*]}; again with: ci/lint.sh ${failed[*]}"
    exit 1
fi
say lint "nothing found"
