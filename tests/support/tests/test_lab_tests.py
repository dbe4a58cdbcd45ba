# SPDX-License-Identifier: Apache-2.0
"""Contract: a test of the lab that passed is left out while the lab is the same, and only then."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from famlab_vm import Artifacts
from support import paths
from vm import lab_tests

MARKED = "import pytest\npytestmark = pytest.mark.of_the_lab\n"
ONE, TWO = "vm/test_lab.py::test_one", "vm/test_lab.py::test_two"


@dataclass
class Terminal:
    """What a run reports: (node id, phase, of the lab) of what passed; node ids of what failed."""

    passed: list[tuple[str, str, bool]]
    failed: list[str] = field(default_factory=list)

    def getreports(self, kind: str) -> list[SimpleNamespace]:
        if kind == "passed":
            return [
                SimpleNamespace(nodeid=name, when=when, keywords={lab_tests.MARK: 1} if lab else {})
                for name, when, lab in self.passed
            ]
        return [SimpleNamespace(nodeid=name) for name in self.failed if kind == "failed"]


def run(passed: list[str], failed: list[str] | None = None) -> None:
    """Another run, which looks at the lab anew."""
    lab_tests._same_lab.cache_clear()
    lab_tests.passed()
    reports = [(name, when, True) for name in passed for when in ("setup", "call", "teardown")]
    lab_tests.note(Terminal(reports, failed or []))
    lab_tests._same_lab.cache_clear()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a file of each sort."""
    for name in ("vm/lab.py", "images/init", "setup/tree.sh", "tests/vm/host.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "tests/vm/test_lab.py").write_text(MARKED)
    (tmp_path / "tests/vm/test_files.py").write_text("import pytest\n")
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    monkeypatch.setattr(lab_tests, "_PASSED", tmp_path / "passed")
    monkeypatch.setattr(Artifacts, "find", lambda: SimpleNamespace(qemu=tmp_path / "qemu"))
    monkeypatch.delenv("REPEAT", raising=False)
    return tmp_path


def test_what_passed_is_left_out(repository: Path) -> None:
    assert not lab_tests.passed() and not lab_tests.described()
    run([ONE])
    assert lab_tests.passed() == {ONE}
    run([TWO])
    assert lab_tests.passed() == {ONE, TWO}
    items = [SimpleNamespace(nodeid=name) for name in (ONE, "vm/test_files.py::test_it", TWO)]
    assert lab_tests.not_again(items) == [items[1]]  # type: ignore[arg-type]
    assert "2 tests" in lab_tests.described()[0]


def test_what_failed_in_any_phase_is_not(repository: Path) -> None:
    run([ONE, TWO], failed=[ONE])
    assert lab_tests.passed() == {TWO}
    run([], failed=[TWO])
    assert not lab_tests.passed()


def test_others_are_not_kept(repository: Path) -> None:
    lab_tests._same_lab.cache_clear()
    lab_tests.note(Terminal([("vm/test_files.py::test_it", "call", False), (ONE, "setup", True)]))
    assert not lab_tests.passed()


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ("vm/lab.py", False),
        ("images/init", False),
        ("setup/tree.sh", False),
        ("tests/vm/host.py", False),
        ("tests/vm/test_lab.py", False),
        ("tests/vm/test_files.py", True),
        ("tests/host/test_cp.py", True),
        ("tests/README.md", True),
        ("daemon/fuse.cpp", True),
    ],
)
def test_another_lab(repository: Path, file: str, same: bool) -> None:
    run([ONE])
    (repository / file).parent.mkdir(parents=True, exist_ok=True)
    (repository / file).write_text(MARKED + "changed\n" if "test_lab" in file else "changed\n")
    lab_tests._same_lab.cache_clear()
    assert (lab_tests.passed() == {ONE}) == same


@pytest.mark.parametrize("name", ["MEMORY", "FAMFS_BIN"])
def test_another_kind_of_lab(
    repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run([ONE])
    monkeypatch.setenv(name, "other")
    assert not lab_tests.passed()


def test_a_lab_that_changes_while_tests_run(repository: Path) -> None:
    """What passed is of the files that were there before."""
    lab_tests._same_lab.cache_clear()
    lab_tests.passed()
    (repository / "vm/lab.py").write_text("changed")
    lab_tests.note(Terminal([(ONE, "call", True)]))
    lab_tests._same_lab.cache_clear()
    assert not lab_tests.passed()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no JSON"])
def test_a_bad_record_is_none(repository: Path, text: str) -> None:
    (repository / "passed").write_text(text)
    assert not lab_tests.passed()
