# SPDX-License-Identifier: Apache-2.0
"""Reads a whole famfs image: names, owners, maps and the bytes of files.

Written from the description of the format alone and for famfs of any origin; the daemon has no part
in it. It is strict: whatever is not exactly as the format says raises Malformed.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MEBI = 1 << 20
ENTRY_SIZE = 544
LOG_AT = 2 * MEBI
# Of a further device: the reference has none yet, so what comes before its files is ours.
FURTHER_FILES_AT = 2 * MEBI
SECONDARY = 2  # a bit of the superblock's flags
HEADER = struct.Struct("<6Q")


class Malformed(Exception):
    """The image is not what the format says."""


@dataclass(frozen=True)
class Run:
    """Bytes of a device that belong together."""

    device: int
    offset: int
    length: int


@dataclass(frozen=True)
class Directory:
    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class File:
    path: str
    mode: int
    uid: int
    gid: int
    size: int
    chunk: int  # 0: the runs follow each other; else they are strips
    runs: tuple[Run, ...]

    def pieces(self) -> list[Run]:
        """Where the file's bytes are, in the order of the file."""
        found = []
        left = self.size
        if self.chunk == 0:
            for run in self.runs:
                found.append(Run(run.device, run.offset, min(left, run.length)))
                left -= found[-1].length
        row = 0
        while self.chunk and left:
            for strip in self.runs:
                length = min(left, self.chunk)
                if not length:
                    break
                if (row + 1) * self.chunk > strip.length:
                    raise Malformed(f"{self.path}: a strip ends before the file")
                found.append(Run(strip.device, strip.offset + row * self.chunk, length))
                left -= length
            row += 1
        if left:
            raise Malformed(f"{self.path}: {left} bytes have no place")
        return found


@dataclass(frozen=True)
class Device:
    """A further device, which holds files only."""

    index: int
    size: int
    uuid: uuid.UUID


Entry = Directory | File | Device


@dataclass
class Image:
    version: int
    omf: tuple[int, int]
    log_length: int
    unit: int
    fs_uuid: uuid.UUID
    device_uuid: uuid.UUID
    system_uuid: uuid.UUID
    device_size: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def files(self) -> list[File]:
        return [entry for entry in self.entries if isinstance(entry, File)]

    @property
    def directories(self) -> list[Directory]:
        return [entry for entry in self.entries if isinstance(entry, Directory)]

    @property
    def devices(self) -> list[Device]:
        """Those besides the first."""
        return [entry for entry in self.entries if isinstance(entry, Device)]

    @property
    def capacity(self) -> int:
        """Bytes of all devices."""
        return self.device_size + sum(device.size for device in self.devices)

    @property
    def used(self) -> int:
        """Bytes of superblock, log, first blocks and all runs."""
        files = sum(run.length for file in self.files for run in file.runs)
        return LOG_AT + self.log_length + len(self.devices) * FURTHER_FILES_AT + files


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Malformed(what)


def require_sum(data: bytes, stored: int, what: str) -> None:
    require(zlib.crc32(data) == stored, f"{what}: checksum {stored:#x}")


def text(data: bytes, what: str) -> str:
    name, _, rest = data.partition(b"\0")
    require(0 < len(name) < len(data) and not any(rest), f"{what}: path {data!r}")
    require(all(part not in (b"", b".", b"..") for part in name.split(b"/")), f"{what}: {name!r}")
    return name.decode()


def decode_superblock(data: bytes) -> Image:
    magic, version, log_at, log_length, unit = struct.unpack_from("<5Q", data)
    major, minor = struct.unpack_from("<2I", data, 40)
    (crc,) = struct.unpack_from("<Q", data, 96)
    (device_size,) = struct.unpack_from("<Q", data, 112)
    require(magic == 0x87B282FF, f"superblock: magic {magic:#x}")
    require_sum(data[:96], crc, "superblock")
    require((version, major, minor) in ((47, 2, 1), (48, 2, 2)), f"version {version}")
    require(log_at == LOG_AT and log_length >= 8 * MEBI, "log's place")
    require(log_length & (log_length - 1) == 0 and unit in (4096, 2 * MEBI), "lengths")
    fs, device, system = (uuid.UUID(bytes=data[at : at + 16]) for at in (48, 64, 80))
    return Image(version, (major, minor), log_length, unit, fs, device, system, device_size)


def decode_runs(data: bytes, at: int, count: int, image: Image, what: str) -> tuple[Run, ...]:
    require(1 <= count <= 16, f"{what}: {count} runs")
    runs = tuple(Run(*struct.unpack_from("<3Q", data, at + 24 * i)) for i in range(count))
    sizes = [image.device_size, *(device.size for device in image.devices)]
    for run in runs:
        require(run.device < len(sizes), f"{what}: device {run.device}")
        first = FURTHER_FILES_AT if run.device else LOG_AT + image.log_length
        require(run.offset % image.unit == 0 == run.length % image.unit, f"{what}: {run}")
        require(run.length > 0 and run.offset >= first, f"{what}: {run}")
        require(run.offset + run.length <= sizes[run.device], f"{what}: {run}")
    return runs


