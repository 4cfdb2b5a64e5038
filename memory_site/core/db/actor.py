"""Who changes data, in which request and job: the database keeps it with what stood there before (memories/history).

A context variable names the actor. Triggers read it from settings of the transaction. The ORM's statements that change
a watched table set them before; SQL of our own that changes one contains `ACTOR_SQL`. Other statements cost nothing.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `key:mem_…`, `console:<username>`, `command:<name>`, `task:<name>`; "" is the role of the database.

    With `keeps_history` off, what is changed or deleted leaves nothing behind.
    """

    name: str = ""
    request_id: str = ""
    job_id: UUID | None = None
    keeps_history: bool = True


_describe: ContextVar[Callable[[], Actor]] = ContextVar("actor", default=Actor)
_watched: set[str] = set()
_changes_watched = re.compile(r"(?!)")
_SETTINGS = {
    "memory_site.actor": "actor",
    "memory_site.request_id": "request_id",
    "memory_site.job_id": "job_id",
    "memory_site.history": "history",
}
#: A table of SQL for a FROM clause: it sets who acts, with the values of `get_actor_parameters`.
ACTOR_SQL = "(SELECT {}) AS actor_of_statement".format(
    ", ".join(f"set_config('{setting}', %({value})s, true)" for setting, value in _SETTINGS.items())
)


def get_actor() -> Actor:
    return _describe.get()()


def get_actor_parameters() -> dict[str, str]:
    """Return the parameters of ACTOR_SQL."""
    actor = get_actor()
    return {
        "actor": actor.name,
        "request_id": actor.request_id,
        "job_id": str(actor.job_id or ""),
        "history": "" if actor.keeps_history else "off",
    }


@contextmanager
def described_by(describe: Callable[[], Actor]) -> Iterator[None]:
    """Have the block's changes be those of the actor that `describe` returns when one is made."""
    token = _describe.set(describe)
    try:
        yield
    finally:
        _describe.reset(token)


@contextmanager
def acting_as(name: str, request_id: str = "") -> Iterator[None]:
    actor = Actor(name, request_id)
    with described_by(lambda: actor):
        yield


@contextmanager
def acting_in_job(job_id: UUID, name: str = "") -> Iterator[None]:
    """Have the block's changes belong to a job: by `name`, or by who acts already."""
    outer = get_actor()
    actor = replace(outer, job_id=job_id, name=name or outer.name)
    with described_by(lambda: actor):
        yield


@contextmanager
def without_history() -> Iterator[None]:
    """Have the block's changes and deletions of memories leave no version, and nothing in the trash."""
    actor = replace(get_actor(), keeps_history=False)
    with described_by(lambda: actor):
        yield


def describe_requester(request: HttpRequest) -> Actor:
    """Return who sent a request: an API key, whose caller says its name, or a user of the console."""
    caller, user = getattr(request, "auth", None), getattr(request, "user", None)
    name = getattr(caller, "actor", "")
    if not name and user is not None and user.is_authenticated:
        name = f"console:{user.get_username()}"
    return Actor(name, getattr(request, "id", ""))


def watch(*tables: str) -> None:
    """Have the ORM's UPDATE and DELETE of these tables name the actor, since triggers there ask for it."""
    global _changes_watched
    _watched.update(tables)
    _changes_watched = re.compile(rf'(UPDATE|DELETE FROM) "({"|".join(sorted(_watched))})"')


def name_actor() -> None:
    """Set who acts for the rest of the transaction, for SQL without ACTOR_SQL."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT FROM {ACTOR_SQL}", get_actor_parameters())


def name_actor_of_changes(execute: Callable, sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    """Name the actor before a statement of the ORM that changes a watched table."""
    if not (isinstance(sql, str) and _changes_watched.match(sql)):
        return execute(sql, parameters, many, context)
    database: BaseDatabaseWrapper = context["connection"]
    with nullcontext() if database.in_atomic_block else transaction.atomic(database.alias):
        with database.cursor() as cursor:
            cursor.execute(f"SELECT FROM {ACTOR_SQL}", get_actor_parameters())
        return execute(sql, parameters, many, context)


def install(connection: BaseDatabaseWrapper, **_: object) -> None:
    # In front: `connection.execute_wrapper` removes the last one at the end of its block.
    if name_actor_of_changes not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, name_actor_of_changes)


connection_created.connect(install, dispatch_uid="memory_site.actor")
