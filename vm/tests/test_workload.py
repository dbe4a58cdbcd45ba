# SPDX-License-Identifier: Apache-2.0
"""Contract: a workload is commands with known variables, or refused with the place.

The script that the guest's init gets is run here by init's own functions.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from famlab_vm.console import failures, stages
from famlab_vm.errors import TopologyError
from famlab_vm.workload import Workload, boot_script, workload_names

_GUEST = Path(__file__).resolve().parents[2] / "images" / "guest"
# What init has besides: no busybox, so that the same commands come from this machine.
_INIT = """\
. "$1/report.sh"
. "$1/workload.sh"
run=$2 exchange=$2
busybox=
start_agent() { stage agent; }
virtio_port() { port=$run/$1; }
now
run_workload
"""


def load(tmp_path: Path, text: str) -> Workload:
    """Write `text` to a file and read it as a workload."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return Workload.load(path)


def boot(
    tmp_path: Path, workload: Workload, host: str = "host0", fresh: bool = True,
    dax: str = "0 /dev/dax0.0 4096 device_dax region0\n",
) -> str:
    """Run what one host runs at a boot, with the dax devices given; return its console."""
    (tmp_path / "workload").write_text(boot_script(workload, host, 2, fresh).text)
    (tmp_path / "dax").write_text(dax)
    words = ["sh", "-c", _INIT, "init", str(_GUEST), str(tmp_path)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()


def names(console: str) -> list[str]:
    """The stages that the console shows, in order."""
    return [stage for stage, _ in stages(console)]


@pytest.mark.parametrize("name", workload_names())
def test_shipped_workloads_are_valid(name: str) -> None:
    """Every workload that comes with famlab can be loaded by its name."""
    assert Workload.load(name).name == name


def test_variables_are_filled_in(tmp_path: Path) -> None:
    """${...} becomes the guest's value; all other text reaches the command as it is."""
    workload = load(
        tmp_path,
        "description: x\nevery:\n  - run: [sh, -c, 'shift; printf %s, \"$@\" >\"$0\"', "
        f"'{tmp_path}/args', sh, 'a${{dax0}}b${{host}}', \"it's $HOME `id`\", '', '${{hosts}}', "
        "'a\n  b*', '\\']\n    timeout: 5\n",
    )
    console = boot(tmp_path, workload, "host1", fresh=False)
    assert failures(console) == []
    assert (tmp_path / "args").read_text() == (
        "a/dev/dax0.0bhost1,it's $HOME `id`,,2,a b*,\\,"
    )
    assert workload.every[0].timeout == 5


def test_lists_run_in_order(tmp_path: Path) -> None:
    """`first` on host0 of a fresh lab, then `every`; who waits has started the agent before."""
    log = tmp_path / "log"
    workload = load(
        tmp_path,
        f"description: x\nfirst: [{{run: [sh, -c, 'echo first >>{log}']}}]\n"
        f"every: [{{run: [sh, -c, 'echo ${{host}} >>{log}']}}]\n",
    )
    assert names(boot(tmp_path, workload)) == ["running", "first", "running", "every"]
    assert names(boot(tmp_path, workload, fresh=False)) == ["running", "every"]
    (tmp_path / "org.famlab.start").write_text("\n")
    console = boot(tmp_path, workload, "host1")
    assert names(console) == ["agent", "waiting", "running", "every"]
    assert log.read_text().split() == ["first", "host0", "host0", "host1"]
    assert boot_script(workload, "host0", 2, True).lists == ("first", "every")
    assert boot_script(workload, "host1", 2, True).lists == ("every",)
    assert boot_script(workload, "host1", 2, True).seconds == 120
    assert boot_script(workload, "host1", 2, False).seconds == 60


def test_nothing_to_run(tmp_path: Path) -> None:
    """The workload none, and hosts without a part in `first`."""
    assert boot(tmp_path, Workload("none")) == ""
    workload = load(tmp_path, "description: x\nfirst: [{run: ['true']}]\n")
    assert boot(tmp_path, workload, fresh=False) == ""


FAILING = {
    "status": ("[sh, -c, 'echo out; echo no luck >&2; exit 3']",
               "sh -c echo out; echo no luck >&2; exit 3: ended with status 3\nno luck"),
    "output": ("[sh, -c, 'echo only this; exit 1']",
               "sh -c echo only this; exit 1: ended with status 1\nonly this"),
    "killed": ("[sh, -c, 'kill -KILL $$']", "sh -c kill -KILL $$: ended with status 137"),
    "too long": ("[sleep, '60'], timeout: 1", "sleep 60: took longer than 1 s and was killed"),
    "not found": ("[no-such-program, x]", "no-such-program x: not found"),
    "dax": ("[echo, '${dax1}']",
            "echo ${dax1}: the guest has no value for dax1; it has dax0"),
}


@pytest.mark.parametrize("cause", FAILING)
def test_failure_ends_the_script(tmp_path: Path, cause: str) -> None:
    """The command's words are told, and nothing runs after it."""
    run, words = FAILING[cause]
    workload = load(
        tmp_path, f"description: x\nfirst: [{{run: {run}}}]\nevery: [{{run: [echo, never]}}]\n"
    )
    console = boot(tmp_path, workload)
    ((stage, reason),) = failures(console)
    # The shell here has a word of its own for what was killed.
    assert (stage, reason.removesuffix("\nKilled")) == ("first", words)
    assert "never" not in console
    assert "first" not in names(console)


def test_start_is_given_up(tmp_path: Path) -> None:
    """Where the word never comes, nothing runs."""
    (tmp_path / "org.famlab.start").touch()
    workload = load(
        tmp_path, "description: x\nfirst: [{run: [a]}]\nevery: [{run: [echo, never]}]\n"
    )
    console = boot(tmp_path, workload, "host1")
    assert failures(console) == [("first", "the lab's start was given up")]
    assert "never" not in console


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
