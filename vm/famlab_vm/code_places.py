# SPDX-License-Identifier: Apache-2.0
"""Places in the code of guests: from sites that the plugin wrote down to functions and lines."""

from __future__ import annotations

import re
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from famlab_vm.paths import REPOSITORY

# As SiteEntry and Frame of vm/noncoherent/plugin/sites.h.
SITE = struct.Struct("<20sIQQQ")
FRAME = struct.Struct("<QQ20sxxxx32s")
FRAMES = 6
SITE_BYTES = SITE.size + FRAMES * FRAME.size

_KERNEL = 1 << 63
_NO_FILE = bytes(20)
# Where files that guests execute are on this machine, those with symbols first.
_DIRECTORIES = (
    REPOSITORY / "build" / "guest" / "bin",
    REPOSITORY / "build" / "guest" / "tests",
    REPOSITORY / "build" / "tree" / "root" / "usr" / "lib" / "x86_64-linux-gnu",
    REPOSITORY / "build" / "tree" / "root" / "usr" / "bin",
)
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_NOTE, _PF_X = 1, 4, 1
_PAGE = 4096
_TELLING = 16  # bytes of code that are enough to know it
_MOST_NOTES = 4096
# Of a path of source, what comes before the part that a reader knows.
_SHOWN_CALLERS = 4
_STANDARD_LIBRARY = "/usr/include/c++/"
_IN_REPOSITORY = re.compile(r".*/(?=(daemon|tests|vm)/)")


@dataclass(frozen=True)
class Frame:
    """A function that was being executed. `line`: FILE:LINE, empty if it is not known."""

    function: str
    line: str

    def __str__(self) -> str:
        return f"{self.function} ({self.line})" if self.line else self.function


@dataclass(frozen=True)
class Place:
    """Where a processor was: innermost function first. Callers are what the stack looks like."""

    program: str = ""
    frames: tuple[Frame, ...] = ()

    @property
    def line(self) -> str:
        """The innermost frame in one line."""
        return str(self.frames[0]) if self.frames else "not known"

    def __str__(self) -> str:
        if not self.frames:
            return "a place that is not known"
        callers = [frame for frame in dict.fromkeys(self.frames[1:]) if "+0x" not in frame.function]
        called = "".join(f", from {frame}" for frame in callers[:_SHOWN_CALLERS])
        return f"{self.program}: {self.frames[0]}{called}"


NOWHERE = Place()


