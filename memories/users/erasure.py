"""Erase a user: everything that a namespace stores about the user, with an audit line that does not name the user.

Every model with a namespace and a `user_id` is included, so that a table that is added later is not forgotten. Texts of
other users that mention the user id stay, as do backups until they are rotated; a backup that is restored is erased
again, by the ledger of `memory_site.operations.erasures`.
"""

import hashlib
from collections import Counter
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from pydantic_core import to_json

from memories.graph.models import Erasure, PendingRelationship, Relationship, UserStatistics, UserTotal
from memories.history.models import DeletedPart, MemoryVersion, Operation
from memories.jobs.models import Job, JobFile
from memories.models import DueEmbedding, Embedding, Memory, Reembedding
from memories.users.statistics import compact_totals
from memory_site.core.db.actor import name_actor, without_history
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.lists.models import SavedFilter
from sessions_app.models import (
    ApiKey,
    Conversation,
    ErasedNamespace,
    IdempotentAnswer,
    Message,
    SessionLink,
    SessionMemory,
)

#: Triggers and refreshes derive these rows from the deleted ones.
DERIVED_MODELS = (UserTotal, UserStatistics)
#: Deleting a user with many memories may take longer than a request may.
NO_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 0"
#: Who still stores something about the user then, stores it after the erasure.
MAX_PASSES = 5
UUID_PATTERN = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Answers stored for retries that contain the user id, the id of one of the user's rows, or the name of a session.
SELECT_ANSWERS_NAMING_USER_SQL = """
WITH erased (id) AS MATERIALIZED ({ids}), sessions (name) AS MATERIALIZED ({names})
SELECT id FROM sessions_app_idempotentanswer
WHERE namespace_id = %s AND (
    position(%s IN body) > 0
    OR EXISTS (SELECT FROM regexp_matches(encode(body, 'escape'), %s, 'g') found
               JOIN erased ON erased.id = found[1]::uuid)
    OR EXISTS (SELECT FROM sessions WHERE position(convert_to(to_json(name)::text, 'UTF8') IN body) > 0)
)
"""

RowsByKind = dict[str, QuerySet]


def collect_user_rows(namespace_id: int, user_id: str) -> RowsByKind:
    """Return the user's rows by kind, in an order of deletion: no query depends on rows that are deleted before it."""
    mine: dict[str, Any] = {"namespace_id": namespace_id, "user_id": user_id}
    owned = {"namespace_id": namespace_id, "owner": user_id}
    rows = {
        "session_links": SessionLink.objects.filter(
            sessions_only_of("source_session_id", **mine) | sessions_only_of("target_session_id", **mine),
            namespace=namespace_id,
        ),
        "sessions": SessionMemory.objects.filter(sessions_only_of("session_id", **mine), namespace=namespace_id),
        "relationships": Relationship.objects.filter(**owned),
        "pending_relationships": PendingRelationship.objects.filter(**owned),
        "vectors": Embedding.objects.filter(**mine),
        "messages": Message.objects.filter(
            namespace=namespace_id, conversation__in=Conversation.objects.filter(**mine)
        ),
        **{get_kind(model): filter_by_memories(model, mine) for model in list_memory_detail_models()},
        **collect_history(namespace_id, user_id),
        "memories": Memory.objects.filter(**mine),
        "conversations": Conversation.objects.filter(**mine),
        **{get_kind(model): model._base_manager.filter(**mine) for model in list_user_models()},
        "jobs": Job.objects.in_namespace(namespace_id).naming_user(user_id),
    }
    references = {
        "kept_answers": find_answers_naming_user(namespace_id, user_id, rows),
        "console_log": find_log_entries(rows),
    }
    return references | rows


def collect_shared_rows(namespace_id: int, user_id: str) -> RowsByKind:
    """Return what goes with an erased user, but is no sign of one: all exported files, of which it is not known
    which users they are about, and saved filters, which may mean a user of another namespace."""
    return {
        "exported_files": JobFile.objects.filter(namespace=namespace_id),
        "saved_filters": SavedFilter.objects.naming_user(namespace_id, user_id),
    }


