# SPDX-License-Identifier: Apache-2.0
"""What a run was made of (metadata.json), and repro.sh, which runs a test of it again.

repro.sh works on any clone: it takes from the first one what was tested and with which variables,
and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support import paths

METADATA = "metadata.json"
# Changes that are in no commit, as far as they are not bigger than this.
CHANGES = "uncommitted.diff"
_CHANGES_BYTES = 1 << 20
EARLIER = "earlier-tests.txt"
SCRIPT = "repro.sh"

# What a suite knows of its own: its conftest.py fills it in before the first test.
facts: dict[str, str] = {}


def _git(*words: str) -> bytes | None:
    """What git says of this clone; None if it is none, or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(paths.REPOSITORY), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    # 1: a diff --no-index that shows something.
    return done.stdout if done.returncode in (0, 1) else None


def _uncommitted() -> bytes:
    """All changes that are in no commit: the diff, and the files that git does not know."""
    changes = _git("diff", "HEAD", "--binary", "--no-ext-diff") or b""
    names = (_git("ls-files", "-z", "--others", "--exclude-standard") or b"").split(b"\0")
    for name in sorted(filter(None, names)):
        file = paths.REPOSITORY / os.fsdecode(name)
        if file.is_file() and file.stat().st_size <= _CHANGES_BYTES:
            changes += _git("diff", "--no-index", "--binary", "/dev/null", os.fsdecode(name)) or b""
    return changes


def sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def variables() -> dict[str, str]:
    """What was chosen from outside."""
    return {name: os.environ[name] for name in paths.OVERRIDES if os.environ.get(name)}


def write_metadata(run: Path) -> None:
    """Says in the folder of a run what it is made of."""
    commit = (_git("rev-parse", "HEAD") or b"unknown").decode().strip()
    changes = _uncommitted()
    if changes and len(changes) <= _CHANGES_BYTES:
        (run / CHANGES).write_bytes(changes)
    known: dict[str, object] = {
        "suite": os.environ.get(paths.SUITE, ""),
        "clone": str(paths.REPOSITORY),
        "commit": commit,
        "uncommitted": hashlib.sha256(changes).hexdigest() if changes else "",
        "programs": str(paths.BINARIES),
        "system": _debian(),
        "machine": f"Linux {platform.release()}, {os.cpu_count()} processors",
        **facts,
    }
    known["variables"] = variables()
    (run / METADATA).write_text(json.dumps(known, indent=1) + "\n")


def _debian() -> str:
    release = platform.freedesktop_os_release()
    return release.get("PRETTY_NAME", "unknown system")


def load(run: Path) -> dict[str, object]:
    """The metadata of a run or a test; empty if there is none."""
    try:
        content = json.loads((run / METADATA).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_test(folder: Path, test: str, parameters: Mapping[str, str]) -> None:
    """Adds metadata.json and repro.sh to the folder of a test."""
    known = load(folder.parent)
    content: dict[str, object] = {**known, "test": test, "parameters": dict(parameters)}
    (folder / METADATA).write_text(json.dumps(content, indent=1) + "\n")
    words = [(name, str(value)) for name, value in known.items() if name != "variables" and value]
    words += [(name, str(value)) for name, value in parameters.items()]
    # A value that holds a line break would end the comment.
    comments = [f"#   {name + ':':<14} {' '.join(value.split())}" for name, value in words]
    suite = str(known.get("suite") or test.partition("/")[0])
    script = folder / SCRIPT
    script.write_text(
        _SCRIPT.format(
            comments="\n".join(comments),
            earlier=EARLIER,
            origin=shlex.quote(str(paths.REPOSITORY)),
            commit=shlex.quote(str(known.get("commit", ""))),
            exports="\n".join(_export(name, value) for name, value in variables().items()),
            suite=suite,
            test=shlex.quote(test),
        )
    )
    script.chmod(0o755)


def _export(name: str, value: str) -> str:
    """What lies in this clone is taken from the other one."""
    if value.startswith(f"{paths.REPOSITORY}/"):
        return f'export {name}="$clone"{shlex.quote(value.removeprefix(str(paths.REPOSITORY)))}'
    return f"export {name}={shlex.quote(value)}"


def write_earlier(folder: Path, tests: list[str]) -> None:
    """Names the tests that a test may have been influenced by, in their order."""
    (folder / EARLIER).write_text("".join(f"{test}\n" for test in tests))


_SCRIPT = """\
#!/bin/bash
# Runs this one test again:
#
#     repro.sh [--with-earlier] [CLONE] [ARGUMENT OF pytest...]
#
# in CLONE, else in REPO= or the clone that this is called in, else where it ran. --with-earlier:
# after the tests that used the same lab before it (or the same process, if it used none). KEEP=1
# and REPEAT=100 work as with tests/run; BLAME=0 watches no accesses. It ran as follows:
#
{comments}
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "$0")")
earlier=()
if [ "${{1:-}}" = --with-earlier ]; then
    shift
    mapfile -t earlier <"$here/{earlier}"
fi
if [ -d "${{1:-}}" ]; then
    clone=$1
    shift
elif [ -n "${{REPO:-}}" ]; then
    clone=$REPO
elif ! clone=$(git rev-parse --show-toplevel 2>/dev/null) || [ ! -x "$clone/tests/run" ]; then
    clone={origin}
fi
if [ ! -x "$clone/tests/run" ]; then
    echo "repro.sh: $clone has no tests/run; name a clone of the repository" >&2
    exit 2
fi
clone=$(readlink -f -- "$clone")
commit=$(git -C "$clone" rev-parse HEAD 2>/dev/null || echo unknown)
[ "$commit" = {commit} ] || echo "repro.sh: $clone is at $commit, the test ran at" {commit} >&2
unset TESTS SHARD
{exports}
export JOBS="${{JOBS:-1}}" BLAME="${{BLAME:-1}}"
cd -- "$clone"
exec tests/run {suite} "${{earlier[@]}}" {test} "$@"
"""
