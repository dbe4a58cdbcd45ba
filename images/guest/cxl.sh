# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC2154  # the variables of prepare-memory and report.sh
#
# Regions of CXL memory; sourced by prepare-memory.

cxl=/sys/bus/cxl/devices

# All regions that the windows and devices allow. Windows are taken in the order of their
# addresses, so that every host gives the same numbers to the same memory.
make_regions() {
    # Returns when all probing that the discovery of ports and devices has queued is done.
    echo 1 >/sys/bus/cxl/flush
    # The driver of a region's dax devices attaches in the background when a region appears; with
    # this, it does so where create_region() asks for it, and is done when that returns.
    echo 0 >/sys/bus/cxl/drivers_autoprobe
    list_memdevs
    windows=
    for decoder in "$cxl"/decoder*; do
        get "$decoder/devtype"
        [ "$value" = cxl_decoder_root ] || continue
        get "$decoder/cap_ram"
        [ "$value" = 1 ] || continue
        get "$decoder/start"
        windows="$windows$((value)) ${decoder##*/}
"
    done
    [ -n "$windows" ] || give_up region "this machine has no CXL window for RAM"
    sort_lines "$windows"
    for decoder in $lines; do
        case $decoder in decoder*) use_window "$decoder" ;; esac
    done
    echo 1 >/sys/bus/cxl/drivers_autoprobe
}

# Sets $memdevs to `PORT:MEMDEV` for each memory device that has RAM, where PORT is the port of
# the host bridge above it. The order is that of serial numbers, which are the device's own; the
# names memN come in the order of probing. Devices without serial numbers go by bus address.
list_memdevs() {
    found=
    for endpoint in "$cxl"/endpoint*; do
        [ -e "$endpoint/uport" ] || continue
        real "$endpoint/uport"
        memdev=${value##*/}
        address=${value%/*}
        get "$endpoint/uport/ram/size"
        [ $((value)) -gt 0 ] || continue
        get "$endpoint/uport/serial"
        serial=$((value))
        # …/root0/port1/…/endpoint3: the host bridge's port is the first below the root.
        real "$endpoint"
        value=${value#*/root*/}
        found="$found$serial ${address##*/} ${value%%/*}:$memdev
"
    done
    sort_lines "$found"
    memdevs=
    for value in $lines; do
        case $value in port*:*) memdevs="$memdevs $value" ;; esac
    done
}

# The first device below each target of the window makes a region, then the second below each, and
# so on; a window with one target has a region for each device.
use_window() { # ROOT-DECODER
    ways=0
    ports=
    real "$cxl/$1"
    root=${value%/*}
    get "$cxl/$1/target_list"
    rest=$value,
    while [ -n "$rest" ]; do
        port_of_target "$1" "${rest%%,*}"
        ports="$ports $value"
        rest=${rest#*,}
        ways=$((ways + 1))
    done
    regions=0
    while take_devices; do
        # shellcheck disable=SC2086  # a list of names
        create_region "$1" $ways $taken
        regions=$((regions + 1))
    done
    [ $regions -gt 0 ] || give_up region "the window $1 has $ways targets:$ports, and memory \
devices are not below each of them: ${memdevs:-there are none}"
}

# Sets $value to the port that a target number of a window leads to.
port_of_target() { # ROOT-DECODER NUMBER
    [ -e "$root/dport$2" ] || give_up region "$1 has the target $2, and no host bridge has that number"
    real "$root/dport$2"
    bridge=$value
    for port in "$root"/port*; do
        [ -e "$port/uport" ] || continue
        real "$port/uport"
        if [ "$value" = "$bridge" ]; then
            value=${port##*/}
            return
        fi
    done
    give_up region "$1 has the target $2, and no CXL device was found below its host bridge"
}

# Sets $taken to one device for each of $ports, in their order, and takes it off $memdevs; fails,
# and takes nothing, if there is none below one of them.
take_devices() {
    taken=
    left=$memdevs
    for port in $ports; do
        chosen=
        rest=
        for value in $left; do
            if [ -z "$chosen" ] && [ "${value%:*}" = "$port" ]; then
                chosen=${value#*:}
            else
                rest="$rest $value"
            fi
        done
        [ -n "$chosen" ] || return 1
        taken="$taken $chosen"
        left=$rest
    done
    memdevs=$left
}

# Makes a region of the devices given and a dax device of the region.
#
# What `cxl create-region` does, by the same writes to sysfs; starting that tool costs more time
# than all the rest of the memory's preparation. Where a write fails, the tool is asked why.
create_region() { # ROOT-DECODER WAYS MEMDEV...
    window=$1 ways=$2 decoders=
    shift 2
    get "$cxl/$window/create_ram_region"
    region=$value
    if ! write_region "$@" 2>"$run/error"; then
        IFS= read -r value <"$run/error"
        undo_region
        give_up region "$region in $window, of $*: ${value##*: }
cxl create-region -m -t ram -d $window -w $ways $*
$(cxl create-region -m -t ram -d "$window" -w "$ways" "$@" 2>&1)
$(kernel_words)"
    fi
    stage region "$region in $window, of $*"
    echo "dax_$region" >/sys/bus/cxl/drivers_probe
    for device in "$cxl/$region/dax_$region"/dax*.*; do
        [ -e "$device/size" ] || give_up region "$region has no dax device
$(kernel_words)"
        dax_add "$device" "$region"
    done
}

# The writes that make $region of $ways devices in $window, the device for position 0 first. Each
# device gives all its RAM.
write_region() { # MEMDEV...
    get "$cxl/$1/ram/size"
    part=$((value))
    get "$cxl/$window/interleave_granularity"
    echo "$region" >"$cxl/$window/create_ram_region" &&
        echo "$ways" >"$cxl/$region/interleave_ways" &&
        echo "$value" >"$cxl/$region/interleave_granularity" &&
        echo $((part * ways)) >"$cxl/$region/size" || return 1
    position=0
    for memdev in "$@"; do
        free_decoder "$memdev" &&
            echo ram >"$cxl/$decoder/mode" &&
            echo $part >"$cxl/$decoder/dpa_size" &&
            echo "$decoder" >"$cxl/$region/target$position" || return 1
        decoders="$decoders $decoder"
        position=$((position + 1))
    done
    echo 1 >"$cxl/$region/commit" && echo "$region" >/sys/bus/cxl/drivers/cxl_region/bind
}

# Sets $decoder to the first decoder of a device that has no region.
free_decoder() { # MEMDEV
    for endpoint in "$cxl"/endpoint*; do
        real "$endpoint/uport"
        [ "${value##*/}" = "$1" ] || continue
        for decoder in "$endpoint"/decoder*; do
            get "$decoder/region"
            decoder=${decoder##*/}
            [ -n "$value" ] || return 0
        done
    done
    echo "all decoders of $1 are in use" >&2
    return 1
}

# Takes back what write_region() got done.
undo_region() {
    echo "$region" >"$cxl/$window/delete_region"
    for decoder in $decoders; do
        echo 0 >"$cxl/$decoder/dpa_size"
    done
} 2>/dev/null
