# SPDX-License-Identifier: Apache-2.0
"""The command tests/merge: one report of several runs, as of the shards of a suite.

Runs of the same suite, system and variables belong together: each test of the whole must have run
in exactly one of them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import history, ownership, repro, results, shard, timeline
from support.outcomes import NOT_JUDGED, Result, Verdict
from support.repeat import without_repetition
from support.verdict import Exit

# These may differ between runs that belong together.
_OF_ONE_RUN = frozenset({"SEED", "CI", "PATIENCE", "FAMLAB_CACHE"})


@dataclass
class Run:
    """A run and what it has left."""

    folder: Path
    metadata: dict[str, object]
    selection: shard.Selection
    verdict: Verdict

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Raises OSError, or ValueError or TypeError if something is damaged."""
        return cls(
            folder, repro.load(folder), shard.Selection.load(folder), Verdict.load(folder)
        )

    @property
    def label(self) -> str:
        """What it has in common with the runs that belong to it."""
        variables = self.metadata.get("variables", {})
        assert isinstance(variables, dict)
        chosen = [f"{k}={v}" for k, v in sorted(variables.items()) if k not in _OF_ONE_RUN]
        words = [str(self.metadata.get("suite")), str(self.metadata.get("system")), *chosen]
        return ", ".join(words)

    @property
    def name(self) -> str:
        """Which of them it is."""
        return f"{self.selection.number}/{self.selection.count}"


