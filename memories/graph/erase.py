"""Erasing a user: everything a namespace holds of him, counted first, proven gone, and noted without his name.

Any table with a namespace and a `user_id` is searched, so that one added later is not forgotten. What carries only his
name inside a text of somebody else stays; so do backups, until they are rotated away.
"""

import hashlib
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.db.models import Func, IntegerField, Model, QuerySet, Value
from pydantic_core import to_json

from memories.graph.models import Erasure, PendingRelationship, Relationship, UserStatistics, UserTotal
from memories.models import Embedding, Memory, Reembedding
from memory_site.deadlocks import surviving_deadlocks
from sessions_app.models import ApiKey, Conversation, IdempotentAnswer, Message, SessionLink, SessionMemory

#: Kept by the database itself, of rows that are gone by then.
DERIVED = (UserTotal, UserStatistics)

#: Of one with many memories it takes its time.
PATIENTLY = "SET LOCAL statement_timeout = 0"

Rows = dict[str, QuerySet]


def belongings(namespace_id: int, user_id: str) -> Rows:
    """What there is of a user, by name, in an order in which it can go."""
    mine = {"namespace_id": namespace_id, "user_id": user_id}
    linked = {"namespace_id": namespace_id, "owner": user_id}
    talks = Conversation.objects.filter(**mine)
    sessions = {"namespace_id": namespace_id, "session_id__in": sessions_of(namespace_id, user_id)}
    return {
        "console_log": log_entries(Memory.objects.filter(**mine), talks, SessionMemory.objects.filter(**sessions)),
        "relationships": Relationship.objects.filter(**linked),
        "pending_relationships": PendingRelationship.objects.filter(**linked),
        "vectors": Embedding.objects.filter(**mine),
        "memories": Memory.objects.filter(**mine),
        "messages": Message.objects.filter(conversation__in=talks),
        "conversations": talks,
        "sessions": SessionMemory.objects.filter(**sessions),
        "session_links": links_between(**sessions),
        **{named(model): model._base_manager.filter(**mine) for model in tables_of_users()},
        "kept_answers": answers_naming(namespace_id, user_id),
    }


def tables_of_users() -> list[type[Model]]:
    """Every other table whose rows belong to users."""
    known = (Memory, Embedding, Conversation, *DERIVED)
    return [model for model in apps.get_models() if model not in known and {"namespace", "user_id"} <= columns(model)]


def columns(model: type[Model]) -> set[str]:
    return {field.name for field in model._meta.concrete_fields}


def named(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural).replace(" ", "_")


def sessions_of(namespace_id: int, user_id: str) -> list[str]:
    """The sessions that his memories and conversations name, and those of nobody else do."""
    tables = [
        model.objects.filter(namespace_id=namespace_id).exclude(session_id=None) for model in (Memory, Conversation)
    ]
    mine = {name for rows in tables for name in rows.filter(user_id=user_id).values_list("session_id", flat=True)}
    others = [rows.filter(session_id__in=mine, user_id__isnull=False).exclude(user_id=user_id) for rows in tables]
    return sorted(mine - {name for rows in others for name in rows.values_list("session_id", flat=True)})


def links_between(namespace_id: int, session_id__in: list[str]) -> QuerySet:
    rows = SessionLink.objects.filter(namespace_id=namespace_id)
    return rows.filter(source_session_id__in=session_id__in) | rows.filter(target_session_id__in=session_id__in)


def log_entries(*tables: QuerySet) -> QuerySet:
    """What the console noted about these rows: each entry repeats the beginning of its row."""
    found = LogEntry.objects.none()
    for rows in tables:
        label = {
            "content_type__app_label": rows.model._meta.app_label,
            "content_type__model": rows.model._meta.model_name,
        }
        found |= LogEntry.objects.filter(**label, object_id__in=[str(pk) for pk in rows.values_list("pk", flat=True)])
    return found


def answers_naming(namespace_id: int, user_id: str) -> QuerySet:
    """Answers kept for retries that hold the user's id."""
    text = Value(to_json(user_id))
    place = Func(text, "body", template="position(%(expressions)s)", arg_joiner=" IN ", output_field=IntegerField())
    return IdempotentAnswer.objects.filter(api_key__namespace_id=namespace_id).alias(place=place).filter(place__gt=0)


@surviving_deadlocks
def erase(namespace_id: int, user_id: str, by: str) -> dict[str, int]:
    """Erase a user, all or nothing: what was erased, by kind. Noted as an Erasure, whoever asked for it `by` name."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENTLY)
        erased = delete_rows(belongings(namespace_id, user_id))
        UserTotal.objects.filter(namespace_id=namespace_id, user_id=user_id).delete()
        if erased:
            note(namespace_id, user_id, by, erased)
    return erased


def everything(namespace_id: int) -> Rows:
    """All that a namespace holds but its keys and its audit lines, by name."""
    kept = (ApiKey, Erasure, Reembedding, *DERIVED)
    tables = [model for model in apps.get_models() if model not in kept and "namespace" in columns(model)]
    answers = IdempotentAnswer.objects.filter(api_key__namespace_id=namespace_id)
    return {named(model): model._base_manager.filter(namespace_id=namespace_id) for model in tables} | {
        "kept_answers": answers
    }


def count_rows(tables: Rows) -> dict[str, int]:
    """How many rows of each kind; kinds without any are left out."""
    counted = {name: rows.count() for name, rows in tables.items()}
    return {name: number for name, number in counted.items() if number}


def delete_rows(tables: Rows) -> dict[str, int]:
    deleted = {name: gone(rows) for name, rows in tables.items()}
    return {name: number for name, number in deleted.items() if number}


@surviving_deadlocks
def erase_all(namespace_id: int) -> None:
    """Empty a namespace, all or nothing."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENTLY)
        delete_rows(everything(namespace_id))


def gone(rows: QuerySet) -> int:
    return rows._raw_delete(rows.db)


def note(namespace_id: int, user_id: str, by: str, erased: dict[str, Any]) -> None:
    Erasure.objects.create(namespace_id=namespace_id, user_digest=digest(user_id), by=by, erased=erased)


def digest(user_id: str) -> bytes:
    """SHA-256: tells whether a given user was erased, not who was."""
    return hashlib.sha256(user_id.encode()).digest()
