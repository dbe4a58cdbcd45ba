# SPDX-License-Identifier: Apache-2.0
# bash completion of famfs and mkfs.famfs: commands and options are what --help says.

_famfs_options() { # COMMAND...
    "$@" --help 2>/dev/null | sed -n 's/^ *\(-[^ ]*\).*/\1/p' | tr , '\n' | grep -vx -- '-?'
}

_famfs() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} program
    local -a command=("${COMP_WORDS[0]}")
    program=${COMP_WORDS[0]##*/}
    COMPREPLY=()
    if [ "$program" = famfs ]; then
        if [ "$COMP_CWORD" -eq 1 ]; then
            mapfile -t COMPREPLY < <(compgen -W "$("${command[0]}" --help 2>/dev/null |
                sed -n '/^Commands:/,/^$/s/^  \([a-z]*\).*/\1/p')" -- "$word")
            return
        fi
        command+=("${COMP_WORDS[1]}")
    fi
    if [ "$previous" = -o ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${command[@]}" --help 2>/dev/null |
            sed -n '/^Mount options/,/^and/s/^  \([a-z_]*=\{0,1\}\) .*/\1/p')" -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_famfs_options "${command[@]}")" -- "$word")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _famfs famfs mkfs.famfs