def runs_below(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a run's, else the newest of a suite, else those of all suites."""
    if (folder / shard.SELECTED).exists():
        yield folder
    elif (folder / results.LATEST).is_dir():
        yield folder / results.LATEST
    elif folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from runs_below(path)


def complaints(runs: list[Run]) -> list[str]:
    """Why runs that belong together are not one whole run."""
    found = []
    counts = {run.selection.count for run in runs}
    if len(counts) > 1:
        found.append(f"shards of different splits: {', '.join(run.name for run in runs)}")
    for count in sorted(counts):
        there = Counter(run.selection.number for run in runs if run.selection.count == count)
        lost = [f"{number}/{count}" for number in range(1, count + 1) if not there[number]]
        if lost:
            found.append(f"shards are missing: {', '.join(lost)}")
    for what in ("commit", "uncommitted"):
        values = {str(run.metadata.get(what)) for run in runs}
        if len(values) > 1:
            found.append(f"runs differ in what they tested ({what}): {', '.join(sorted(values))}")
    whole = dict.fromkeys(test for run in runs for test in run.selection.whole)
    if any(set(run.selection.whole) != set(whole) for run in runs):
        found.append("runs differ in what the whole suite is")
    selected = Counter(test for run in runs for test in run.selection.selected)
    ran = Counter(
        test for run in runs for test in {without_repetition(name) for name in run.verdict.tests}
    )
    for test in whole:
        if selected[test] > 1 or ran[test] > 1:
            found.append(f"{test}: ran {max(selected[test], ran[test])} times")
        elif not ran[test]:
            found.append(f"{test}: never ran")
    return found


def merge(runs: list[Run], target: Path) -> Verdict:
    """Puts the reports, histories and evidence of all runs into one folder."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    verdict = Verdict()
    suites = ElementTree.Element("testsuites")
    names: dict[str, Path] = {}
    for number, (label, members) in enumerate(groups.items(), 1):
        prefix = f"{label}: " if len(groups) > 1 else ""
        place = target / _slug(number, label) if len(groups) > 1 else target
        place.mkdir(exist_ok=True)
        members.sort(key=lambda run: run.selection.number)
        wrong = [f"{prefix}{line}" for line in complaints(members)]
        suites.append(_test_suite(label, members, wrong))
        verdict.obstacles += wrong
        for run in members:
            verdict.obstacles += [f"{prefix}{line}" for line in run.verdict.obstacles]
            _add_tests(verdict, run, prefix)
            _copy_evidence(run, place)
            names[f"{number}:{run.name}" if len(groups) > 1 else run.name] = run.folder
    ElementTree.ElementTree(suites).write(
        target / results.REPORT, encoding="utf-8", xml_declaration=True
    )
    (target / repro.METADATA).write_text(
        json.dumps([{"shard": run.name, **run.metadata} for run in runs], indent=1) + "\n"
    )
    history.join(names, target)
    if verdict.judge() in (Exit.FAILED, Exit.NOT_JUDGED):
        timeline.render(target)
    verdict.exit_status = int(verdict.judge())
    verdict.save(target)
    return verdict


def _add_tests(verdict: Verdict, run: Run, prefix: str) -> None:
    for test, result in run.verdict.tests.items():
        known = verdict.tests.get(f"{prefix}{test}")
        # A test that ran twice is complained of; what is worse of it counts.
        if known is None or known.outcome in ("passed", "skipped"):
            verdict.tests[f"{prefix}{test}"] = result
    for test in run.selection.selected:
        if not any(without_repetition(name) == test for name in run.verdict.tests):
            verdict.tests.setdefault(f"{prefix}{test}", Result(NOT_JUDGED, "it never ran"))


def _copy_evidence(run: Run, place: Path) -> None:
    for folder in sorted(run.folder.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            copy = place / folder.name
            while copy.exists():
                copy = copy.with_name(f"{copy.name}+")
            shutil.copytree(folder, copy, symlinks=True)


def _slug(number: int, label: str) -> str:
    return f"{number}-" + re.sub(r"[^A-Za-z0-9._=-]+", "-", label)[:100]


def _test_suite(label: str, runs: list[Run], wrong: list[str]) -> ElementTree.Element:
    """The test cases of runs that belong together, and what is wrong with these as errors."""
    suite = ElementTree.Element("testsuite", name=label)
    totals: Counter[str] = Counter()
    seconds = 0.0
    for run in runs:
        report = run.folder / results.REPORT
        for part in ElementTree.parse(report).iter("testsuite") if report.exists() else ():
            suite.extend(part.findall("testcase"))
            seconds += float(part.get("time", "0"))
            for name in ("tests", "failures", "errors", "skipped"):
                totals[name] += int(part.get(name, "0"))
    for line in wrong:
        case = ElementTree.SubElement(suite, "testcase", classname="merge", name=line)
        ElementTree.SubElement(case, "error", type="infrastructure", message=line)
        totals["tests"] += 1
        totals["errors"] += 1
    for name in ("tests", "failures", "errors", "skipped"):
        suite.set(name, str(totals[name]))
    suite.set("time", f"{seconds:.3f}")
    return suite


def _empty(target: Path) -> None:
    """Makes the folder, or removes what an earlier merge has left in it."""
    ownership.make_or_check_directory(target)
    for path in target.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ownership.MARK:
            path.unlink()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="tests/merge",
        description="""Makes one report of several runs: junit.xml, history.jsonl, verdict.json
        and the folders of all tests. RESULTS is the folder of a run, of a suite (its latest run
        counts) or of several suites, such as build/results. Runs of the same suite, system and
        variables are taken as one; a shard that is missing, or a test that ran twice or never, is
        complained of.""",
        epilog="""Exit status: 0 passed, 1 a test failed, 125 something could not be judged, a
        missing shard for example, 2 usage.""",
    )
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    runs, broken = [], []
    for given in options.results:
        found = list(runs_below(given))
        if not found:
            broken.append(f"{given}: no run has left its selection there")
        for folder in found:
            try:
                runs.append(Run.load(folder.resolve()))
            except (OSError, ValueError, TypeError) as error:
                broken.append(f"{folder}: it did not end: {error}")
    try:
        _empty(options.output)
    except ownership.NotOurs as error:
        print(f"tests/merge: {error}", file=sys.stderr)
        return Exit.USAGE
    verdict = merge(runs, options.output)
    verdict.obstacles += broken
    verdict.exit_status = int(verdict.judge())
    verdict.save(options.output)
    for line in verdict.not_judged():
        print(f"could not be judged: {line}")
    for test, result in verdict.tests.items():
        if result.outcome == "failed":
            print(f"failed: {test}: {result.reason}")
    print(f"[tests] merged {len(runs)} runs: {verdict.line()}; results: {options.output}")
    return verdict.exit_status
