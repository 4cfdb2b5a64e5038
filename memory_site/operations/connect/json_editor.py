"""Sets and removes one member of a JSON text. Everything else stays as it is written, comments too."""

import json
import re
from typing import Any

from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.json_reader import Node, read_json

DEFAULT_INDENT = "  "
EMPTY = "{}\n"
#: Names of members, and places in arrays.
Path = tuple[str | int, ...]


class JsonEditor:
    """The text of one configuration file. Raises BrokenDocument if it is broken."""

    def __init__(self, text: str, *, comments: bool) -> None:
        self.text, self.comments = text if text.strip() else EMPTY, comments
        self.root = read_json(self.text, comments=comments)
        if not isinstance(self.root.value, dict):
            raise ConfigurationError("line 1, column 1: expected an object")

    def get(self, path: tuple[str, ...]) -> Any:
        """Return the value at the path, or None."""
        value = self.root.value
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def set(self, path: tuple[str, ...], value: Any) -> None:
        """Put a value in the place of the one at the path, or behind the last member of its object."""
        node, depth = self._find_deepest(path)
        if depth == len(path):
            self._replace(node.start, node.end, self._format(value, depth))
            return
        if not isinstance(node.value, dict):
            raise ConfigurationError(f"{'.'.join(path[:depth])} is not an object")
        for name in reversed(path[depth + 1 :]):
            value = {name: value}
        self._insert(node, depth, f"{json.dumps(path[depth])}: {self._format(value, depth + 1)}")

    def append(self, path: tuple[str, ...], value: Any) -> None:
        """Put a value behind the last one of the array at the path, which is made if it is missing."""
        node, depth = self._find_deepest(path)
        if depth < len(path):
            self.set(path, [value])
            return
        if not isinstance(node.value, list):
            raise ConfigurationError(f"{'.'.join(path)} is not an array")
        self._insert(node, depth, self._format(value, depth + 1))

    def remove(self, path: Path) -> None:
        """Remove the member or item at the path, with its comma. Without one, do nothing."""
        node, depth = self._find_deepest(path[:-1])
        if depth < len(path) - 1 or path[-1] not in node.members:
            return
        names = list(node.members)
        index = names.index(path[-1])
        member = node.members[path[-1]]
        if index + 1 < len(names):  # up to the next name, so that a comment of the next member stays with it
            start, end = member.start, self._skip_comma(member.value.end)
        else:
            start = node.members[names[index - 1]].value.end if index else node.start + 1
            end = self._skip_comma(member.value.end) if node.trailing_comma else member.value.end
        self._replace(start, end, "")

    def _skip_comma(self, position: int) -> int:
        """Return where the next member begins, or the rest of the object."""
        comma = read_gap(self.text, position, self.comments)
        return comma + 1 + len(re.match(r"[ \t]*(?:\r?\n[ \t]*)?", self.text[comma + 1 :])[0])  # type: ignore[index]

    def _find_deepest(self, path: Path) -> tuple[Node, int]:
        """Return the node at the longest part of the path that exists, and how many names that part has."""
        node, depth = self.root, 0
        while depth < len(path) and path[depth] in node.members:
            node, depth = node.members[path[depth]].value, depth + 1
        return node, depth

    def _insert(self, node: Node, depth: int, text: str) -> None:
        """Write a member or an item on a line of its own, below everything else in the object or array."""
        close = node.end - 1
        body_end = len(self.text[:close].rstrip())
        is_closed_on_line = "\n" not in self.text[body_end:close]
        ending = self._newline + self._indent * depth if is_closed_on_line else ""
        line = self._newline + self._indent * (depth + 1) + text + ending
        self.text = self.text[:body_end] + line + self.text[close if is_closed_on_line else body_end :]
        if node.last_end is not None and not node.trailing_comma:
            self.text = f"{self.text[: node.last_end]},{self.text[node.last_end :]}"
        self._parse()

    def _replace(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self._parse()

    def _parse(self) -> None:
        self.root = read_json(self.text, comments=self.comments)

    @property
    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    @property
    def _indent(self) -> str:
        """The indentation of the first member, if it begins a line."""
        first = next(iter(self.root.members.values()), None)
        match = re.search(r"\n([ \t]+)\Z", self.text[: first.start]) if first else None
        return match[1] if match else DEFAULT_INDENT

    def _format(self, value: Any, depth: int) -> str:
        """Return the value's text, whose later lines are indented for its depth."""
        text = json.dumps(value, indent=self._indent, ensure_ascii=False)
        return text.replace("\n", self._newline + self._indent * depth)


def read_gap(text: str, position: int, comments: bool) -> int:
    """Return the position of the comma behind a value."""
    pattern = r"(?:\s|//[^\n]*|/\*.*?\*/)*" if comments else r"\s*"
    match = re.compile(pattern, re.DOTALL).match(text, position)
    return match.end() if match else position
