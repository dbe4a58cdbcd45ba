# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: they measure and judge nothing; the only failure is that something did not work.

A file is a suite (`make bench SUITE=lab` runs test_lab.py). Each figure goes to the table that is
printed last and to build/results/bench/latest/SUITE.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import paths


@dataclass
class Figure:
    """One result. `base` names the figure that this one is compared with."""

    name: str
    value: float
    unit: str
    base: str = ""
    ratio: float | None = None
    aim: str = ""  # ">= 0.97", of the ratio, or of the value where there is none
    spread: float | None = None  # half of highest minus lowest, in parts of the value

    def verdict(self) -> str:
        """Whether the aim is met. Nothing fails because of it."""
        if not self.aim:
            return ""
        comparison, limit = self.aim.split()
        reached = self.value if self.ratio is None else self.ratio
        met = reached >= float(limit) if comparison == ">=" else reached <= float(limit)
        return f"aim {self.aim}: {'met' if met else 'MISSED'}"


@dataclass
class Report:
    """The figures of one suite, in the order in which they were measured."""

    suite: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        base: str = "",
        *,
        ratio: float | None = None,
        aim: str = "",
        spread: float | None = None,
    ) -> None:
        """One more figure. The ratio is that of the values, unless the caller has a better one."""
        if ratio is None:
            for figure in self.figures:
                if figure.name == base and figure.value:
                    ratio = value / figure.value
        self.figures.append(Figure(name, value, unit, base, ratio, aim, spread))

    def note(self, text: str) -> None:
        """Something to know when the table is read; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def add_table(self, title: str, lines: list[str]) -> None:
        """Lines that are printed below the figures as they are."""
        self.tables[title] = lines

    def save(self, directory: Path) -> None:
        content = {
            "suite": self.suite,
            "processors": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "notes": self.notes,
            "tables": self.tables,
            "figures": [asdict(figure) for figure in self.figures],
        }
        (directory / f"{self.suite}.json").write_text(json.dumps(content, indent=1) + "\n")

    def table(self) -> list[str]:
        width = max(len(figure.name) for figure in self.figures)
        lines = []
        for figure in self.figures:
            line = f"{figure.name:{width}}  {figure.value:10.3f} {figure.unit:8}"
            if figure.spread is not None:
                line += f" +-{figure.spread * 100:4.0f} %"
            if figure.ratio is not None:
                line += f"  {figure.ratio:6.2f} x {figure.base}"
            if verdict := figure.verdict():
                line += f"  ({verdict})"
            lines.append(line.rstrip())
        for title, table in self.tables.items():
            lines += ["", title, *table]
        return lines + [f"note: {note}" for note in self.notes]


_reports: dict[str, Report] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    run = paths.run_directory() / "l"
    run.mkdir(mode=0o700)
    os.environ["FAMLAB_RUN"] = str(run)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Where a benchmark puts its figures."""
    suite = Path(str(request.path)).stem.removeprefix("test_")
    yield _reports.setdefault(suite, Report(suite))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in _reports.values():
        if report.figures:
            report.save(paths.results_directory())
            terminalreporter.section(f"bench {report.suite}")
            for line in report.table():
                terminalreporter.write_line(line)
