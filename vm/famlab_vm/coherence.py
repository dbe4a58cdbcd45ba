# SPDX-License-Identifier: Apache-2.0
"""Whether the hosts of a lab see each other's stores at once, or only as software makes them.

With noncoherent memory each guest has a file of its own for each device, its cache, and a plugin
of QEMU (vm/noncoherent/) moves lines between it and the device when the guest flushes. So a guest
that is killed loses what it has not written back.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from famlab_vm.errors import PrerequisiteMissing, UsageError
from famlab_vm.memory import sparse_file
from famlab_vm.paths import REPOSITORY
from famlab_vm.qemu_option import escape
from famlab_vm.topology import Topology

COHERENT = "coherent"
_KIND = "noncoherent"
PLUGIN = REPOSITORY / "build" / "noncoherent" / "noncoherent.so"

_GIBI = 1 << 30
# Where QEMU's q35 machine puts memory (hw/i386/pc.c and pc_q35.c of QEMU 11.1). The plugin and the
# tests compare it with what the guest finds.
_FOUR_GIBI = 4 * _GIBI
_MOST_LOW_MEMORY = 0xB000_0000
_LOW_MEMORY_IF_MORE = 2 * _GIBI
_WINDOW_ALIGNMENT = 256 << 20
_HOST_BRIDGE_REGISTERS = 1 << 20

_SHARED_FILE_BYTES = 64 << 10  # for the locks of a device's lines, and for a host's counters
# As struct Counters of vm/noncoherent/model/counters.h has them.
COUNTERS = (
    "fills", "commits", "write_backs", "idle_write_backs", "invalidations", "idle_invalidations",
    "refreshed", "non_temporal", "evicted", "dropped", "early", "fences", "unmapped", "forgotten",
)

_ALLOWED = (
    "coherent, or noncoherent with a policy such as noncoherent:strict,seed=7: strict or lenient, "
    "then seed=N, evict[=0..1024], shuffle, capacity=MEBIBYTES, blame, and record or turnstile"
)
RECORD = "record"
TURNSTILE = "turnstile"
BLAME = "blame"
_GATES = (RECORD, TURNSTILE)
_WORD = re.compile(
    r"seed=(\d{1,19})|evict(?:=(\d{1,4}))?|shuffle|capacity=([1-9]\d{0,5})|"
    + "|".join((BLAME, *_GATES))
)
# The sizes of structs of vm/noncoherent: LineHistory, Findings (model/blame.h), SiteTable
# (plugin/sites.h).
_LINE_BYTES = 64
_HISTORY_BYTES_OF_A_LINE = 224
_FINDINGS_BYTES = 16 + 4096 * 232
_SITES_BYTES = 16 + (1 << 16) * 480
# As struct Held of vm/noncoherent/plugin/turnstile.h has it: kinds, unused, lines.
HELD = struct.Struct("<IIQ")


@dataclass(frozen=True)
class Memory:
    """How hosts see the shared memory: `policy` of the model, empty if it is coherent. `gate`: who
    is told of each line that passes between a host and a device: RECORD writes it down
    (vm/noncoherent/plugin/recorder.h), TURNSTILE lets turns.py hold it; empty: nobody. `blame`:
    each access is watched, and findings.py tells what was wrong.
    """

    policy: str = ""
    gate: str = ""
    blame: bool = False

    @property
    def coherent(self) -> bool:
        """Whether hosts see each other's stores at once."""
        return not self.policy

    def __str__(self) -> str:
        if self.coherent:
            return COHERENT
        words = [self.policy, BLAME if self.blame else "", self.gate]
        return f"{_KIND}:{','.join(filter(None, words))}"

    @classmethod
    def parse(cls, text: str) -> Memory:
        """Read `coherent` or `noncoherent[:POLICY[,seed=N]...]`. Raises UsageError."""
        if text == COHERENT:
            return cls()
        kind, colon, policy = text.partition(":")
        words = policy.split(",") if colon else ["strict"]
        gates = [word for word in words if word in _GATES]
        if kind != _KIND or not _valid(words) or len(gates) > 1:
            raise UsageError(f"memory: found {text!r}; allowed: {_ALLOWED}")
        kept = ",".join(word for word in words if word not in (BLAME, *_GATES))
        return cls(kept, "".join(gates), BLAME in words)


def _valid(words: list[str]) -> bool:
    if words[0] not in ("strict", "lenient"):
        return False
    for word in words[1:]:
        found = _WORD.fullmatch(word)
        if found is None or int(found[2] or 0) > 1024:
            return False
    return True


def check_possible(memory: Memory, kvm: bool) -> None:
    """Raise PrerequisiteMissing if this machine cannot give hosts such memory."""
    if memory.coherent:
        return
    if kvm:
        raise PrerequisiteMissing(
            "noncoherent memory needs an emulated processor: --accelerator tcg, or --memory "
            "coherent"
        )
    if not PLUGIN.exists():
        raise PrerequisiteMissing(f"{PLUGIN} is not there; run `make noncoherent`")


