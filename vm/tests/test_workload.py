# SPDX-License-Identifier: Apache-2.0
"""Contract: a workload is commands with known variables, or refused with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from famlab_vm.errors import TopologyError
from famlab_vm.workload import Workload, expand, workload_names


def load(tmp_path: Path, text: str) -> Workload:
    """Write `text` to a file and read it as a workload."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return Workload.load(path)


@pytest.mark.parametrize("name", workload_names())
def test_shipped_workloads_are_valid(name: str) -> None:
    """Every workload that comes with famlab can be loaded by its name."""
    assert Workload.load(name).name == name


def test_variables_are_filled_in(tmp_path: Path) -> None:
    """${...} becomes the guest's value; other dollars stay."""
    workload = load(
        tmp_path, 'description: x\nevery:\n  - {run: [echo, "a${dax0}b", $HOME], timeout: 5}\n'
    )
    command = workload.every[0]
    assert command.timeout == 5
    assert expand(command, {"dax0": "/dev/dax0.0"}) == ["echo", "a/dev/dax0.0b", "$HOME"]
    with pytest.raises(KeyError, match="dax0"):
        expand(command, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every: []", "description"),
        ("description: x\nfirst: [{}]", r"first\[0\].run"),
        ("description: x\nfirst: [{run: []}]", "command and its arguments"),
        ("description: x\nfirst: [{run: ['${dex0}']}]", r"\$\{dax0\}"),
        ("description: x\nfirst: [{run: [a], timeout: 0}]", "1 to 3600"),
        ("description: x\nfirst: [{run: [1]}]", "text"),
        ("description: x\nlast: []", "first, every"),
    ],
)
def test_refuses(tmp_path: Path, text: str, words: str) -> None:
    """Each mistake is refused with its place and what is allowed."""
    with pytest.raises(TopologyError, match=words):
        load(tmp_path, text)


def test_unknown_name() -> None:
    """A wrong name tells which names there are."""
    with pytest.raises(TopologyError, match="famfs"):
        Workload.load("famf")
