# SPDX-License-Identifier: Apache-2.0
"""Gathers what became of each test, and makes of it the exit status, the summary, verdict.json.

Lives in the process that the user started; reports of pytest-xdist's workers arrive there too.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support import history, paths, repeat, skips, timeline
from support.verdict import Exit

VERDICT = "verdict.json"
# The property of a test case in junit.xml that says why it could not be judged.
PROPERTY = "infrastructure"

PASSED, FAILED, SKIPPED, NOT_JUDGED = "passed", "failed", "skipped", "not judged"
_RANK = {PASSED: 0, SKIPPED: 1, NOT_JUDGED: 2, FAILED: 3}


@dataclass
class Result:
    """What became of a test; `reason` says why if it did not pass. `seconds` of all its phases."""

    outcome: str = PASSED
    reason: str = ""
    seconds: float = 0.0


@dataclass
class Verdict:
    """What a run came to, as verdict.json keeps it."""

    tests: dict[str, Result] = field(default_factory=dict)
    # What could not be judged besides tests: files that cannot be collected, a broken runner.
    obstacles: list[str] = field(default_factory=list)
    exit_status: int = 0

    @classmethod
    def load(cls, run: Path) -> Verdict:
        """Raises OSError or ValueError if the run has left none."""
        content = json.loads((run / VERDICT).read_text())
        tests = {name: Result(**result) for name, result in content.pop("tests").items()}
        return cls(tests=tests, **content)

    def save(self, run: Path) -> None:
        (run / VERDICT).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def judge(self) -> Exit:
        """A failure outweighs what could not be judged."""
        outcomes = self.counts()
        if outcomes[FAILED]:
            return Exit.FAILED
        if outcomes[NOT_JUDGED] or self.obstacles:
            return Exit.NOT_JUDGED
        return Exit.PASSED if self.tests else Exit.NOTHING_SELECTED

    def counts(self) -> Counter[str]:
        return Counter(result.outcome for result in self.tests.values())

    def not_judged(self) -> list[str]:
        found = [
            f"{name}: {result.reason}"
            for name, result in self.tests.items()
            if result.outcome == NOT_JUDGED
        ]
        return found + self.obstacles

    def missing_features(self) -> Counter[str]:
        """How many tests were skipped for each feature."""
        return Counter(
            skips.feature(result.reason) or "unnamed"
            for result in self.tests.values()
            if result.outcome == SKIPPED
        )

    def repetitions(self) -> list[str]:
        """How often each test that ran more than once failed."""
        outcomes: dict[str, Counter[str]] = {}
        for name, result in self.tests.items():
            test = repeat.without_repetition(name)
            if test != name:
                outcomes.setdefault(test, Counter())[result.outcome] += 1
        return [
            f"{test}: failed {counts[FAILED]} of {sum(counts.values())} times"
            + (f", not judged {counts[NOT_JUDGED]} times" if counts[NOT_JUDGED] else "")
            for test, counts in outcomes.items()
        ]

    def line(self) -> str:
        """The counts in one line."""
        counts = self.counts()
        parts = [f"{counts[PASSED]} passed", f"{counts[FAILED]} failed"]
        if unknown := len(self.not_judged()):
            parts.append(f"{unknown} could not be judged")
        skipped = f"{counts[SKIPPED]} skipped"
        if missing := self.missing_features():
            named = ", ".join(f"{name} {count}" for name, count in missing.most_common())
            skipped += f" (missing feature: {named})"
        return ", ".join([*parts, skipped])


class Outcomes:
    """A pytest plug-in."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        self._selected: list[str] = []
        self._ended: set[str] = set()
        self._interrupted = False
        self._stopped = False  # by -x or the like: what has not run was not to run

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._selected = [item.nodeid for item in session.items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        self._selected = list(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            lines = report.longreprtext.strip().splitlines() or ["cannot be collected"]
            self.verdict.obstacles.append(f"{report.nodeid}: {lines[-1]}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        result = self.verdict.tests.setdefault(report.nodeid, Result())
        result.seconds = round(result.seconds + report.duration, 3)
        outcome, reason = _judge(report)
        if _RANK[outcome] > _RANK[result.outcome]:
            result.outcome, result.reason = outcome, reason
        if report.when != "setup" and report.when != "call":
            self._ended.add(report.nodeid)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest and xdist stop themselves with subclasses of it.
        self._interrupted = type(excinfo.value) is KeyboardInterrupt
        self._stopped = True

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.verdict.obstacles.append(f"the runner itself failed: {excinfo.exconly()}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        verdict = self.verdict
        started = not session.config.option.collectonly
        if started and not (self._stopped or session.shouldfail or session.shouldstop):
            for node_id in self._selected:
                result = verdict.tests.setdefault(node_id, Result())
                if node_id not in self._ended and result.outcome != FAILED:
                    result.outcome, result.reason = NOT_JUDGED, "it did not run to its end"
        # pytest: 0 passed, 1 failed, 2 interrupted, 3 internal error. Others are as they should be.
        if started and (exitstatus in (0, 1, 3) or (exitstatus == 2 and not self._interrupted)):
            session.exitstatus = verdict.judge()
        verdict.exit_status = int(session.exitstatus)
        verdict.save(paths.results_directory())
        history.merge(paths.results_directory())
        if verdict.judge() in (Exit.FAILED, Exit.NOT_JUDGED):
            timeline.render(paths.results_directory())
        report = session.config.getoption("xmlpath", None)
        if report and Path(report).exists():
            tell_apart(Path(report))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write = terminalreporter
        if obstacles := self.verdict.not_judged():
            write.section("could not be judged", red=True)
            for line in obstacles:
                write.write_line(line)
        for line in self.verdict.repetitions():
            write.write_line(line)
        if missing := self.verdict.missing_features():
            write.section("not tested")
            for feature, count in missing.most_common():
                write.write_line(f"missing feature: {feature}: {count} tests skipped")


def _judge(report: pytest.TestReport) -> tuple[str, str]:
    if report.skipped:
        if hasattr(report, "wasxfail"):
            return PASSED, ""
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return SKIPPED, why
    if report.passed:
        return PASSED, ""
    if cause := getattr(report, PROPERTY, ""):
        return NOT_JUDGED, str(cause)
    lines = report.longreprtext.strip().splitlines() or [""]
    if report.when not in ("setup", "call", "teardown"):  # from xdist, of a worker that is gone
        return NOT_JUDGED, lines[-1]
    return FAILED, lines[-1]


def tell_apart(report: Path) -> None:
    """In junit.xml a test that could not be judged is an <error type="infrastructure">."""
    tree = ElementTree.parse(report)
    for suite in tree.getroot().iter("testsuite"):
        moved = 0
        for case in suite.iter("testcase"):
            named = [one for one in case.iter("property") if one.get("name") == PROPERTY]
            for element in [*case.findall("failure"), *case.findall("error")]:
                if named or _of_lost_worker(element):
                    moved += element.tag == "failure"
                    element.tag = "error"
                    element.set("type", PROPERTY)
                    if named:
                        element.set("message", named[0].get("value", ""))
        suite.set("failures", str(int(suite.get("failures", "0")) - moved))
        suite.set("errors", str(int(suite.get("errors", "0")) + moved))
    tree.write(report, encoding="utf-8", xml_declaration=True)


def _of_lost_worker(element: ElementTree.Element) -> bool:
    return bool(re.match(r"worker '\w+' crashed while running", element.text or ""))
