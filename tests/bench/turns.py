# SPDX-License-Identifier: Apache-2.0
"""Measuring by turns: whatever is compared is measured in rounds, the order reversed from round to
round, so that a machine that gets slower or busier meanwhile does so for all of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.conftest import Report

ROUNDS = 5

T = TypeVar("T")


@dataclass
class Sample:
    """What the rounds gave for one subject, as one number each."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        return (max(self.values) - min(self.values)) / 2 / self.median

    def against(self, base: Sample) -> float:
        """The ratio in the middle round: of neighbours in time, so that drift cancels."""
        pairs = zip(self.values, base.values)
        return statistics.median(own / other for own, other in pairs if other)


def turns(subjects: Sequence[T], rounds: int = ROUNDS) -> Iterable[T]:
    for number in range(rounds):
        yield from subjects if number % 2 == 0 else reversed(subjects)


def measure(
    subjects: dict[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, Sample]:
    """What each of the subjects gives when it is called, by its name."""
    samples = {name: Sample() for name in subjects}
    for name in turns(list(subjects), rounds):
        samples[name].values.append(subjects[name]())
    return samples


def tell(
    report: Report, what: str, samples: dict[T, Sample], unit: str, aim: str = ""
) -> None:
    """A block of the table: the last subject is compared with each of the others."""
    *peers, last = samples
    bases = {}
    for peer in peers:
        bases[peer] = f"{what}: {peer} (beside {last})"
        report.add(bases[peer], samples[peer].median, unit, spread=samples[peer].spread)
    for peer in peers:
        ratio = samples[last].against(samples[peer])
        own = samples[last]
        report.add(
            f"{what}: {last}", own.median, unit, bases[peer], ratio=ratio, aim=aim,
            spread=own.spread,
        )  # fmt: skip
