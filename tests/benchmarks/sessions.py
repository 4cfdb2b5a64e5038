"""What a caller does with sessions: add an interaction, get the context; and what an addition costs the disk."""

import json
from itertools import count
from random import Random
from typing import Any

from django.conf import settings
from django.db import connection
from rich.table import Table

from memory_site.core.db.ids import uuid7
from memory_site.core.http.responses import json_response
from memory_site.operations.demo_data import MEMORIES
from sessions_app import history
from sessions_app.encryption import encrypt
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql

SESSIONS, LENGTHS = 1000, (10, 50)


def build_turn(number: int) -> dict[str, str]:
    """One question and its answer, no two the same."""
    choose = Random(number)
    return {
        "query": f"{number}: {choose.choice(MEMORIES)} Is that so?",
        "answer": f"{number}: {' '.join(choose.sample(MEMORIES, 4))}",
    }


def insert_sessions(namespace: Namespace) -> None:
    """A thousand sessions, half of them with ten interactions and half with all fifty."""
    for number in range(SESSIONS):
        history.add(
            namespace.pk, session_name(number), [build_turn(number * 50 + each) for each in range(LENGTHS[number % 2])]
        )


def session_name(number: int) -> str:
    return f"session-{number % SESSIONS}"


def build_session_operations(namespace: Namespace) -> list[Operation]:
    """On sessions of fifty interactions, the costly ones."""
    pk, fresh = namespace.pk, count(10**6)

    def parameters(session: str, **more: Any) -> dict[str, Any]:
        usual = {"ttl_hours": settings.MEMORY_TTL_HOURS, "most": settings.MEMORY_MAX_CONTEXT_LENGTH}
        return {"namespace": pk, "session": session} | usual | more

    def add_sql(session: str) -> Sql:
        return history.ADD_INTERACTIONS_SQL, parameters(
            session, id=uuid7(), own=None, added=json.dumps([encrypt(build_turn(next(fresh)))])
        )

    def context(session: str) -> Any:
        return json_response({"session_id": session, "interactions": history.fetch_context(pk, session, 5)})

    return [
        Operation(
            "add to a session",
            prepare=lambda number, arm: session_name(2 * number + 1),
            sql=add_sql,
            service=lambda session: history.add(pk, session, [build_turn(next(fresh))]),
            request=lambda session: (
                "POST",
                f"/sessions/{session}/interactions",
                build_turn(next(fresh)),
            ),
        ),
        Operation(
            "context of 5",
            prepare=lambda number, arm: session_name(2 * number + 1),
            sql=lambda session: (history.SELECT_CONTEXT_SQL, parameters(session, limit=5)),
            service=context,
            request=lambda session: ("GET", f"/sessions/{session}/context", None),
        ),
    ]


def measure_wal_bytes(namespace: Namespace, rounds: int = 200) -> Table:
    """Bytes of write-ahead log for one addition. Reports the cheapest of four turns over the same sessions: the
    first after a checkpoint pays for copies of whole pages."""
    table = Table("interactions kept", "WAL bytes", "history as JSON text, bytes", title="one addition to a session")
    for parity, length in enumerate(LENGTHS):
        settings.MEMORY_MAX_CONTEXT_LENGTH = length
        costs = [add_everywhere(namespace, parity, rounds) / rounds for _ in range(4)]
        text = len(json.dumps([build_turn(number) for number in range(length)]))
        table.add_row(str(length), f"{min(costs):,.0f}", f"{text:,}")
    return table


def add_everywhere(namespace: Namespace, parity: int, rounds: int) -> int:
    """Bytes of log that additions to so many sessions took."""
    before = fetch_wal_position()
    for number in range(rounds):
        history.add(namespace.pk, session_name(2 * number + parity), [build_turn(before + number)])
    return fetch_wal_position() - before


def fetch_wal_position() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])
