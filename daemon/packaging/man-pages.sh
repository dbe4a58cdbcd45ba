#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: man-pages.sh PROGRAMS DIRECTORY
#
# Writes a manual page, compressed, for each program in PROGRAMS and each command of famfs, from what
# their --help says, into DIRECTORY/man1 and DIRECTORY/man8, and famfs(7) into man7.
set -euo pipefail

programs=$1
directory=$2
version=$("$programs/famfs" --version)
version=${version#famfs }
# Everything else changes or needs a whole system, and is for its administrator.
readonly user_commands=' creat cp mkdir verify flush getmap '

page() { # NAME SECTION SUMMARY PROGRAM HELP-OPTION
    local file=$directory/man$2/$1.$2
    help2man --no-info --section="$2" --name="$3" --manual=famfs --source="famfs $version" \
        --version-string="$1 $version" --help-option="$5" --output="$file" "$4"
    gzip -9nf "$file"
}

rm -rf -- "$directory"
mkdir -p -- "$directory/man1" "$directory/man7" "$directory/man8"
gzip -9nc "$(dirname -- "$(readlink -f -- "$0")")/famfs.7" >"$directory/man7/famfs.7.gz"
page famfs 1 'file system in memory that several hosts share' "$programs/famfs" --help
page mkfs.famfs 8 'make a famfs' "$programs/mkfs.famfs" --help
page mount.famfs 8 'mount a famfs for mount(8)' "$programs/mount.famfs" --help
page famfsd 8 'serve one famfs mount' "$programs/famfsd" --help
page pcq 1 'send messages from one host to another through a famfs' "$programs/pcq" --help
while read -r command summary; do
    section=8
    [[ $user_commands != *" $command "* ]] || section=1
    page "famfs-$command" "$section" "$summary" "$programs/famfs" "$command --help"
done < <("$programs/famfs" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\)/\1/p')
