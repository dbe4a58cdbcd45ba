# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC2154  # the variables of prepare-memory and report.sh
#
# Dax devices of persistent memory (NVDIMMs without label area); sourced by prepare-memory, which
# sets $lab.
#
# A region becomes a dax device by an information block in its first pages, which is shared memory:
# every host must write the same bytes there. They are determined by the size, the alignment and a
# UUID, so hosts that boot at the same time write the same block, and a host that boots later finds
# it. The page structures are kept in the guest's own memory (mode ram): in the shared memory, each
# kernel would overwrite those of the others.
#
# ndctl is not used for this: for a namespace without labels it ignores the UUID it is given.

devices=/sys/bus/nd/devices
dax_align=2097152

make_regions() {
    regions=
    for bus in "$devices"/ndbus*; do
        [ -e "$bus" ] || continue
        # Reading it returns when all probing on this bus is done.
        get "$bus/wait_probe"
    done
    for region in "$devices"/region*; do
        get "$region/devtype"
        [ "$value" = nd_pmem ] || continue
        get "$region/resource"
        regions="$regions$((value)) ${region##*/}
"
    done
    [ -n "$regions" ] || give_up region "this machine has no persistent memory"
    sort_lines "$regions"
    number=0
    for region in $lines; do
        case $region in
        region*)
            use_region "$region" $number
            number=$((number + 1))
            ;;
        esac
    done
}

use_region() { # REGION NUMBER
    if ! find_dax "$1"; then
        make_namespace "$1" "$2"
        find_dax "$1" || give_up region "$1 has no dax device although its namespace was made:
$(kernel_words)"
    fi
    stage region "$1, dax device at ${device#"$devices/"}"
    dax_add "$device" "$1"
}

# Sets $device to the dax device of a region, if it has one.
find_dax() { # REGION
    for device in "$devices/$1"/dax*/dax*.*/size; do
        device=${device%/size}
        [ -e "$device/size" ] && return 0
    done
    return 1
}

# Writes the information block that makes a region one dax device.
make_namespace() { # REGION NUMBER
    [ ${#lab} -eq 36 ] || give_up region "famlab.lab=$lab on the kernel command line is not a UUID; \
it must be the same on all hosts of a lab"
    namespace=
    for device in "$devices/$1"/namespace*; do
        get "$device/size"
        [ "${value:-0}" -gt 0 ] && namespace=${device##*/} && break
    done
    [ -n "$namespace" ] || give_up region "$1 has no namespace with a size; an NVDIMM with a label \
area is not supported, leave out label-size"
    if [ -e "$devices/$namespace/driver" ]; then
        echo "$namespace" >"$devices/$namespace/driver/unbind"
    fi
    get "$devices/$1/dax_seed"
    seed=$devices/$value
    # The last two digits tell the regions of a lab apart.
    if ! { echo ram >"$seed/mode" && echo $dax_align >"$seed/align" &&
        printf '%s%02x\n' "${lab%??}" "$2" >"$seed/uuid" && echo "$namespace" >"$seed/namespace" &&
        echo "${seed##*/}" >/sys/bus/nd/drivers/dax_pmem/bind; } 2>"$run/error"; then
        give_up region "$1: no dax device on $namespace: $(cat "$run/error")
$(kernel_words)"
    fi
}