class Symbols:
    """Looks up places; each file is asked once for all of its addresses. Not thread-safe."""

    def __init__(self, kernel: Path | None, programs: Iterable[Path] = ()) -> None:
        """`programs`: directories of what guests execute, beside what famlab has made."""
        self._kernel = kernel
        self._directories = (*programs, *_DIRECTORIES)
        self._frames: dict[bytes, tuple[Path | None, tuple[Frame, ...]]] = {}

    def look_up(self, sites: Iterable[bytes]) -> None:
        """Ask for all places of the sites, each SITE_BYTES or nothing."""
        wanted: dict[Path, dict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        for raw in {raw for site in set(sites) for raw in _frames_of(site)} - self._frames.keys():
            path, address = self._file_of(raw)
            name = path.name if path else "unknown file"
            self._frames[raw] = path, (Frame(f"{name}+{address:#x}", ""),)
            if path is not None:
                wanted[path][address].append(raw)
        for path, addresses in wanted.items():
            for address, frames in _ask(path, sorted(addresses), path == self._kernel):
                for raw in addresses[address]:
                    self._frames[raw] = path, frames

    def place(self, site: bytes) -> Place:
        """Return the place of a site that look_up() was told of."""
        if not site:
            return NOWHERE
        found = [self._frames[raw] for raw in _frames_of(site)]
        program = self._files.get(SITE.unpack_from(site)[0])
        # A child has its parent's mappings, but not the page of the header in them.
        paths = [program, *(path for path, _ in found)]
        names = [path.name for path in paths if path is not None and path in self._programs]
        return Place(
            names[0] if names else "kernel or unknown program",
            tuple(frame for _, frames in found for frame in frames),
        )

    def _file_of(self, raw: bytes) -> tuple[Path | None, int]:
        """The file, and the address as it has it."""
        address, offset, file, code = _FRAME.unpack(raw)
        if address >= _KERNEL:
            return self._kernel, address
        if file != _NO_FILE:
            return self._files.get(file), offset
        return self._by_code(address, code)

    def _by_code(self, address: int, code: bytes) -> tuple[Path | None, int]:
        """The only file that has this code at such a place of a page."""
        found = [
            (path, at)
            for path in self._programs if len(code.strip(b"\0")) >= _TELLING
            for at in _places_of(path, address % _PAGE, code)
        ]  # fmt: skip
        return found[0] if len(found) == 1 else (None, address)

    @cached_property
    def _files(self) -> dict[bytes, Path]:
        found: dict[bytes, Path] = {}
        for directory in self._directories:
            for path in sorted(directory.rglob("*")):
                if path.is_file() and not path.is_symlink() and (number := build_id(path)):
                    found.setdefault(number, path)
        return found

    @cached_property
    def _programs(self) -> list[Path]:
        return [path for path in self._files.values() if ".so" not in path.name]


_FRAME = struct.Struct("<QQ20s32s")


def _frames_of(site: bytes) -> Iterator[bytes]:
    """Address, offset, file and code of each; of a caller, inside of the call."""
    if not site:
        return
    _program, count, *_rest = SITE.unpack_from(site)
    for number in range(min(count, FRAMES)):
        back = 1 if number else 0
        address, offset, file, code = FRAME.unpack_from(site, SITE.size + number * FRAME.size)
        yield _FRAME.pack(address - back, offset - back, file, code)


def _places_of(path: Path, inside: int, code: bytes) -> Iterator[int]:
    """Where an ELF file has code at this offset of a page."""
    data = path.read_bytes()
    for kind, flags, offset, address, _physical, size, *_rest in segments(data):
        if kind == _PT_LOAD and flags & _PF_X:
            first = offset - offset % _PAGE + inside
            for at in range(first, offset + size - len(code), _PAGE):
                if data.startswith(code, at):
                    yield at - offset + address


def _ask(
    path: Path, addresses: list[int], complete: bool
) -> Iterator[tuple[int, tuple[Frame, ...]]]:
    """What binutils says of addresses of a file: for each the functions, inlined ones first.
    `complete`: the file has the names of all of its functions.
    """
    inside = "/usr/local/file"
    words = [str(REPOSITORY / "setup" / "in-tree"), "--ro", f"{path.resolve()}:{inside}", "--"]
    words += ["addr2line", "-a", "-f", "-C", "-i", "-e", inside]
    text = "".join(f"{address:#x}\n" for address in addresses)
    done = subprocess.run(
        words, input=text, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    for block in re.split(r"^(?=0x)", done.stdout, flags=re.MULTILINE)[1:]:
        number, *lines = block.splitlines()
        address = int(number, 16)
        frames = tuple(
            Frame(short_name(function), _shortened(line))
            for function, line in zip(lines[::2], lines[1::2])
            if not line.startswith(_STANDARD_LIBRARY)
        )
        # Without lines, the nearest name of a library is that of another function as a rule.
        if frames and frames[0].function != "??" and (complete or frames[0].line):
            yield address, frames


def short_name(function: str) -> str:
    """Return the name without types, and without what the compiler did to it."""
    call = "operator()"
    kept, depth = "", 0
    for character in function.replace("(anonymous namespace)::", "").replace(call, "operator"):
        depth -= character in ">)}"
        if depth == 0 and character not in "<({>)}":
            kept += character
        depth += character in "<({"
    words = re.sub(r"\[.*|\bconst$", "", kept.strip()).split()
    return words[-1].replace("operator", call) if words else function


def _shortened(line: str) -> str:
    """FILE:LINE without what is the same of all files; empty if it is not known."""
    file, _, number = line.split(" ")[0].rpartition(":")
    if file in ("", "??") or not number.isdigit():
        return ""
    return f"{_IN_REPOSITORY.sub('', file)}:{number}"


def build_id(path: Path) -> bytes:
    """Return the build ID of an ELF file of 64 bits; nothing if it has none."""
    try:
        with path.open("rb") as file:
            data = file.read(_PAGE)
            for kind, _flags, offset, _address, _physical, size, *_rest in segments(data):
                if kind == _PT_NOTE:
                    file.seek(offset)
                    if found := _build_id_in(file.read(min(size, _MOST_NOTES))):
                        return found
    except OSError:
        return b""
    return b""


def segments(data: bytes) -> Iterator[tuple[int, ...]]:
    """Yield the program headers of an ELF file of 64 bits, as they are; nothing if it is none."""
    if len(data) < _ELF_HEADER.size or data[:5] != b"\x7fELF\x02":
        return
    fields = _ELF_HEADER.unpack_from(data)
    start, count = fields[5], fields[10]
    for at in range(start, start + count * _SEGMENT.size, _SEGMENT.size):
        if at + _SEGMENT.size <= len(data):
            yield _SEGMENT.unpack_from(data, at)


def _build_id_in(notes: bytes) -> bytes:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name_size + 3) // 4 * 4
        if kind == 3 and notes[at + 12 : at + 16] == b"GNU\0" and size == len(_NO_FILE):
            return notes[start : start + size]
        at = start + (size + 3) // 4 * 4
    return b""