def collect_history(namespace_id: int, user_id: str) -> RowsByKind:
    """Return what is kept of the user's memories, deleted ones too, and of others from the time when they were the
    user's."""
    mine: dict[str, Any] = {"namespace": namespace_id, "user_id": user_id}
    versions = MemoryVersion.objects.filter(namespace=namespace_id)
    deleted = versions.filter(user_id=user_id, operation=Operation.DELETE).values("memory_id")
    own = Q(memory_id__in=Memory.objects.filter(**mine).values("pk")) | Q(memory_id__in=deleted)
    parts = DeletedPart.objects.filter(own | Q(user_id=user_id), namespace=namespace_id)
    return {
        "parts_of_deleted_memories": parts,
        "versions": versions.filter(own | Q(user_id=user_id), operation=Operation.UPDATE),
        "trash": versions.filter(user_id=user_id, operation=Operation.DELETE),
    }


def find_user_ids(namespace_id: int) -> set[str]:
    """Return the users that any row of a namespace belongs to."""
    mine = {"namespace_id": namespace_id}
    with_user: list[type[Model]] = [Memory, MemoryVersion, Embedding, Conversation, UserTotal, *list_user_models()]
    with_owner: list[type[Model]] = [Relationship, PendingRelationship]
    columns = [*((model, "user_id") for model in with_user), *((model, "owner") for model in with_owner)]
    queries = [model._base_manager.filter(**mine).order_by().values_list(name).distinct() for model, name in columns]
    return {user_id for (user_id,) in queries[0].union(*queries[1:]) if user_id}


def list_user_models() -> list[type[Model]]:
    """Return every other model whose rows belong to users."""
    known = (Memory, Embedding, Conversation, MemoryVersion, DeletedPart, *DERIVED_MODELS)
    return [
        model
        for model in apps.get_models()
        if model not in known and not model._meta.proxy and {"namespace", "user_id"} <= get_field_names(model)
    ]


def list_memory_detail_models() -> list[type[Model]]:
    """Return every other model whose primary key is a memory."""
    known = (Embedding, DueEmbedding)
    return [model for model in apps.get_models() if model not in known and is_memory_detail(model)]


def is_memory_detail(model: type[Model]) -> bool:
    key = model._meta.pk
    return bool(key.one_to_one) and key.related_model is Memory and "namespace" in get_field_names(model)


def filter_by_memories(model: type[Model], mine: dict[str, Any]) -> QuerySet:
    ids = Memory.objects.filter(**mine).values("pk")
    return model._base_manager.filter(namespace=mine["namespace_id"], pk__in=ids)


def get_field_names(model: type[Model]) -> set[str]:
    return {field.name for field in model._meta.concrete_fields}


def get_kind(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural).replace(" ", "_")


def sessions_only_of(column: str, namespace_id: int, user_id: str) -> Q:
    """Select rows whose column names a session of the user's memories or conversations and of no other user's."""
    mine, others = Q(), Q()
    for model in (Memory, Conversation):
        rows = model.objects.filter(namespace_id=namespace_id, session_id__isnull=False)
        theirs = rows.filter(user_id__isnull=False).exclude(user_id=user_id)
        mine |= Q(**{f"{column}__in": rows.filter(user_id=user_id).values("session_id")})
        others |= Q(**{f"{column}__in": theirs.values("session_id")})
    return mine & ~others


def find_log_entries(rows: RowsByKind) -> QuerySet:
    """Return the console's log entries about these rows."""
    about = Q(pk__in=())
    for each in rows.values():
        if not (has_id(each) or is_memory_detail(each.model)):
            continue
        label = {
            "content_type__app_label": each.model._meta.app_label,
            "content_type__model": each.model._meta.model_name,
        }
        keys = each.annotate(row_key=Cast("pk", TextField())).values("row_key")
        about |= Q(**label, object_id__in=keys)
    return LogEntry.objects.filter(about)


def has_id(rows: QuerySet) -> bool:
    return hasattr(rows.model, "id")


def find_answers_naming_user(namespace_id: int, user_id: str, rows: RowsByKind) -> QuerySet:
    id_queries = [each.values("id").query.sql_with_params() for each in rows.values() if has_id(each)]
    ids = " UNION ALL ".join(f"({sql})" for sql, _ in id_queries)
    id_parameters = [value for _, parameters in id_queries for value in parameters]
    names, name_parameters = rows["sessions"].values("session_id").query.sql_with_params()
    sql = SELECT_ANSWERS_NAMING_USER_SQL.format(ids=ids, names=names)
    parameters = [*id_parameters, *name_parameters, namespace_id, to_json(user_id), f"({UUID_PATTERN})"]
    return IdempotentAnswer.objects.filter(namespace_id=namespace_id, pk__in=RawSQL(sql, parameters))  # noqa: S611  (values are parameters)


