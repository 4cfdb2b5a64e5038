"""Sets and removes one table of a TOML text. Everything else stays as it is written, comments too."""

import json
import re
import tomllib
from typing import Any

from memory_site.operations.connect.errors import ConfigurationError

HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
PLACE = re.compile(r"(.*) \(at (line \d+, column \d+)\)", re.DOTALL)
BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class TomlEditor:
    """The text of one configuration file. Raises ConfigurationError, with line and column, if it is broken."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.value = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = PLACE.fullmatch(str(error))
            raise ConfigurationError(f"{match[2]}: {match[1]}" if match else f"last line: {error}") from None
        except (ValueError, RecursionError):  # tomllib lets these through
            raise ConfigurationError("a number is too long, or values are nested too deeply") from None

    def get(self, path: tuple[str, ...]) -> Any:
        """Return the value at the path, or None."""
        value: Any = self.value
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def set(self, path: tuple[str, ...], value: dict[str, Any]) -> None:
        """Put a table in the place of the one at the path, or below all others."""
        self._change(path, value)

    def remove(self, path: tuple[str, ...]) -> None:
        """Remove the table at the path. Without one, do nothing."""
        if self.get(path) is not None:
            self._change(path, None)

    def _change(self, path: tuple[str, ...], value: dict[str, Any] | None) -> None:
        wanted = change_path(self.value, path, value)
        table = format_table(path, value) if value is not None else None
        text = replace_tables(self.text, path, table)
        # TOML has many ways to write a table, and only the usual one is changed.
        if parse_or_none(text) != wanted:
            raise ConfigurationError(f"{'.'.join(path)} is not a table with a header of its own: change it by hand")
        self.text, self.value = text, wanted


def replace_tables(text: str, path: tuple[str, ...], table: str | None) -> str:
    """Return the text with the table in the place of those at and below the path, or at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    new_lines = [line + newline for line in table.split("\n")] if table is not None else []
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    kept, position = [], None
    for header, section in split_sections(lines):
        if header[: len(path)] != path:
            kept += section
            continue
        position = len(kept) if position is None else position
        kept += section[count_written_lines(section) :]
    if position is None:
        ending = [] if not kept or kept[-1].endswith("\n") else [newline]
        return "".join([*kept, *ending, *([newline] if kept and new_lines else []), *new_lines])
    return "".join([*kept[:position], *new_lines, *kept[position:]])


def split_sections(lines: list[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return the path of each header with its lines, first what stands above all headers."""
    sections: list[tuple[tuple[str, ...], list[str]]] = [((), [])]
    for line in lines:
        header = parse_header(line)
        if header is not None:
            sections.append((header, []))
        sections[-1][1].append(line)
    return sections


def parse_header(line: str) -> tuple[str, ...] | None:
    """Return the path of a header line: ("a", "b") for `[a.b]`."""
    value = parse_or_none(line) if HEADER.fullmatch(line.rstrip()) else None
    path: list[str] = []
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path) or None


def count_written_lines(section: list[str]) -> int:
    """Return the number of lines up to the last that is neither empty nor a comment: those describe what follows."""
    written = [index for index, line in enumerate(section) if line.strip() and not line.lstrip().startswith("#")]
    return written[-1] + 1


def parse_or_none(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def format_table(path: tuple[str, ...], value: dict[str, Any]) -> str:
    """Return the lines of a table, whose own tables are inline."""
    lines = [f"[{'.'.join(map(format_name, path))}]"]
    return "\n".join([*lines, *(f"{format_name(name)} = {format_value(item)}" for name, item in value.items())])


def format_name(name: str) -> str:
    return name if BARE_NAME.fullmatch(name) else format_value(name)


def format_value(value: Any) -> str:
    """Return a value as TOML. Raise ConfigurationError for one that JSON does not have, such as a date."""
    match value:
        case dict():
            return f"{{ {', '.join(f'{format_name(name)} = {format_value(item)}' for name, item in value.items())} }}"
        case list():
            return f"[{', '.join(map(format_value, value))}]"
        case str() | bool() | int() | float():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise ConfigurationError(f"a {type(value).__name__} of the existing entry cannot be kept: change it by hand")


def change_path(document: Any, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a copy of the document with a value at the path, or without one if it is None.

    Raises ConfigurationError if the path leads through something that is no table.
    """
    if not isinstance(document, dict):
        raise ConfigurationError(f"the parent of {path[0]} is not a table")
    rest = {name: item for name, item in document.items() if name != path[0]}
    if len(path) > 1:
        below = change_path(document.get(path[0], {}), path[1:], value)
        return rest | {path[0]: below} if below or value is not None else rest
    return rest if value is None else rest | {path[0]: value}
