# SPDX-License-Identifier: Apache-2.0
"""One guest with everything that famfs is compared with: a second dax device mapped raw, and ext4
with dax on persistent memory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.turns import Sample, turns
from famfs_verbs import Famfs
from support import guest
from vm.host import LabHost

KIBI, MEBI = 1 << 10, 1 << 20
SMALL_PAGE, LARGE_PAGE = 4 * KIBI, 2 * MEBI
# Of each file and of the part of the raw device that is used.
LENGTH = 128 * MEBI

EXT4_MOUNT = "/mnt/ext4"
FAMFS_MOUNT = "/mnt/famfs"
DRIVERS = "/sys/bus/dax/drivers"


@dataclass(frozen=True)
class Subject:
    """Something that can be measured: a name for the table, and a file or device."""

    name: str
    path: str

    def __str__(self) -> str:
        return self.name


class Rig:
    """The guest and what is in it."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        devices = host.devices()
        self.famfs_device = max(devices, key=lambda device: device.size).path
        self.raw_device = min(devices, key=lambda device: device.size).path
        self.raw = Subject("raw dax device", self.raw_device)
        self.ext4 = Subject("ext4 -o dax", f"{EXT4_MOUNT}/file")
        self._alignment = 0

    def sh(self, script: str, *arguments: str, timeout: float = 120) -> str:
        words = ["sh", "-euc", script, "sh", *arguments]
        return self.host.run(words, timeout=timeout).stdout.decode()

    def bind(self, device: str, driver: str) -> None:
        """Gives a dax device to a driver, unless that has it."""
        self.sh(
            'at=$(readlink -f "/sys/bus/dax/devices/$1/driver"); '
            '[ "${at##*/}" != "$2" ] || exit 0; '
            'echo "$1" >"$at/unbind"; '
            # fsdev_dax takes what it was told of; new_id tells it, and fails the second time.
            'echo "$1" >"$3/$2/new_id" 2>/dev/null || echo "$1" >"$3/$2/bind"; '
            '[ "$(readlink -f "/sys/bus/dax/devices/$1/driver")" = "$3/$2" ]',
            device.rpartition("/")[2], driver, DRIVERS,
        )  # fmt: skip

    def raw_with(self, alignment: int) -> Subject:
        """The raw device, whose faults are all of its alignment."""
        if alignment != self._alignment:
            self.sh(
                'at=/sys/bus/dax/devices/$1; echo "$1" >"$at/driver/unbind"; '
                'echo "$2" >"$at/align"; '
                'echo "$1" >"$3/device_dax/new_id" 2>/dev/null || echo "$1" >"$3/device_dax/bind"; '
                'test -e "$at/driver"',
                self.raw_device.rpartition("/")[2], str(alignment), DRIVERS,
            )  # fmt: skip
            self._alignment = alignment
        return self.raw

    def make_ext4(self) -> None:
        self.sh(
            # Without fsdax mode a namespace has no page structures, and ext4 no dax.
            "namespace=$(cd /sys/bus/nd/devices && echo namespace*); "
            'ndctl create-namespace --force --reconfig "$namespace" --mode fsdax --map mem >&2; '
            # The stride makes ext4 put blocks where large pages can map them.
            "device=$(echo /dev/pmem*); "
            'mkfs.ext4 -q -F -b 4096 -E stride=512,stripe_width=512 "$device"; '
            'mkdir -p "$1"; mount -o dax "$device" "$1"; grep -q "$1 ext4 .*dax" /proc/mounts; '
            'fallocate --length "$2" "$1/file"; '
            'dd if=/dev/zero of="$1/file" bs=1M conv=notrunc status=none count=$(($2 >> 20))',
            EXT4_MOUNT, str(LENGTH),
        )  # fmt: skip
        self.warm(self.ext4)

    def mount_famfs(self, method: str) -> Famfs:
        """A fresh famfs with a mapping method and the driver that this needs."""
        driver = "device_dax" if method == "daemon-served" else "fsdev_dax"
        self.bind(self.famfs_device, driver)
        options = ("-o", f"method={method}")
        famfs = Famfs(self.host, self.famfs_device, FAMFS_MOUNT, mount_options=options)
        self.host.run(["mkdir", "-p", FAMFS_MOUNT])
        famfs.mkfs()
        famfs.mount()
        return famfs

    def warm(self, subject: Subject) -> None:
        """Writes all of it once: memory that was never touched costs this machine a page."""
        self.run(subject, "fill", length=LENGTH)

    def run(self, subject: Subject, operation: str, **options: int) -> dict[str, Any]:
        """One measurement."""
        words = [guest.program("mapbench"), operation, subject.path]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        measured: dict[str, Any] = json.loads(self.host.run(words, timeout=300).stdout)
        return measured

    def drop_inodes(self) -> None:
        """Forgets files that are not open, and with them what faults have found out."""
        self.sh(
            "echo 2 >/proc/sys/vm/drop_caches; "
            # ext4 keeps a file that has DAX entries, with its large folios, until the unmount.
            'device=$(findmnt -no SOURCE "$1"); umount "$1"; mount -o dax "$device" "$1"',
            EXT4_MOUNT,
        )

    def rates(
        self, subjects: Sequence[Subject], operation: str, **options: int
    ) -> dict[Subject, Sample]:
        """Megabytes in a second."""
        samples = {subject: Sample() for subject in subjects}
        for subject in turns(subjects):
            measured = self.run(subject, operation, **options)
            rate = measured["bytes"] / measured["nanoseconds"] * 1e3
            samples[subject].values.append(rate)
        return samples

    def fault_times(
        self, subjects: Sequence[Subject], operation: str, step: int, *, anew: bool = True
    ) -> dict[Subject, Sample]:
        """Microseconds for each first touch of a mapping; `anew`: of a file since it was opened."""
        length = LENGTH if step == LARGE_PAGE else 16 * MEBI
        samples = {subject: Sample() for subject in subjects}
        for subject in turns(subjects):
            if anew:
                self.drop_inodes()
            measured = self.run(subject, operation, length=length, step=step)
            expected = length // step
            # A few more are the program's own.
            assert expected <= measured["faults"] <= expected + 16, (
                f"{subject.name}: {measured['faults']} faults instead of {expected} of {step} bytes"
            )
            samples[subject].values.append(measured["nanoseconds"] / expected / 1e3)
        return samples

    def messages(self, subject: Subject, daemon: str) -> dict[str, int]:
        """How many messages a daemon reads for a first and a later open, and for faults."""
        self.drop_inodes()
        script = (
            'log=$(mktemp); pid=$(pidof "$1"); '
            # -z: a line when a read has given something, none while it waits.
            'strace -f -qq -z -e trace=read,readv,splice -P /dev/fuse -o "$log" -p "$pid" & '
            "tracer=$!; "
            'until grep -q "^TracerPid:.*[1-9]" "/proc/$pid/status"; do sleep 0.05; done; '
            f"{shlex.quote(guest.program('mapbench'))} messages \"$2\" --log \"$log\" "
            f'--length {LENGTH} --step {LARGE_PAGE}; kill "$tracer"; wait "$tracer" || :; rm "$log"'
        )
        counted: dict[str, int] = json.loads(self.sh(script, daemon, subject.path))
        return counted