def windows(topology: Topology) -> str:
    """Return where the guests of a topology find its devices, in the words of the plugin."""
    low = topology.memory
    if low >= _MOST_LOW_MEMORY:
        low = _LOW_MEMORY_IF_MORE
    end = _FOUR_GIBI + topology.memory - low
    found = []
    numbers = {device.name: number for number, device in enumerate(topology.devices)}
    if topology.fabric == "pmem":
        base = _aligned(end, _GIBI)
        for device in topology.devices:
            found.append((base, device.size, 0, [numbers[device.name]]))
            base += device.size
    else:
        base = _aligned(end + _HOST_BRIDGE_REGISTERS, _WINDOW_ALIGNMENT)
        below = {
            bridge.name: [name for port in bridge.ports for name in port.devices]
            for bridge in topology.bridges
        }
        sizes = {device.name: device.size for device in topology.devices}
        for window in topology.windows:
            if len(window.targets) > 1:
                devices = [numbers[below[target][0]] for target in window.targets]
                found.append((base, window.size, window.granularity, devices))
            else:
                start = base
                for name in below[window.targets[0]]:
                    found.append((start, sizes[name], 0, [numbers[name]]))
                    start += sizes[name]
            base += window.size
    return "+".join(
        ":".join([f"{base:#x}", f"{size:#x}", str(granularity), *map(str, devices)])
        for base, size, granularity, devices in found
    )


def _aligned(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


def lines_file(memory: Path, device: str) -> Path:
    """Return where the locks of a device's lines are, which are those of all hosts."""
    return memory / f"{device}.lines"


def history_file(memory: Path, device: str) -> Path:
    """Return where all hosts write down who stored and loaded each line of a device."""
    return memory / f"{device}.history"


def make_lines_files(topology: Topology, memory: Path, blame: bool) -> None:
    """Make what hosts share beside each device, with a lab's shared memory in `memory`."""
    for device in topology.devices:
        sparse_file(lines_file(memory, device.name), _SHARED_FILE_BYTES)
        if blame:
            size = device.size // _LINE_BYTES * _HISTORY_BYTES_OF_A_LINE
            sparse_file(history_file(memory, device.name), size)


@dataclass(frozen=True)
class CacheFiles:
    """The files of one host's caches. `memory` is the lab's directory of the shared memory."""

    memory: Path
    directory: Path
    host: str

    @property
    def configuration(self) -> Path:
        """What the plugin is told."""
        return self.directory / "noncoherent.conf"

    @property
    def counters(self) -> Path:
        """What the host's caches have done since its last start."""
        return self.directory / "noncoherent.counters"

    @property
    def reason(self) -> Path:
        """Why the plugin has ended the guest, if it has."""
        return self.directory / "noncoherent.reason"

    @property
    def record(self) -> Path:
        """What the host's stores have come to since its last start, if that is recorded."""
        return self.directory / "noncoherent.record"

    @property
    def turnstile(self) -> Path:
        """What is held of what passes between the host and the devices; beside it are the FIFOs
        of what waits and of what goes.
        """
        return self.directory / "noncoherent.turnstile"

    @property
    def turnstile_fifos(self) -> tuple[Path, Path]:
        """That of what waits, and that of what goes."""
        return Path(f"{self.turnstile}.waits"), Path(f"{self.turnstile}.goes")

    @property
    def findings(self) -> Path:
        """What the host did wrong since the lab was made, if somebody looks for blame."""
        return self.memory / f"{self.host}.findings"

    @property
    def sites(self) -> Path:
        """The places in code that findings and histories name by number."""
        return self.memory / f"{self.host}.sites"

    def cache(self, device: str) -> Path:
        """What the guest loads from and stores to in place of a device."""
        return self.memory / f"{self.host}.{device}"

    def prepare(self, topology: Topology, memory: Memory) -> None:
        """Make the files for a start of the host, with empty caches."""
        words = [f"policy={memory.policy}", f"windows={windows(topology)}"]
        words += [f"counters={self.counters}", f"reason={self.reason}"]
        for device in topology.devices:
            self.cache(device.name).unlink(missing_ok=True)
            sparse_file(self.cache(device.name), device.size)
            words += [f"cache={self.cache(device.name)}", f"device={self.memory / device.name}"]
            words += [f"lines={lines_file(self.memory, device.name)}"]
            if memory.blame:
                words += [f"history={history_file(self.memory, device.name)}"]
        if memory.blame:
            words += [f"host={int(self.host.removeprefix('host'))}"]
            for key, path, size in (
                ("findings", self.findings, _FINDINGS_BYTES), ("sites", self.sites, _SITES_BYTES),
            ):  # fmt: skip
                if not path.exists():
                    sparse_file(path, size)
                words.append(f"{key}={path}")
        self.record.unlink(missing_ok=True)
        if memory.gate == RECORD:
            sparse_file(self.record, 0)
            words.append(f"record={self.record}")
        for path in (self.turnstile, *self.turnstile_fifos):
            path.unlink(missing_ok=True)
        if memory.gate == TURNSTILE:
            sparse_file(self.turnstile, HELD.size)
            for path in self.turnstile_fifos:
                os.mkfifo(path, 0o600)
            words.append(f"turnstile={self.turnstile}")
        self.reason.unlink(missing_ok=True)
        self.counters.unlink(missing_ok=True)
        sparse_file(self.counters, _SHARED_FILE_BYTES)
        self.configuration.write_text("\n".join(words) + "\n")

    def read_counters(self) -> dict[str, int]:
        """Return what the host's caches have done; empty if it has none."""
        numbers = struct.Struct(f"<{len(COUNTERS)}Q")
        try:
            with self.counters.open("rb") as file:
                values = numbers.unpack(file.read(numbers.size))
        except OSError:
            return {}
        return dict(zip(COUNTERS, values))

    def why_ended(self) -> str:
        """Return why the plugin has ended the guest; empty if it has not."""
        try:
            return self.reason.read_text(errors="replace").strip()
        except OSError:
            return ""

    @property
    def qemu_arguments(self) -> list[str]:
        """What makes QEMU load the plugin."""
        configuration = escape(self.configuration)
        return ["-plugin", f"file={escape(PLUGIN.resolve())},configuration={configuration}"]
