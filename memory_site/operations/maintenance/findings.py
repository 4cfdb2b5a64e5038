"""What maintenance does and finds."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.db import connection

MB = 1024 * 1024


class Severity(StrEnum):
    """A problem should be mended soon. Advice can wait. A note is not about a fault."""

    PROBLEM = "problem"
    ADVICE = "advice"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """Something that maintenance does not change by itself, with the one command that mends it."""

    severity: Severity
    kind: str
    object: str
    message: str
    command: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """Something that maintenance does by itself, because it blocks neither reads nor writes, and why it is due.

    `table`: the one whose index of vectors it changes, under the lease of that; empty if it needs none.
    """

    kind: str
    object: str
    message: str
    run: Callable[[], Any]
    table: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "object": self.object, "message": self.message}


def build_psql_command(statement: str) -> str:
    """Return the command that executes a statement."""
    return f'python manage.py dbshell -- -c "{statement.replace(chr(34), chr(92) + chr(34))}"'


def fetch(statement: str, **parameters: Any) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()


def execute(*statements: str) -> None:
    """Execute statements, each in a transaction of its own unless one is open."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def format_size(size: float) -> str:
    """Format bytes: 12.3 MB."""
    return f"{size / MB:,.1f} MB" if size < 1024 * MB else f"{size / MB / 1024:,.1f} GB"
