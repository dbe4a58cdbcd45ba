# SPDX-License-Identifier: Apache-2.0
"""Which file of a famfs, or which part of its metadata, an offset of a device belongs to."""

from __future__ import annotations

import bisect
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from famlab_vm.paths import REPOSITORY

_FAMFS = REPOSITORY / "build" / "bin" / "famfs"
# As in daemon/media/layout.h, in bytes.
_MAGIC = 0x87B282FF
_SUPERBLOCK = 200
_LOG = 2 << 20
_LOG_HEADER = 48
_LOG_ENTRY = 544


class LineOwners:
    """Of the devices of a lab, by name, with the files of their memory; the first has the log.

    Reads the log when it is asked of data first. Not thread-safe.
    """

    def __init__(self, devices: Mapping[str, Path]) -> None:
        self._devices = devices
        self._extents: list[tuple[int, int, str, int]] | None = None
        with next(iter(devices.values())).open("rb") as file:
            self._has_famfs = int.from_bytes(file.read(8), "little") == _MAGIC

    def of(self, device: str, offset: int) -> str:
        """Return in words where the 64 bytes at `offset` are; empty if nobody knows."""
        if self._has_famfs and device == next(iter(self._devices)):
            if offset < _SUPERBLOCK:
                return "the superblock"
            if offset == _LOG:
                return "the log's header and the start of entry 0"
            log_end = self._all()[0][0] if self._all() else _LOG
            if _LOG < offset < max(log_end, _LOG + (8 << 20)):
                return f"entry {(offset - _LOG - _LOG_HEADER) // _LOG_ENTRY} of the log"
            found = bisect.bisect(self._all(), (offset, 1 << 63, "", 0)) - 1
            if found >= 0:
                start, length, name, inside = self._all()[found]
                if offset < start + length:
                    return f"file {name}, offset {inside + offset - start:#x}"
        return ""

    def _all(self) -> list[tuple[int, int, str, int]]:
        """Offset, length, name and offset inside of the file, in order of the first."""
        if self._extents is None:
            self._extents = sorted(self._read())
        return self._extents

    def _read(self) -> list[tuple[int, int, str, int]]:
        """What the daemon's own reader of logs says of files on the first device."""
        found: list[tuple[int, int, str, int]] = []
        if not _FAMFS.exists():  # `make` has not been run: files have no names
            return found
        with tempfile.TemporaryDirectory(prefix="famlab-") as name:
            path = next(iter(self._devices.values()))
            words = [str(_FAMFS), "logplay", "--shadow", name, "--daxdev", str(path.resolve())]
            subprocess.run(words, capture_output=True, check=False)  # as much as can be read
            for file in Path(name).rglob("*"):
                if file.is_file():
                    found += _extents(str(file.relative_to(name)), file.read_text())
        return found


def _extents(name: str, text: str) -> list[tuple[int, int, str, int]]:
    """Of a file that is not interleaved, as the shadow tree has it."""
    found = []
    inside = 0
    described = yaml.safe_load(text)
    for extent in described["file"].get("simple_ext_list", []):
        if extent["devindex"] != 0:
            continue
        offset, length = int(extent["offset"]), int(extent["length"])
        found.append((offset, length, name, inside))
        inside += length
    return found
