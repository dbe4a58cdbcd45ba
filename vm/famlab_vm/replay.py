# SPDX-License-Identifier: Apache-2.0
"""`famlab replay`: the hosts of a fresh lab do what a schedule says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from famlab_vm.coherence import TURNSTILE, Memory
from famlab_vm.errors import UsageError
from famlab_vm.paths import DRIVER_DIRECTORY, Artifacts
from famlab_vm.progress import Progress
from famlab_vm.schedule import Outcome, Schedule
from famlab_vm.separate import in_child
from famlab_vm.state import lab_directory
from famlab_vm.terminal import show
from famlab_vm.topology import Topology
from famlab_vm.turns import turnstiles_of

# Of each command, in seconds.
_TIMEOUT = 120.0


def replay(args: argparse.Namespace) -> int:
    """Play a schedule, several times if asked to; 1 if something does not hold."""
    path = Path(args.file)
    schedule = Schedule.load(path)
    if Memory.parse(schedule.place.memory).gate != TURNSTILE:
        raise UsageError(f"{path}: its memory is {schedule.place.memory!r}, without {TURNSTILE}")
    progress = Progress()
    failures = 0
    for number in range(1, args.times + 1):
        # libvirt's embedded driver ends with its process, and each time has a lab of its own.
        complaints = in_child(lambda: _play(schedule, args, progress))
        failures += bool(complaints)
        progress.say(f"{number} of {args.times}: {'does not hold' if complaints else 'holds'}")
        for complaint in complaints:
            show(complaint)
    progress.say(f"did not hold {failures} of {args.times} times")
    return 1 if failures else 0


def _play(schedule: Schedule, args: argparse.Namespace, progress: Progress) -> list[str]:
    from famlab_vm.connection import Connection, embedded_uri
    from famlab_vm.lab import Lab, take_lock

    place = schedule.place
    with ExitStack() as stack:
        lock = stack.enter_context(take_lock(args.name, progress.say))
        directory = lab_directory(args.name)
        connection = stack.enter_context(
            Connection.open(embedded_uri(directory / DRIVER_DIRECTORY))
        )
        lab = Lab.create(
            connection, args.name, Topology.load(place.topology), hosts=place.hosts,
            dax=place.dax, artifacts=Artifacts.find(args.kernel, args.qemu),
            memory=Memory.parse(place.memory), lock=lock,
        )
        try:
            lab.up()
            hosts = {host.name: host for host in lab.hosts}

            def run(host: str, argv: Sequence[str]) -> Outcome:
                return hosts[host].run(argv, timeout=_TIMEOUT)

            schedule.make_ready(run)
            files = {name: host.description.cache_files for name, host in hosts.items()}
            with turnstiles_of(files) as turnstiles:
                return schedule.play(run, turnstiles).complaints
        finally:
            lab.down()
