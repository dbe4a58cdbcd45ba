# SPDX-License-Identifier: Apache-2.0
"""Contract: a failure found in one clone is run again in another, from the folder it has left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import paths, repro
from support.tests.conftest import BOTH, Run, Suite

BODY = """
import os, pytest
from support.evidence import observer

def test_first():
    observer.note_lab("lab1")

def test_other():
    observer.note_lab("lab2")

@pytest.mark.parametrize("kind", ["plain's"])
def test_fails(kind):
    observer.note_lab("lab1")
    print("seed", os.environ.get("SEED"), "in", os.getcwd())
    assert False
"""
# Stands for the tests/run of another clone: says what it was asked.
OTHER_RUN = """#!/bin/bash
echo "in $PWD"
printf 'argument %s\\n' "$@"
env | grep -E '^(SEED|FAMFS_BIN|TESTS|SHARD|JOBS)=' | sort
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another clone, as far as repro.sh can tell."""
    place = tmp_path / "another clone"
    (place / "tests").mkdir(parents=True)
    (place / "tests" / "run").write_text(OTHER_RUN)
    (place / "tests" / "run").chmod(0o755)
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    return place


def again(folder: Path, *words: str, cwd: Path, **environment: str) -> str:
    """What repro.sh says, both outputs."""
    done = subprocess.run(
        [str(folder / "repro.sh"), *words],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    return done.stdout.decode()


def failed(suite: Suite, jobs: int = 1, **variables: str) -> tuple[Run, Path]:
    run = suite.run(BODY, jobs=jobs, **variables)
    assert run.status == 1, run.output
    [folder] = run.folder.glob("*test_fails*")
    return run, folder


@BOTH
def test_metadata(suite: Suite, jobs: int) -> None:
    """Commit, variables and parameters, by name; the same in the comments of repro.sh."""
    run, folder = failed(suite, jobs, SEED="47")
    known = json.loads((folder / repro.METADATA).read_text())
    words = ["git", "-C", str(paths.REPOSITORY), "rev-parse", "HEAD"]
    head = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    if head.returncode == 0:
        assert known["commit"] == head.stdout.decode().strip()
    assert known["parameters"] == {"kind": "plain's"} and known["variables"]["SEED"] == "47"
    script = (folder / "repro.sh").read_text()
    assert f"commit:        {known['commit']}" in script and "#   kind:          plain's" in script
    assert (run.folder / repro.METADATA).exists()


def test_repeated_where_it_ran(suite: Suite) -> None:
    """It fails again, with the same variables, and the evidence of the first time stays."""
    _, folder = failed(suite, SEED="47")
    folder = folder.resolve()
    said = again(folder, cwd=Path("/"), FAMLAB_TEST_RESULTS=str(suite.results), SEED="1")
    assert "seed 47" in said and "0 passed, 1 failed" in said
    assert (folder / "failure.txt").exists()


def test_repeated_in_another_clone(
    suite: Suite, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named as an argument, by REPO=, or by being in it; what lay in the first one is its own."""
    _, folder = failed(suite, SEED="47")
    monkeypatch.setenv("FAMFS_BIN", f"{paths.REPOSITORY}/build/sanitize-x/bin")
    repro.write_test(folder, "x.py::test_x", {})
    ways: list[tuple[list[str], Path, dict[str, str]]] = [
        ([str(clone)], Path("/"), {}),
        ([], Path("/"), {"REPO": str(clone)}),
        ([], clone / "tests", {}),
    ]
    for words, cwd, variables in ways:
        said = again(folder, *words, "-x", cwd=cwd, TESTS="others", SHARD="1/2", **variables)
        assert f"in {clone}\n" in said and f"FAMFS_BIN={clone}/build/sanitize-x/bin" in said
        assert "argument x.py::test_x\nargument -x\n" in said
        assert "TESTS=" not in said and "SHARD=" not in said and "JOBS=1" in said
        assert "the test ran at" in said  # another commit
    assert "has no tests/run" in again(folder, str(suite.directory), cwd=Path("/"))


@BOTH
def test_earlier_tests(suite: Suite, clone: Path, jobs: int) -> None:
    """Those that used the same lab in the same process, in their order, before it."""
    run = suite.run(BODY, jobs=jobs)
    [folder] = run.folder.glob("*test_fails*")
    said = again(folder, "--with-earlier", str(clone), cwd=Path("/"))
    tests = [line.rpartition("::")[2] for line in said.splitlines() if "argument" in line]
    if jobs == 1:
        assert tests[1:] == ["test_first", "test_fails[plain's]"]
    assert tests[-1] == "test_fails[plain's]" and "test_other" not in tests


def test_earlier_tests_without_a_lab(suite: Suite, clone: Path) -> None:
    """All that ran in the same process: the machine is what they share."""
    run = suite.run("def test_a():\n    pass\n\ndef test_b():\n    assert False\n")
    said = again(run.evidence("test_b"), "--with-earlier", str(clone), cwd=Path("/"))
    assert said.index("::test_a") < said.index("::test_b")


def test_uncommitted_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are part of what ran: their hash is named and they are kept, new files too."""
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    words = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (repository / "file").write_text("one\n")
    subprocess.run([*words, "add", "file"], check=True)
    subprocess.run([*words, "commit", "-q", "-m", "x"], check=True)
    monkeypatch.setattr(paths, "REPOSITORY", repository)
    run = tmp_path / "run"
    run.mkdir()
    repro.write_metadata(run)
    assert repro.load(run)["uncommitted"] == "" and not (run / repro.CHANGES).exists()
    seen = set()
    for name, text in (("file", "two\n"), ("new", "three\n"), ("new", "four\n")):
        (repository / name).write_text(text)
        repro.write_metadata(run)
        seen.add(repro.load(run)["uncommitted"])
        assert f"+{text}" in (run / repro.CHANGES).read_text()
    assert len(seen) == 3
