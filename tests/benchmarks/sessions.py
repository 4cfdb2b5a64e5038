"""What a caller does with sessions: add an interaction, get the context; and what an addition costs the disk."""

import json
from itertools import count
from random import Random
from typing import Any

from django.conf import settings
from django.db import connection
from rich.table import Table

from memory_site.core.db.ids import uuid7
from memory_site.core.http.responses import answer
from memory_site.operations.demo_data import MEMORIES
from sessions_app import history
from sessions_app.encryption import sealed
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql

SESSIONS, LENGTHS = 1000, (10, 50)


def turn(number: int) -> dict[str, str]:
    """One question and its answer, no two the same."""
    choose = Random(number)
    return {
        "query": f"{number}: {choose.choice(MEMORIES)} Is that so?",
        "answer": f"{number}: {' '.join(choose.sample(MEMORIES, 4))}",
    }


def fill(namespace: Namespace) -> None:
    """A thousand sessions, half of them with ten interactions and half with all fifty."""
    for number in range(SESSIONS):
        history.add(namespace.pk, named(number), [turn(number * 50 + each) for each in range(LENGTHS[number % 2])])


def named(number: int) -> str:
    return f"session-{number % SESSIONS}"


def operations_on_sessions(namespace: Namespace) -> list[Operation]:
    """On sessions of fifty interactions, the costly ones."""
    pk, fresh = namespace.pk, count(10**6)

    def parameters(session: str, **more: Any) -> dict[str, Any]:
        usual = {"ttl_hours": settings.MEMORY_TTL_HOURS, "most": settings.MEMORY_MAX_CONTEXT_LENGTH}
        return {"namespace": pk, "session": session} | usual | more

    def add_sql(session: str) -> Sql:
        return history.ADD, parameters(session, id=uuid7(), own=None, added=json.dumps([sealed(turn(next(fresh)))]))

    def context(session: str) -> Any:
        return answer({"session_id": session, "interactions": history.context(pk, session, 5)})

    return [
        Operation(
            "add to a session",
            prepare=lambda number, arm: named(2 * number + 1),
            sql=add_sql,
            service=lambda session: history.add(pk, session, [turn(next(fresh))]),
            request=lambda session: (
                "POST",
                f"/sessions/{session}/interactions",
                turn(next(fresh)),
            ),
        ),
        Operation(
            "context of 5",
            prepare=lambda number, arm: named(2 * number + 1),
            sql=lambda session: (history.CONTEXT, parameters(session, limit=5)),
            service=context,
            request=lambda session: ("GET", f"/sessions/{session}/context", None),
        ),
    ]


def written(namespace: Namespace, rounds: int = 200) -> Table:
    """Bytes of write-ahead log for one addition. Of four turns over the same sessions the cheapest is told: the
    first after a checkpoint pays for copies of whole pages."""
    table = Table("interactions kept", "WAL bytes", "history as JSON text, bytes", title="one addition to a session")
    for parity, length in enumerate(LENGTHS):
        settings.MEMORY_MAX_CONTEXT_LENGTH = length
        costs = [add_everywhere(namespace, parity, rounds) / rounds for _ in range(4)]
        text = len(json.dumps([turn(number) for number in range(length)]))
        table.add_row(str(length), f"{min(costs):,.0f}", f"{text:,}")
    return table


def add_everywhere(namespace: Namespace, parity: int, rounds: int) -> int:
    """Bytes of log that additions to so many sessions took."""
    before = log_position()
    for number in range(rounds):
        history.add(namespace.pk, named(2 * number + parity), [turn(before + number)])
    return log_position() - before


def log_position() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])
