# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC2154,SC2086  # the variables of init and report.sh
#
# What the lab wants done at this boot: the host leaves a script of the functions below, joined by
# &&, as `workload` in the exchange directory. Sourced by init.

# Sets $dax0, $dax1... to the paths of the dax devices and runs the script, if there are both.
run_workload() {
    [ -e $exchange/workload ] && [ -e $run/dax ] || return 0
    devices=
    # shellcheck disable=SC2034  # path is read by eval
    while read -r index path _; do
        eval "dax$index=\$path"
        devices="$devices dax$index"
    done <$run/dax
    # The function that failed has said so.
    # shellcheck source=/dev/null
    . $exchange/workload || :
}

# Fails unless the guest has a dax device of that number.
need_dax() { # LIST NUMBER COMMAND
    eval "value=\${dax$2-}"
    [ -n "$value" ] && return
    failed "$1" "$3: the guest has no value for dax$2; it has$devices"
    return 1
}

# Runs a command to its end. What it says is told only if it fails.
command_of() { # LIST SECONDS COMMAND [ARG...]
    list=$1 limit=$2
    shift 2
    stage running "$*"
    began=${up%.*}
    find_program "$1" || {
        failed "$list" "$*: not found"
        return 1
    }
    name=$*
    shift
    $busybox timeout -s KILL "$limit" "$program" "$@" </dev/null >$run/out 2>$run/err && return
    status=$?
    now
    how="ended with status $status"
    [ $status -eq 137 ] && [ $((${up%.*} - began)) -ge "$limit" ] &&
        how="took longer than $limit s and was killed"
    said=$run/err
    [ -s $said ] || said=$run/out
    said=$($busybox tail -n 50 $said)
    failed "$list" "$name: $how${said:+
$said}"
    return 1
}

# Sets $program to the path of a program; by its name alone busybox would take one of its own.
find_program() { # NAME
    case $1 in
    */*)
        program=$1
        return
        ;;
    esac
    rest=$PATH:
    while [ -n "$rest" ]; do
        program=${rest%%:*}/$1
        [ -f "$program" ] && [ -x "$program" ] && return
        rest=${rest#*:}
    done
    return 1
}

# Tells that a list of commands is done; with the first list, other hosts wait for it.
done_with() { # LIST
    stage "$1" "done"
}

# Waits until the host says that host0 has done the first list: time that the agent can have.
wait_for_first() {
    start_agent
    stage waiting "for host0"
    if ! virtio_port org.famlab.start; then
        failed first "no virtio port has the name org.famlab.start"
        return 1
    fi
    # Nothing comes if the lab's start is given up.
    # shellcheck disable=SC2034  # that a line comes is enough
    IFS= read -r word <"$port" && return
    failed first "the lab's start was given up"
    return 1
}
