#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Compares what the fragments ask for with what a finished kernel configuration has.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: kernel-config/check.sh CONFIG FRAGMENT...

Reports every option that a FRAGMENT sets and that CONFIG, a finished .config, has otherwise:
Kconfig drops an option silently when a dependency is missing or the name is unknown. A later
FRAGMENT overrides an earlier one.

Exit status: 0 all there, 1 some are not, 2 usage.
USAGE
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
if [ $# -lt 2 ]; then
    usage >&2
    exit 2
fi
for file; do
    [ -r "$file" ] || { printf 'check.sh: cannot read %s\n' "$file" >&2; exit 2; }
done
config=$1
shift

# An option that is off is either said to be "not set" or, if it is not even visible, missing.
awk -v config="$config" '
    function option(line,    name) {
        name = line
        sub(/^# /, "", name)
        sub(/[ =].*/, "", name)
        return name
    }
    function value(line) {
        return line ~ /^#/ ? "n" : substr(line, index(line, "=") + 1)
    }
    !/^CONFIG_[A-Za-z0-9_]+=/ && !/^# CONFIG_[A-Za-z0-9_]+ is not set$/ { next }
    FILENAME == config { got[option($0)] = value($0); next }
    {
        name = option($0)
        if (!(name in want)) order[++count] = name
        want[name] = value($0)
        from[name] = FILENAME
    }
    END {
        for (i = 1; i <= count; i++) {
            name = order[i]
            have = name in got ? got[name] : "n"
            if (have == want[name]) continue
            missing++
            sub(/.*\//, "", from[name])
            printf "%s: %s wants %s, the configuration has %s\n", name, from[name], want[name],
                (name in got ? have : "nothing (a dependency is missing, or no such option)")
        }
        if (missing) {
            printf "%d of %d options were dropped; look for their \"depends on\" in the Kconfig files\n",
                missing, count
            exit 1
        }
    }' "$config" "$@" >&2
