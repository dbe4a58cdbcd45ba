# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC2034  # the variables are for those who source this
#
# What the guest tells the outside, on the console and in /run/famlab; sourced.

run=/run/famlab
exchange=$run/exchange

# Sets $up to the seconds since boot.
now() {
    read -r up _ </proc/uptime
}

stage() { # NAME TEXT
    now
    echo "famlab: $1: $2 (at $up s)"
}

failed() { # NAME REASON (of one or several lines)
    echo "$2" | while IFS= read -r line; do
        echo "famlab: failed: $1: $line"
        echo "$1: $line" >>$run/failed
    done
}

# Sets $value to the first line of a file of /sys or /proc, empty if there is none.
get() { # FILE
    value=
    [ -e "$1" ] && IFS= read -r value <"$1"
}

# Sets $value to the directory that a link leads to, with no link left in it.
real() { # DIRECTORY
    cd -P "$1" && value=$PWD
}

# Sets $lines to the lines given, sorted by their leading number; one line needs no sort(1).
sort_lines() { # LINES
    lines=$1
    case $1 in *?"
"?*) lines=$(echo "$1" | sort -k 1,1n -k 2) ;; esac
}

# The kernel's last words about memory, for a failure that has no words of its own.
kernel_words() {
    dmesg | grep -iE 'cxl|dax|nvdimm|pmem|memremap' |
        grep -vE 'Command line|Modules linked|Comm:|RIP:' | tail -n 4
}
