# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash disable=SC2154  # the variables of prepare-memory and report.sh
#
# Dax devices: bind them to the driver wanted and list them; sourced by prepare-memory, which sets
# $dax_mode.

dax_drivers=/sys/bus/dax/drivers
dax_count=0

give_up() { # STAGE REASON
    failed "$1" "$2"
    exit 1
}

# Until dax_end() no driver takes new devices by itself: device_dax would, and giving a device from
# one driver to another means building the page structures of all its memory twice.
dax_begin() {
    [ -d "$dax_drivers/$dax_mode" ] || give_up dax "this kernel has no driver $dax_mode"
    echo 0 >/sys/bus/dax/drivers_autoprobe
    : >"$run/dax.new"
}

# Binds a dax device and adds it to the list.
dax_add() { # SYSFS-DIRECTORY REGION
    dax=${1##*/}
    # Persistent memory's devices are there since before init: given up by the driver they have.
    if [ -e "$1/driver" ]; then
        real "$1/driver"
        [ "$value" = "$dax_drivers/$dax_mode" ] || echo "$dax" >"$value/unbind"
    fi
    if [ ! -e "$1/driver" ]; then
        # new_id, not bind: the driver for file systems takes only devices that it was told of.
        echo "$dax" >"$dax_drivers/$dax_mode/new_id"
    fi
    [ -e "$1/driver" ] || give_up dax "$dax on $2 is not accepted by the driver $dax_mode:
$(kernel_words)"
    get "$1/size"
    echo "$dax_count /dev/$dax $value $dax_mode $2" >>"$run/dax.new"
    dax_count=$((dax_count + 1))
    stage dax "/dev/$dax, $((value >> 20)) MiB, $dax_mode, on $2"
}

# The list appears only when it is complete.
dax_end() {
    [ $dax_count -gt 0 ] || give_up region "there is no shared memory"
    echo 1 >/sys/bus/dax/drivers_autoprobe
    mv "$run/dax.new" "$run/dax"
}