@retry_on_deadlock
def erase(namespace_id: int, user_id: str, requested_by: str) -> dict[str, int]:
    """Erase a user in one transaction, with an audit line. Return the numbers of erased rows by kind."""
    with transaction.atomic(), connection.cursor() as cursor, without_history():
        cursor.execute(NO_STATEMENT_TIMEOUT)
        name_actor()
        erased = delete_user_rows(namespace_id, user_id)
        if erased:
            record_erasure(namespace_id, user_id, requested_by, erased)
    if erased:
        compact_totals(namespace_id)  # deletes the rows of the user's totals, which add up to zero now
    return erased


def collect_namespace_rows(namespace_id: int) -> RowsByKind:
    """Return all rows of a namespace by kind, except API keys, audit lines and re-embeddings."""
    excluded = (ApiKey, IdempotentAnswer, Erasure, Reembedding, *DERIVED_MODELS)
    models = [model for model in apps.get_models() if model not in excluded and not model._meta.proxy]
    tables = [model for model in models if "namespace" in get_field_names(model)]
    answers = IdempotentAnswer.objects.filter(namespace_id=namespace_id)
    return {get_kind(model): model._base_manager.filter(namespace_id=namespace_id) for model in tables} | {
        "kept_answers": answers
    }


def count_rows(tables: RowsByKind) -> dict[str, int]:
    """Return the numbers of rows; kinds without rows are left out."""
    return {kind: number for kind, rows in tables.items() if (number := rows.count())}


def count_user_rows(namespace_id: int, user_id: str) -> dict[str, int]:
    """Return the numbers of rows that an erasure would delete; nothing for an unknown user."""
    counts = count_rows(collect_user_rows(namespace_id, user_id))
    return counts and counts | count_rows(collect_shared_rows(namespace_id, user_id))


def delete_user_rows(namespace_id: int, user_id: str) -> dict[str, int]:
    """Delete them, and return their numbers. An unknown user, such as a misspelt one, deletes no file.

    Again, until nothing is found: another transaction may commit while one pass is under way, and its rows of a kind
    that this pass has deleted before would stay, such as a memory in the trash.
    """
    deleted = Counter(delete_rows(collect_user_rows(namespace_id, user_id)))
    for _ in range(MAX_PASSES - 1):
        if not (found := delete_rows(collect_user_rows(namespace_id, user_id))):
            break
        deleted.update(found)
    return dict(deleted) and dict(deleted) | delete_rows(collect_shared_rows(namespace_id, user_id))


def delete_rows(tables: RowsByKind) -> dict[str, int]:
    """Delete in the given order, and return the numbers of deleted rows; kinds without rows are left out."""
    return {kind: number for kind, rows in tables.items() if (number := raw_delete(rows))}


@retry_on_deadlock
def erase_namespace(namespace_id: int) -> None:
    """Delete the rows of a namespace in one transaction, and note it."""
    with transaction.atomic(), connection.cursor() as cursor, without_history():
        cursor.execute(NO_STATEMENT_TIMEOUT)
        name_actor()
        delete_rows(collect_namespace_rows(namespace_id))
        ErasedNamespace.objects.create(erased_id=namespace_id, deleted=False)


def raw_delete(rows: QuerySet) -> int:
    """Delete with one statement. `QuerySet.delete` would load the rows to cascade; the database cascades itself."""
    return rows._raw_delete(rows.db)


def record_erasure(namespace_id: int, user_id: str, requested_by: str, erased: dict[str, Any]) -> None:
    Erasure.objects.create(
        namespace_id=namespace_id, user_digest=hash_user_id(user_id), requested_by=requested_by, erased=erased
    )


def hash_user_id(user_id: str) -> bytes:
    """Return the SHA-256: it shows whether a given user was erased, and does not reveal the user ids."""
    return hashlib.sha256(user_id.encode()).digest()
