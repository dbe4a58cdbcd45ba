# SPDX-License-Identifier: Apache-2.0
"""Contract: what hosts may ask of memory, and what the plugin is told of it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from famlab_vm import coherence
from famlab_vm.coherence import (
    COUNTERS,
    CacheFiles,
    Memory,
    check_possible,
    history_file,
    lines_file,
    make_lines_files,
    windows,
)
from famlab_vm.errors import PrerequisiteMissing, UsageError
from famlab_vm.topology import Topology

GIBI = 1 << 30


def test_kinds() -> None:
    assert Memory.parse("coherent").coherent
    for text, policy in (
        ("noncoherent", "strict"),
        ("noncoherent:lenient", "lenient"),
        ("noncoherent:strict,seed=7,evict,capacity=2", "strict,seed=7,evict,capacity=2"),
    ):
        memory = Memory.parse(text)
        assert not memory.coherent and memory.policy == policy
        assert Memory.parse(str(memory)) == memory and not memory.gate
    watched = Memory.parse("noncoherent:strict,blame,seed=7,record")
    assert watched == Memory("strict,seed=7", "record", blame=True)
    assert Memory.parse(str(watched)) == watched
    for gate in ("record", "turnstile"):
        watched = Memory.parse(f"noncoherent:strict,{gate},seed=7,shuffle")
        assert watched == Memory("strict,seed=7,shuffle", gate)
        assert Memory.parse(str(watched)) == watched


@pytest.mark.parametrize(
    "text",
    [
        "", "incoherent", "coherent:strict", "noncoherent:", "noncoherent:seed=1",
        "noncoherent:strict,", "noncoherent:strict,evict=1025", "noncoherent:strict,capacity=0",
        "noncoherent:record", "noncoherent:strict\nx=y", "noncoherent:strict,seed=-1",
        "noncoherent:strict,seed=99999999999999999999", "noncoherent:strict,record,turnstile",
    ],
)
def test_what_is_not_one(text: str) -> None:
    with pytest.raises(UsageError, match="allowed: coherent, or noncoherent"):
        Memory.parse(text)


def test_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_possible(Memory(), kvm=True)
    with pytest.raises(PrerequisiteMissing, match="tcg"):
        check_possible(Memory("strict"), kvm=True)
    monkeypatch.setattr(coherence, "PLUGIN", tmp_path / "plugin.so")
    with pytest.raises(PrerequisiteMissing, match="make noncoherent"):
        check_possible(Memory("strict"), kvm=False)


@pytest.mark.parametrize(
    "topology, expected",
    [
        ("one-device", ["0x110000000:0x100000000:0:0"]),
        ("two-bridges", ["0x110000000:0x100000000:0:0", "0x210000000:0x100000000:0:1"]),
        ("interleave-2", ["0x110000000:0x200000000:4096:0:1"]),
        ("switch", ["0x110000000:0x100000000:0:0", "0x210000000:0x100000000:0:1"]),
        ("pmem", ["0x100000000:0x140000000:0:0"]),
    ],
)
def test_windows(topology: str, expected: list[str]) -> None:
    assert windows(Topology.load(topology)).split("+") == expected


def test_windows_come_after_the_guests_own_memory(tmp_path: Path) -> None:
    text = (Path(coherence.__file__).parents[1] / "topologies" / "one-device.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(f"{text}guest: {{memory: 4G}}\n")
    assert windows(Topology.load(own)).startswith(f"{4 * GIBI + 2 * GIBI + (256 << 20):#x}:")


def test_caches_are_new_at_each_start(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "host0").mkdir()
    files = CacheFiles(tmp_path / "memory", tmp_path / "host0", "host0")
    topology = Topology.load("two-bridges")
    assert files.read_counters() == {}
    for _ in range(2):
        files.prepare(topology, Memory("strict,seed=3"))
        assert files.cache("mem1").stat().st_size == topology.devices[1].size
        assert files.cache("mem1").stat().st_blocks == 0
        files.cache("mem1").write_bytes(b"x")
        files.reason.write_text("why\n")
        assert files.why_ended() == "why"
        files.counters.write_bytes(struct.pack("<2Q", 5, 7).ljust(4096, b"\0"))
        counters = files.read_counters()
        assert (counters["fills"], counters["commits"], counters["forgotten"]) == (5, 7, 0)
    told = files.configuration.read_text().splitlines()
    assert f"lines={lines_file(tmp_path / 'memory', 'mem0')}" in told
    assert not files.record.exists()
    files.prepare(topology, Memory("strict", coherence.RECORD))
    assert f"record={files.record}" in files.configuration.read_text().splitlines()
    assert files.record.stat().st_size == 0
    files.prepare(topology, Memory("strict", coherence.TURNSTILE))
    assert f"turnstile={files.turnstile}" in files.configuration.read_text().splitlines()
    assert all(path.is_fifo() for path in files.turnstile_fifos) and not files.record.exists()
    assert told[0] == "policy=strict,seed=3" and told.count(f"device={tmp_path}/memory/mem1") == 1


def test_locks_of_lines_are_there_before_the_hosts(tmp_path: Path) -> None:
    """Hosts start side by side: none of them makes what they share."""
    topology = Topology.load("two-bridges")
    make_lines_files(topology, tmp_path, blame=False)
    assert all(lines_file(tmp_path, name).stat().st_size > 4096 for name in ("mem0", "mem1"))
    assert not history_file(tmp_path, "mem0").exists()
    watched = tmp_path / "watched"
    watched.mkdir()
    make_lines_files(topology, watched, blame=True)
    size = topology.devices[0].size // 64 * 224
    assert history_file(watched, "mem0").stat().st_size == size


def test_what_was_found_outlives_a_start_of_the_host(tmp_path: Path) -> None:
    files = CacheFiles(memory=tmp_path, directory=tmp_path, host="host3")
    topology = Topology.load("one-device")
    memory = Memory.parse("noncoherent:strict,blame,seed=1")
    files.prepare(topology, memory)
    said = files.configuration.read_text().splitlines()
    assert "host=3" in said and f"findings={files.findings}" in said
    assert f"history={history_file(tmp_path, 'mem0')}" in said
    with files.findings.open("r+b") as file:
        file.write(b"found")
    files.prepare(topology, memory)
    assert files.findings.read_bytes().startswith(b"found")


def test_counters_are_those_of_the_model() -> None:
    header = Path(coherence.__file__).parents[1] / "noncoherent" / "model" / "counters.h"
    lines = [line for line in header.read_text().splitlines() if "atomic<uint64_t>" in line]
    assert [line.split()[1].partition("{")[0] for line in lines] == list(COUNTERS)
