# SPDX-License-Identifier: Apache-2.0
"""Contract: the shards of a suite are together the whole suite, and their merged report says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from support import history, paths, shard
from support.outcomes import Verdict
from support.tests.conftest import BOTH, Run, Suite

BODY = """
import pytest
from support import history
from support.skips import missing_feature
from support.verdict import CannotJudge

@pytest.mark.parametrize("n", range(6), ids="item{}".format)
def test_x(n):
    history.note("host0", f"note {n}")
    assert n != 4 or BAD != "failed"
    if n == 3 and BAD == "not judged":
        raise CannotJudge("no lab")
    if n == 0:
        missing_feature("kunit", "not built")
"""


def shards(suite: Suite, count: int, bad: str = "", jobs: int = 1, **variables: str) -> list[Path]:
    """The folders of all shards, apart from each other."""
    folders = []
    for number in range(1, count + 1):
        body = f"BAD = {bad!r}\n{BODY}"
        chosen = {"SHARD": f"{number}/{count}", "SEED": str(number)}
        run = suite.run(body, jobs=jobs, **chosen, **variables)
        place = suite.directory / f"shard{len(list(suite.directory.glob('shard*')))}"
        shutil.copytree(run.folder, place)
        folders.append(place)
    return folders


def merged(suite: Suite, *folders: Path) -> Run:
    output = suite.directory / "merged"
    words = [str(paths.TESTS / "merge"), *map(str, folders), "-o", str(output)]
    done = subprocess.run(
        words, env=suite.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=60,
    )  # fmt: skip
    return Run(done.returncode, done.stdout.decode(), output)


@BOTH
def test_shards_are_the_whole(suite: Suite, jobs: int) -> None:
    """Three shards have each test once; the report has all, and one history in order."""
    folders = shards(suite, 3, jobs=jobs)
    run = merged(suite, *folders)
    assert run.status == 0, run.output
    assert "merged 3 runs: 5 passed, 0 failed, 1 skipped (missing feature: kunit 1)" in run.output
    assert len(run.verdict.tests) == 6
    cases = ElementTree.parse(run.folder / "junit.xml").findall(".//testcase")
    assert sorted(case.get("name", "") for case in cases) == [f"test_x[item{n}]" for n in range(6)]
    [counts] = ElementTree.parse(run.folder / "junit.xml").findall("testsuite")
    assert (counts.get("tests"), counts.get("skipped")) == ("6", "1")
    events = history.load(run.folder / history.FILE)
    assert {event["what"] for event in events if event["event"] == "note"} == {
        f"note {n}" for n in range(6)
    }
    assert {event["worker"].split()[0] for event in events[1:]} == {"1/3", "2/3", "3/3"}
    assert len(list(run.folder.glob("*test_x*"))) == 6


@pytest.mark.parametrize("bad, status", [("failed", 1), ("not judged", 125)])
def test_status_is_that_of_all(suite: Suite, bad: str, status: int) -> None:
    """As if it had been one run; a failure has its evidence beside the report."""
    run = merged(suite, *shards(suite, 2, bad))
    assert run.status == status == run.verdict.exit_status, run.output
    assert list(run.verdict.counts().elements()).count(bad) == 1
    assert (run.folder / "timeline.html").exists()
    assert list(run.folder.glob("*/failure.txt"))


def test_a_shard_is_missing(suite: Suite) -> None:
    first, second, third = shards(suite, 3)
    run = merged(suite, first, third)
    assert run.status == 125 and "shards are missing: 2/3" in run.output
    assert "test_x[item2]: never ran" in run.output and "test_x[item3]: never ran" in run.output
    assert "test_x[item1]: never ran" not in run.output
    # The same folder takes the next report.
    assert merged(suite, first, second, third).status == 0


def test_a_failure_outweighs_a_missing_shard(suite: Suite) -> None:
    folders = shards(suite, 2, "failed")
    assert merged(suite, folders[1]).status == 1


def test_a_test_ran_twice(suite: Suite) -> None:
    """The same shard again, or a whole run beside the shards."""
    folders = shards(suite, 2)
    run = merged(suite, *folders, folders[0])
    assert run.status == 125 and "test_x[item0]: ran 2 times" in run.output
    [whole] = shards(suite, 1)
    run = merged(suite, *folders, whole)
    assert run.status == 125 and "different splits" in run.output


def test_a_test_that_was_lost(suite: Suite) -> None:
    """Selected by a shard, but without a result."""
    folders = shards(suite, 2)
    verdict = Verdict.load(folders[0])
    verdict.tests.popitem()
    verdict.save(folders[0])
    run = merged(suite, *folders)
    assert run.status == 125 and "never ran" in run.output


def test_a_run_that_did_not_end(suite: Suite) -> None:
    folders = shards(suite, 2)
    (folders[1] / "verdict.json").unlink()
    run = merged(suite, *folders)
    assert run.status == 125 and "it did not end" in run.output
    run = merged(suite, folders[0], suite.directory / "nowhere")
    assert run.status == 125 and "nowhere: no run" in run.output


def test_runs_of_another_commit(suite: Suite) -> None:
    folders = shards(suite, 2)
    metadata = json.loads((folders[1] / "metadata.json").read_text())
    (folders[1] / "metadata.json").write_text(json.dumps({**metadata, "commit": "0123"}))
    run = merged(suite, *folders)
    assert run.status == 125 and "differ in what they tested (commit)" in run.output


def test_a_matrix(suite: Suite) -> None:
    """Flavours of the kernel are runs of their own, each with all tests; SEED does not count."""
    folders = shards(suite, 2) + shards(suite, 1, KERNEL_FLAVOR="debug")
    run = merged(suite, *folders)
    assert run.status == 0, run.output
    assert len(run.verdict.tests) == 12
    names = [one.get("name", "") for one in ElementTree.parse(run.folder / "junit.xml").getroot()]
    assert len(names) == 2 and sum("KERNEL_FLAVOR=debug" in name for name in names) == 1
    # A shard of one of them is missed, although the other has its tests.
    run = merged(suite, *folders[1:])
    assert run.status == 125 and "shards are missing: 1/2" in run.output


def test_folders_of_suites(suite: Suite) -> None:
    """build/results, or that of a suite: the newest run of each counts."""
    shards(suite, 1)
    shards(suite, 1)
    for folder in (suite.results, suite.directory / "all"):
        if not folder.exists():
            folder.mkdir()
            os.rename(suite.results, folder / "vm")
        run = merged(suite, folder)
        assert run.status == 0 and "merged 1 runs" in run.output


def test_output_is_not_emptied_if_it_is_somebody_s(suite: Suite) -> None:
    (suite.directory / "merged").mkdir()
    (suite.directory / "merged" / "letter").touch()
    run = merged(suite, *shards(suite, 1))
    assert run.status == 2 and (suite.directory / "merged" / "letter").exists()


def test_shard_with_an_expression(suite: Suite) -> None:
    """-k chooses before the split: together the shards have what the expression chooses."""
    folders = []
    for number in (1, 2):
        run = suite.run(f"BAD = ''\n{BODY}", "-k", "item1 or item2 or item5", SHARD=f"{number}/2")
        folders.append(run.folder.resolve())
    selections = [shard.Selection.load(folder) for folder in folders]
    assert [len(one.selected) for one in selections] == [1, 2]
    assert merged(suite, *folders).status == 0
