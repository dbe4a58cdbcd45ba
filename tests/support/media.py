# SPDX-License-Identifier: Apache-2.0
"""The famfs media format, written down a second time and independently of the daemon.

Tests use it to check what the daemon writes and to spoil single fields. All integers are little
endian; offsets are in bytes. Checksums are zlib's CRC-32, stored in 64 bits.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUPERBLOCK_MAGIC = 0x87B282FF
LOG_MAGIC = 0xBADCAFEF00D
LOG_OFFSET = 0x200000
DEFAULT_LOG_LENGTH = 0x800000
HEADER_SIZE = 48
ENTRY_SIZE = 544
ALLOCATION_UNIT = 0x200000

FILE, MKDIR, DELETE, ADD_DAXDEV = 0, 1, 2, 3
SIMPLE, INTERLEAVED = 0, 1


@dataclass(frozen=True)
class Field:
    offset: int
    format: str

    @property
    def size(self) -> int:
        return struct.calcsize(self.format)


# Offsets from the start of the device.
SUPERBLOCK = {
    "magic": Field(0, "<Q"),
    "version": Field(8, "<Q"),
    "log_offset": Field(16, "<Q"),
    "log_len": Field(24, "<Q"),
    "alloc_unit": Field(32, "<Q"),
    "omf_major": Field(40, "<I"),
    "omf_minor": Field(44, "<I"),
    "fs_uuid": Field(48, "16s"),
    "device_uuid": Field(64, "16s"),
    "system_uuid": Field(80, "16s"),
    "crc": Field(96, "<Q"),
    "flags": Field(104, "<I"),
    "device_size": Field(112, "<Q"),
}
# Offsets from the start of the log.
HEADER = {
    "magic": Field(0, "<Q"),
    "log_len": Field(8, "<Q"),
    "last_index": Field(16, "<Q"),
    "crc": Field(24, "<Q"),
    "next_seqnum": Field(32, "<Q"),
    "next_index": Field(40, "<Q"),
}
# Offsets from the start of a log entry; those from `size` on are a FILE's unless they say MKDIR.
ENTRY = {
    "seqnum": Field(0, "<Q"),
    "type": Field(8, "<I"),
    "size": Field(16, "<Q"),
    "flags": Field(24, "<I"),
    "uid": Field(28, "<I"),
    "gid": Field(32, "<I"),
    "mode": Field(36, "<I"),
    "path": Field(40, "80s"),
    "ext_type": Field(120, "<I"),
    "nextents": Field(128, "<I"),
    "niext": Field(128, "<I"),
    "extent.devindex": Field(136, "<Q"),
    "extent.offset": Field(144, "<Q"),
    "extent.len": Field(152, "<Q"),
    "extent1.devindex": Field(160, "<Q"),
    "extent1.offset": Field(168, "<Q"),
    "extent1.len": Field(176, "<Q"),
    "nstrips": Field(136, "<Q"),
    "chunk_size": Field(144, "<Q"),
    "strip.devindex": Field(152, "<Q"),
    "strip.offset": Field(160, "<Q"),
    "strip.len": Field(168, "<Q"),
    "strip1.devindex": Field(176, "<Q"),
    "strip1.offset": Field(184, "<Q"),
    "strip1.len": Field(192, "<Q"),
    "mkdir.uid": Field(16, "<I"),
    "mkdir.gid": Field(20, "<I"),
    "mkdir.mode": Field(24, "<I"),
    "mkdir.path": Field(28, "80s"),
    "daxdev.size": Field(16, "<Q"),
    "daxdev.uuid": Field(24, "16s"),
    "daxdev.index": Field(40, "<I"),
    "crc": Field(536, "<Q"),
}


class Medium:
    """A famfs on a plain file, field by field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR)

    def close(self) -> None:
        os.close(self._descriptor)

    def _get(self, base: int, field: Field) -> int | bytes:
        value: int | bytes
        (value,) = struct.unpack(
            field.format, os.pread(self._descriptor, field.size, base + field.offset)
        )
        return value

    def _set(self, base: int, field: Field, value: int | bytes) -> None:
        os.pwrite(self._descriptor, struct.pack(field.format, value), base + field.offset)

    def _seal(self, base: int, covered: int, crc: Field) -> None:
        """Makes a checksum right again, so that only the field itself is wrong."""
        self._set(base, crc, zlib.crc32(os.pread(self._descriptor, covered, base)))

    def superblock(self, name: str) -> int | bytes:
        return self._get(0, SUPERBLOCK[name])

    def header(self, name: str) -> int | bytes:
        return self._get(LOG_OFFSET, HEADER[name])

    def entry(self, index: int, name: str) -> int | bytes:
        return self._get(self._entry_base(index), ENTRY[name])

    @staticmethod
    def _entry_base(index: int) -> int:
        return LOG_OFFSET + HEADER_SIZE + index * ENTRY_SIZE

    def set_superblock(self, name: str, value: int | bytes) -> None:
        self._set(0, SUPERBLOCK[name], value)
        if name != "crc":
            self._seal(0, 96, SUPERBLOCK["crc"])

    def set_header(self, name: str, value: int | bytes) -> None:
        self._set(LOG_OFFSET, HEADER[name], value)
        if name != "crc":
            self._seal(LOG_OFFSET, 24, HEADER["crc"])

    def set_entry(self, index: int, name: str, value: int | bytes) -> None:
        base = self._entry_base(index)
        self._set(base, ENTRY[name], value)
        if name != "crc":
            self._seal(base, 536, ENTRY["crc"])

    def entry_count(self) -> int:
        count = self.header("next_index")
        assert isinstance(count, int)
        return count

    def append_directory(self, index: int, path: str) -> None:
        """Writes a MKDIR entry at an index; the header's counters are the caller's."""
        body = bytearray(ENTRY_SIZE - 8)
        struct.pack_into("<QI", body, 0, index, MKDIR)
        struct.pack_into("<III80s", body, 16, 0, 0, 0o755, path.encode())
        os.pwrite(
            self._descriptor,
            bytes(body) + struct.pack("<Q", zlib.crc32(body)),
            self._entry_base(index),
        )

    def append_files(self, count: int, name: str) -> None:
        """Appends that many files of one allocation unit, one after the other in space; `name`
        with a place for the number. All at once, as there may be very many."""
        first = self.entry_count()
        unit, length = self.superblock("alloc_unit"), self.superblock("log_len")
        assert isinstance(unit, int) and isinstance(length, int)
        space = -(-(LOG_OFFSET + length) // ALLOCATION_UNIT) * ALLOCATION_UNIT
        body = bytearray(ENTRY_SIZE - 8)
        entries = bytearray()
        for index in range(first, first + count):
            struct.pack_into("<QI", body, 0, index, FILE)
            path = name.format(index).encode()
            struct.pack_into("<QIIII80s", body, 16, unit, 0, 0, 0, 0o644, path)
            extent = (0, space + (index - first) * unit, unit)
            struct.pack_into("<IIIIQQQ", body, 120, SIMPLE, 0, 1, 0, *extent)
            entries += bytes(body) + struct.pack("<Q", zlib.crc32(body))
        os.pwrite(self._descriptor, entries, self._entry_base(first))
        for counter in ("next_seqnum", "next_index"):
            self.set_header(counter, first + count)

    def find(self, path: str) -> int:
        """The index of the entry that made this file or directory."""
        wanted = path.encode()
        for index in range(self.entry_count()):
            name = "mkdir.path" if self.entry(index, "type") == MKDIR else "path"
            value = self.entry(index, name)
            assert isinstance(value, bytes)
            if value.split(b"\0", 1)[0] == wanted:
                return index
        raise KeyError(path)

    def checksums_match(self) -> bool:
        """Whether every checksum of superblock, log header and used entries is right."""
        spans = [(0, 96, 96), (LOG_OFFSET, 24, 24)]
        spans += [(self._entry_base(i), 536, 536) for i in range(self.entry_count())]
        for base, covered, at in spans:
            (stored,) = struct.unpack("<Q", os.pread(self._descriptor, 8, base + at))
            if stored != zlib.crc32(os.pread(self._descriptor, covered, base)):
                return False
        return True

    def uuid(self, name: str) -> uuid.UUID:
        value = self.superblock(name)
        assert isinstance(value, bytes)
        return uuid.UUID(bytes=value)


@contextmanager
def medium(path: Path) -> Iterator[Medium]:
    opened = Medium(path)
    try:
        yield opened
    finally:
        opened.close()


def set_counters(path: Path, seqnum: int, index: int) -> None:
    """Makes the log's header say so."""
    with medium(path) as spoilt:
        spoilt.set_header("next_seqnum", seqnum)
        spoilt.set_header("next_index", index)
