# SPDX-License-Identifier: Apache-2.0
"""What was found wrong with shared memory, for people, for programs, and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from famlab_vm.blame import WRONG, Finding, FlushesInVain
from famlab_vm.code_places import NOWHERE, Place

# What each kind means, and so what is to be done.
_MEANING = {
    "stale load": "its copy is older than what the other host has written back: invalidate first",
    "store not written back": "the other host has not flushed what it stored",
    "write-back without a fence": "the other host has flushed it, but no fence has followed",
    "announcement that overtook its data": "the other host stored what announces this before the "
    "fence that completes its write-back",
    "overwritten line": "the copy that was stored to was stale, and has put back old bytes of the "
    "other host's: invalidate before storing to a part of a line",
}
assert set(_MEANING) == set(WRONG.values())


_MOST_IN_VAIN = 20


def as_text(findings: Sequence[Finding], in_vain: Sequence[FlushesInVain] = ()) -> str:
    """Return a paragraph for each, and a line for each of the most frequent flushes in vain."""
    parts = ["\n".join(_paragraph(*one)) for one in enumerate(findings, start=1)]
    if all(one.legal for one in findings):
        parts.insert(0, "nothing wrong was seen")
    if in_vain:
        lines = (f"   {one.times:8} times: {one.place}" for one in in_vain[:_MOST_IN_VAIN])
        parts.append("\n".join(["flushes that did nothing, which cost time alone:", *lines]))
    return "\n\n".join(parts) + "\n"


def as_json(findings: Sequence[Finding], in_vain: Sequence[FlushesInVain] = ()) -> str:
    """Return an object with a list of either."""
    content = {
        "findings": [asdict(one) | {"offset": one.offset} for one in findings],
        "flushes_in_vain": [asdict(one) for one in in_vain],
    }
    return json.dumps(content, indent=1) + "\n"


def as_html(
    findings: Sequence[Finding], in_vain: Sequence[FlushesInVain] = (), title: str = "Blame"
) -> str:
    """Return a page that needs no other file: the events on each line, with a lane per host."""
    import jinja2  # takes 100 ms to import

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    hosts = sorted({event.host for one in findings for event in one.events})
    page = environment.get_template("blame.html.j2")
    return page.render(
        findings=findings, in_vain=in_vain[:_MOST_IN_VAIN], title=title, hosts=hosts,
        meaning=_MEANING, places=_places,
    )  # fmt: skip


def _where(one: Finding) -> str:
    return f"{one.device} {one.offset:#x}" + (f", {one.belongs_to}" if one.belongs_to else "")


def _places(one: Finding) -> Iterator[tuple[str, Place]]:
    """In words whose place it is, and the place."""
    verb = "stored" if one.wrong == WRONG[5] else "loaded"
    yield f"{one.host} {verb}", one.here
    yield f"{one.other} had stored", one.stored
    if one.flushed != NOWHERE:
        yield f"{one.other} flushed", one.flushed
    if one.announced != NOWHERE:
        yield f"{one.host} knew by", one.announced


def _paragraph(number: int, one: Finding) -> Iterator[str]:
    times = f", {one.times} times" if one.times > 1 else ""
    yield f"{number}. {one.host}: {one.wrong}{times}: {_where(one)}"
    yield f"   legal: {one.legal}" if one.legal else f"   {_MEANING[one.wrong]}"
    for who, place in _places(one):
        yield f"   {who + ':':<18} {place}"
    for event in one.events:
        ago = event.seconds - one.events[-1].seconds
        yield f"   {ago:11.6f} s  {event.host} {event.what}: {event.place.line}"
