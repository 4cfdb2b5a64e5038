"""Reads JSON, with comments and trailing commas where a client allows them, and notes where each value stands."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from memory_site.operations.connect.errors import BrokenDocument

SPACE = re.compile(r"[ \t\r\n]*")
SPACE_AND_COMMENTS = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
#: Numbers and words; what follows decides whether it is one.
SCALAR = re.compile(r"[-+.\w]+")
MAX_DEPTH = 200
DECODER = json.JSONDecoder()


@dataclass
class Member:
    """One member of an object or item of an array: where its name, or the item, begins, and its value."""

    start: int
    value: "Node"


@dataclass
class Node:
    """A value of the text, which stands in text[start:end]."""

    start: int
    end: int
    value: Any
    #: Of an object by name, of an array by place.
    members: dict[str | int, Member] = field(default_factory=dict)
    #: Where the last member or item ends, and whether a comma follows it.
    last_end: int | None = None
    trailing_comma: bool = False


def read_json(text: str, *, comments: bool) -> Node:
    """Return the value of a whole text. Raise BrokenDocument with line and column.

    With comments, trailing commas are allowed too, as in VS Code.
    """
    return Reader(text, comments=comments).read()


class Reader:
    def __init__(self, text: str, *, comments: bool) -> None:
        self.text, self.comments = text, comments
        self.position = self.depth = 0

    def read(self) -> Node:
        self._skip()
        node = self._read_value()
        self._skip()
        if self.position < len(self.text):
            raise self._error("nothing may follow the value")
        return node

    def _error(self, reason: str) -> BrokenDocument:
        return BrokenDocument(reason, self.text, self.position)

    def _skip(self) -> None:
        pattern = SPACE_AND_COMMENTS if self.comments else SPACE
        match = pattern.match(self.text, self.position)
        self.position = match.end() if match else self.position
        if not self.comments and self.text.startswith(("//", "/*"), self.position):
            raise self._error("this client allows no comments")

    def _take(self, character: str) -> bool:
        """Go past the character and the space behind it, if it is the next one."""
        if not self.text.startswith(character, self.position):
            return False
        self.position += 1
        self._skip()
        return True

    def _read_value(self) -> Node:
        start = self.position
        match self.text[start : start + 1]:
            case "{":
                return self._read_nested(self._read_object)
            case "[":
                return self._read_nested(self._read_array)
            case '"':
                value = self._read_string()
                return Node(start, self.position, value)
        return self._read_scalar()

    def _read_nested(self, read: Any) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error("nested too deeply")
        node = read()
        self.depth -= 1
        return node

    def _read_scalar(self) -> Node:
        start = self.position
        match = SCALAR.match(self.text, start)
        try:
            value = json.loads(match[0] if match else "", parse_constant=refuse_constant)
        except ValueError:
            raise self._error("expected a value") from None
        self.position += len(match[0]) if match else 0
        return Node(start, self.position, value)

    def _read_string(self) -> str:
        try:
            value, self.position = DECODER.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            raise BrokenDocument(error.msg, self.text, error.pos) from None
        return value

    def _read_array(self) -> Node:
        node = Node(self.position, self.position, [])
        self._take("[")
        while not self.text.startswith("]", self.position):
            item = Member(self.position, self._read_value())
            node.members[len(node.members)] = item
            node.value.append(item.value.value)
            node.last_end = self.position
            self._skip()
            node.trailing_comma = self._read_comma("]")
            if not node.trailing_comma:
                break
        self._close("]")
        node.end = self.position
        return node

    def _read_object(self) -> Node:
        node = Node(self.position, self.position, {})
        self._take("{")
        while not self.text.startswith("}", self.position):
            self._read_member(node)
            node.trailing_comma = self._read_comma("}")
            if not node.trailing_comma:
                break
        self._close("}")
        node.end = self.position
        return node

    def _read_member(self, node: Node) -> None:
        start = self.position
        if not self.text.startswith('"', start):
            raise self._error("expected a name in double quotes")
        name = self._read_string()
        if name in node.members:
            self.position = start
            raise self._error(f"the name {name!r} stands there twice")
        self._skip()
        if not self._take(":"):
            raise self._error("expected a colon")
        node.members[name] = Member(start, self._read_value())
        node.value[name] = node.members[name].value.value
        node.last_end = self.position
        self._skip()

    def _read_comma(self, closing: str) -> bool:
        comma = self.position
        if not self._take(","):
            return False
        if not self.comments and self.text.startswith(closing, self.position):
            self.position = comma
            raise self._error("this client allows no comma behind the last one")
        return True

    def _close(self, closing: str) -> None:
        """Go past a closing bracket, but not past the space behind it."""
        if not self.text.startswith(closing, self.position):
            raise self._error(f"expected a comma or {closing}")
        self.position += 1


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python takes and no client does."""
    raise ValueError(name)
