# SPDX-License-Identifier: Apache-2.0
"""Reading a YAML file that a person wrote, with errors that name file, key, found and allowed."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from famlab_vm.errors import TopologyError

# A hand-written description is a few kilobytes; more is a mistake or an attack.
MAXIMUM_FILE_SIZE = 256 << 10


class Node:
    """A value in a document together with its place, so that every complaint can say where."""

    def __init__(self, file: str, key: str, value: object) -> None:
        self.file = file
        self.key = key
        self.value = value

    def fail(self, allowed: str, found: object = ...) -> NoReturn:
        """Raise TopologyError: what was found here (this value unless given), what is allowed."""
        what = self.value if found is ... else found
        where = self.key or "(top)"
        raise TopologyError(f"{self.file}: {where}: found {reprlib.repr(what)}; allowed: {allowed}")

    def child(self, name: str, value: object) -> Node:
        """Return the node for `value` found below this one under `name`."""
        return Node(self.file, f"{self.key}.{name}" if self.key else name, value)

    def mapping(self, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        """Return the entries of this mapping; unknown and missing keys are errors."""
        names = list(allowed)
        entries = self.any_mapping()
        for name in entries:
            if name not in names:
                self.child(name, name).fail(f"a key out of {', '.join(names)}")
        for name in required:
            if name not in entries:
                self.child(name, None).fail("a value; this key is required", found="nothing")
        return entries

    def any_mapping(self) -> dict[str, Node]:
        """Return the entries of this mapping whose keys may be any text."""
        if not isinstance(self.value, dict):
            self.fail("a mapping of keys to values")
        for name in self.value:
            if not isinstance(name, str):
                self.fail("keys that are text", found=name)
        return {name: self.child(name, value) for name, value in self.value.items()}

    def sequence(self) -> list[Node]:
        """Return the items of this list."""
        if not isinstance(self.value, list):
            self.fail("a list")
        return [
            Node(self.file, f"{self.key}[{index}]", item) for index, item in enumerate(self.value)
        ]

    def text(self) -> str:
        """Return this value, which has to be text."""
        if not isinstance(self.value, str):
            self.fail("text")
        return self.value

    def choice(self, allowed: Iterable[str]) -> str:
        """Return this value, which has to be one of `allowed`."""
        names = list(allowed)
        if self.value not in names or not isinstance(self.value, str):
            self.fail("one of " + ", ".join(names))
        return self.value

    def integer(self, minimum: int, maximum: int) -> int:
        """Return this value, which has to be a whole number in the range."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            self.fail(f"a whole number from {minimum} to {maximum}")
        return value

    def parsed(self, parse: Callable[[object], int], allowed: str) -> int:
        """Return `parse(value)`; ValueError from it is reported as `allowed`."""
        try:
            return parse(self.value)
        except ValueError:
            self.fail(allowed)


def read_document(path: Path) -> Node:
    """Parse the YAML file at `path`. Raises TopologyError if it is not readable as YAML."""
    import yaml  # takes 30 ms to import, and most commands read no document

    # A SafeLoader that refuses a key given twice instead of taking the last one.
    strict_loader: Any = type("StrictLoader", (yaml.SafeLoader,), {})

    def construct_mapping(loader: Any, node: Any) -> dict[object, object]:
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))) or key in result:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {reprlib.repr(key)} is given twice or is no plain value",
                    key_node.start_mark,
                )
            result[key] = loader.construct_object(value_node, deep=True)
        return result

    strict_loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_mapping)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAXIMUM_FILE_SIZE + 1)
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAXIMUM_FILE_SIZE:
        raise TopologyError(f"{path}: found a larger file; allowed: {MAXIMUM_FILE_SIZE} bytes")
    try:
        value = yaml.load(data, strict_loader)
    except (yaml.YAMLError, ValueError) as error:
        raise TopologyError(f"{path}: found text that is not YAML: {error}") from error
    except RecursionError:
        raise TopologyError(f"{path}: found values nested too deep; allowed: 5 levels") from None
    return Node(str(path), "", value)