def decode_device(data: bytes, image: Image, what: str) -> Device:
    size, identity, index = struct.unpack_from("<Q16sI", data, 16)
    device = Device(index, size, uuid.UUID(bytes=identity))
    known = [image.device_uuid, *(other.uuid for other in image.devices)]
    require(index == len(known) and device.uuid not in known, f"{what}: {device}")
    require(not any(data[44:536]), f"{what}: bytes after the index")
    return device


def decode_entry(data: bytes, index: int, image: Image) -> Entry:
    what = f"entry {index}"
    seqnum, kind, padding = struct.unpack_from("<QII", data)
    (crc,) = struct.unpack_from("<Q", data, 536)
    require_sum(data[:536], crc, what)
    require(seqnum == index and padding == 0, f"{what}: seqnum {seqnum}")
    if kind == 1:
        uid, gid, mode = struct.unpack_from("<3I", data, 16)
        require(not any(data[108:536]), f"{what}: bytes after the path")
        return Directory(text(data[28:108], what), mode, uid, gid)
    if kind == 3:
        return decode_device(data, image, what)
    require(kind == 0, f"{what}: type {kind}")
    size, flags, uid, gid, mode = struct.unpack_from("<Q4I", data, 16)
    map_kind, _, count, _ = struct.unpack_from("<4I", data, 120)
    require(size > 0 and flags == 2, f"{what}: size {size}, flags {flags}")
    chunk = 0
    if map_kind == 1:
        require(count == 1, f"{what}: {count} interleaved extents")
        count, chunk = struct.unpack_from("<2Q", data, 136)
        require(chunk > 0 and chunk & (chunk - 1) == 0, f"{what}: chunk {chunk}")
    require(map_kind in (0, 1), f"{what}: map of kind {map_kind}")
    first = 152 if map_kind else 136
    runs = decode_runs(data, first, count, image, what)
    require(not any(data[first + 24 * count : 536]), f"{what}: bytes after the map")
    return File(text(data[40:120], what), mode, uid, gid, size, chunk, runs)


def require_consistent(image: Image) -> None:
    """Every path is new and in a directory that is there; no byte has two owners."""
    directories, names = {""}, set()
    for entry in image.entries:
        if isinstance(entry, Device):
            continue
        parent = entry.path.rpartition("/")[0]
        require(parent in directories, f"{entry.path}: no directory for it")
        require(entry.path not in names, f"{entry.path}: twice")
        names.add(entry.path)
        if isinstance(entry, Directory):
            directories.add(entry.path)
        else:
            entry.pieces()
    runs = sorted((r.device, r.offset, r.length) for f in image.files for r in f.runs)
    for (device, begin, length), (next_device, next_begin, _) in zip(runs, runs[1:]):
        apart = device != next_device or begin + length <= next_begin
        require(apart, f"two files have byte {next_begin} of device {device}")


def decode(path: Path) -> Image:
    """The image in a file; raises Malformed."""
    with path.open("rb") as medium:
        image = decode_superblock(medium.read(200))
        medium.seek(LOG_AT)
        magic, length, last, crc, seqnum, count = HEADER.unpack(medium.read(HEADER.size))
        medium.seek(LOG_AT)
        require_sum(medium.read(24), crc, "log header")
        require(magic == 0xBADCAFEF00D and length == image.log_length, "log header")
        require(last == (length - HEADER.size) // ENTRY_SIZE - 1, f"last_index {last}")
        require(seqnum == count <= last + 1, f"next_seqnum {seqnum}, next_index {count}")
        medium.seek(LOG_AT + HEADER.size)
        for index in range(count):
            image.entries.append(decode_entry(medium.read(ENTRY_SIZE), index, image))
    require(image.device_size == path.stat().st_size, f"device size {image.device_size}")
    require_consistent(image)
    return image


def require_device(medium: BinaryIO, device: Device, image: Image) -> None:
    """The first block of a further device says whose it is."""
    data = medium.read(200)
    magic, version, log_at, log_length, unit = struct.unpack_from("<5Q", data)
    crc, flags, size = struct.unpack_from("<QI4xQ", data, 96)
    require(magic == 0x87B282FF and version == image.version, f"device {device.index}: {magic:#x}")
    require_sum(data[:96], crc, f"device {device.index}")
    require((log_at, log_length, flags) == (0, 0, SECONDARY), f"device {device.index}: a log")
    require((unit, size) == (image.unit, device.size), f"device {device.index}: {unit} {size}")
    uuids = [uuid.UUID(bytes=data[at : at + 16]) for at in (48, 64, 80)]
    wanted = [image.fs_uuid, device.uuid, image.system_uuid]
    require(uuids == wanted, f"device {device.index}: {uuids}")


def sha256(media: Sequence[BinaryIO], file: File) -> str:
    """The digest of a file's bytes, taken from the devices."""
    digest = hashlib.sha256()
    for piece in file.pieces():
        media[piece.device].seek(piece.offset)
        digest.update(media[piece.device].read(piece.length))
    return digest.hexdigest()


def digests(image: Image, *paths: Path) -> dict[str, str]:
    """Of all files; `paths` are the devices in order, the first that of the image."""
    with ExitStack() as stack:
        media = [stack.enter_context(path.open("rb")) for path in paths]
        for medium, device in zip(media[1:], image.devices, strict=True):
            require_device(medium, device, image)
        return {file.path: sha256(media, file) for file in image.files}
