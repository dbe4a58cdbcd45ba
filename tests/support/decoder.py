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
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MEBI = 1 << 20
ENTRY_SIZE = 544
LOG_AT = 2 * MEBI
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

    def pieces(self) -> list[tuple[int, int]]:
        """(offset on the device, length) of the file's bytes, in the order of the file."""
        found = []
        left = self.size
        if self.chunk == 0:
            for run in self.runs:
                found.append((run.offset, min(left, run.length)))
                left -= found[-1][1]
        row = 0
        while self.chunk and left:
            for strip in self.runs:
                length = min(left, self.chunk)
                if not length:
                    break
                if (row + 1) * self.chunk > strip.length:
                    raise Malformed(f"{self.path}: a strip ends before the file")
                found.append((strip.offset + row * self.chunk, length))
                left -= length
            row += 1
        if left:
            raise Malformed(f"{self.path}: {left} bytes have no place")
        return found


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
    entries: list[Directory | File] = field(default_factory=list)

    @property
    def files(self) -> list[File]:
        return [entry for entry in self.entries if isinstance(entry, File)]

    @property
    def directories(self) -> list[Directory]:
        return [entry for entry in self.entries if isinstance(entry, Directory)]

    @property
    def used(self) -> int:
        """Bytes of superblock, log and all runs."""
        return LOG_AT + self.log_length + sum(run.length for f in self.files for run in f.runs)


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
    for run in runs:
        require(run.device == 0, f"{what}: device {run.device}")
        require(run.offset % image.unit == 0 == run.length % image.unit, f"{what}: {run}")
        require(run.length > 0 and run.offset >= LOG_AT + image.log_length, f"{what}: {run}")
        require(run.offset + run.length <= image.device_size, f"{what}: {run}")
    return runs


def decode_entry(data: bytes, index: int, image: Image) -> Directory | File:
    what = f"entry {index}"
    seqnum, kind, padding = struct.unpack_from("<QII", data)
    (crc,) = struct.unpack_from("<Q", data, 536)
    require_sum(data[:536], crc, what)
    require(seqnum == index and padding == 0, f"{what}: seqnum {seqnum}")
    if kind == 1:
        uid, gid, mode = struct.unpack_from("<3I", data, 16)
        require(not any(data[108:536]), f"{what}: bytes after the path")
        return Directory(text(data[28:108], what), mode, uid, gid)
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
        parent = entry.path.rpartition("/")[0]
        require(parent in directories, f"{entry.path}: no directory for it")
        require(entry.path not in names, f"{entry.path}: twice")
        names.add(entry.path)
        if isinstance(entry, Directory):
            directories.add(entry.path)
        else:
            entry.pieces()
    runs = sorted((r.offset, r.offset + r.length) for f in image.files for r in f.runs)
    for (_, end), (begin, _) in zip(runs, runs[1:]):
        require(end <= begin, f"two files have byte {begin}")


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


def sha256(medium: BinaryIO, file: File) -> str:
    """The digest of a file's bytes, taken from the image."""
    digest = hashlib.sha256()
    for offset, length in file.pieces():
        medium.seek(offset)
        digest.update(medium.read(length))
    return digest.hexdigest()


def digests(path: Path, image: Image) -> dict[str, str]:
    with path.open("rb") as medium:
        return {file.path: sha256(medium, file) for file in image.files}
