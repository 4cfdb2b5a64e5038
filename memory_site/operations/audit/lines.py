"""A line of the audit, and what is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

#: Read at once for an export.
EXPORT_PAGE = 1_000
MAX_EXPORTED_LINES = 100_000


@dataclass(frozen=True)
class AuditLine:
    """Who did what, when. `actor` is as in the history of memories: `console:admin`, `key:mem_…`, `command:forget`."""

    at: datetime
    kind: str
    actor: str
    what: str
    subject: str = ""
    address: str = ""
    request_id: str = ""
    url: str = ""


@dataclass(frozen=True)
class AuditQuery:
    """Which lines are wanted: of one kind and actor if they are given, in [since, before)."""

    kind: str = ""
    actor: str = ""
    since: datetime | None = None
    before: datetime | None = None

    def between(self, column: str) -> dict[str, datetime]:
        """Return the lookups of the period for a column."""
        found = {f"{column}__gte": self.since, f"{column}__lt": self.before}
        return {lookup: value for lookup, value in found.items() if value is not None}


class Source(Protocol):
    """A kind of lines: reads at most `limit` of them, newest first, in one statement or two."""

    def __call__(self, query: AuditQuery, limit: int) -> list[AuditLine]: ...


def normalise_actor(text: str) -> str:
    """Return an actor as it is stored: an account's name alone is one of the console, a key's id one of a key."""
    text = text.strip().removesuffix("_…")
    if ":" in text or not text:
        return text
    return f"key:{text}" if text.startswith("mem_") else f"console:{text}"


def read_lines(sources: dict[str, Source], query: AuditQuery, limit: int) -> list[AuditLine]:
    """Return the newest lines, and with the last one all of the same moment: the next page begins before it."""
    wanted = [source for kind, source in sources.items() if query.kind in ("", kind)]
    lines = [line for source in wanted for line in source(query, 2 * limit)]
    lines.sort(key=lambda line: line.at, reverse=True)
    if len(lines) <= limit:
        return lines
    end = next((place for place in range(limit, len(lines)) if lines[place].at != lines[limit - 1].at), len(lines))
    return lines[:end]


def iterate_lines(sources: dict[str, Source], query: AuditQuery) -> Iterator[AuditLine]:
    """Yield all lines, newest first, up to MAX_EXPORTED_LINES."""
    count = 0
    while count < MAX_EXPORTED_LINES and (lines := read_lines(sources, query, EXPORT_PAGE)):
        yield from lines
        count += len(lines)
        query = replace(query, before=lines[-1].at)
