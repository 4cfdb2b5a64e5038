"""The record types of an export: their columns, references and identities, and the rows that are exported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

from ingestion.models import Document, PerformanceMetric, WorkflowExecution
from memories.graph.models import PendingRelationship, Relationship
from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.knowledge.models import Cluster, Pattern, Preference
from memories.models import Memory
from memories.states import EVERY_STATE
from sessions_app.models import Conversation, Message, SessionLink, SessionMemory

EXPORT_VERSION = 1
HEADER_KIND = "export"


@dataclass(frozen=True, eq=False)
class RecordType:
    """One kind of line: a table row with all columns but the namespace and generated ones."""

    name: str
    model: Any  # a model class: `objects` is unknown to type checkers on type[models.Model]
    #: Columns that refer to a row of another kind, which must be on an earlier line.
    references: Mapping[str, str] = field(default_factory=dict)
    #: SQL expression, of type text, that is unique in a namespace: rows with the same one are duplicates in spite of
    #: different ids. NULL where there is no such key.
    identity: str = "NULL"
    #: Generated columns that the identity needs, as SQL over the line's JSON `value`.
    computed: Mapping[str, str] = field(default_factory=dict)
    #: The primary key: `id`, or a reference where the table shares another one's key.
    key: str = "id"
    #: Columns that are computed on import (derived_columns.py): never exported, and ignored in a file.
    derived: tuple[str, ...] = ()
    #: Columns that concern this store alone: never in a file.
    local: tuple[str, ...] = ()
    #: Names in the file of renamed columns: the file format stays when a column is renamed.
    file_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def fields(self) -> list[models.Field]:
        excluded = {"namespace", *self.derived, *self.local}
        fields = self.model._meta.concrete_fields
        return [field for field in fields if not field.generated and field.name not in excluded]

    @property
    def columns(self) -> list[str]:
        return [str(field.column) for field in self.fields]

    def file_name(self, column: str) -> str:
        return self.file_names.get(column, column)


MEMORY_IDENTITY_SQL = """
CASE WHEN key IS NOT NULL THEN ROW(user_id, 'key', key)::text
WHEN entity_id IS NULL THEN ROW(memory_type, user_id, content_hash, document_id, memories_role(metadata))::text
ELSE ROW(user_id, entity_system, entity_id)::text END
"""
DOCUMENT_IDENTITY_SQL = "CASE WHEN path IS NULL THEN ROW(repo_id, digest)::text ELSE ROW(repo_id, NULL, path)::text END"
SESSION_LINK_IDENTITY_SQL = "ROW(source_session_id, target_session_id, link_type)::text"
RELATIONSHIP_IDENTITY_SQL = "ROW(from_memory_id, to_memory_id, type)::text"
PENDING_RELATIONSHIP_IDENTITY_SQL = "ROW(from_memory_id, entity_system, entity_id, type, reverse)::text"
CLUSTER_IDENTITY_SQL = "ROW(memory_type, knowledge_tags_key(tags))::text"
PROJECT_DEPENDENCY_IDENTITY_SQL = "ROW(source_project, target_project, type)::text"
INSIGHT_REFERENCES = {"memory_id": "memory", "source_memory_id": "memory", "conversation_id": "conversation"}
USER_KEY_IDENTITY_SQL = "ROW(user_id, key)::text"
CONTENT_HASH_COLUMN = {"content_hash": "memories_sha256(value ->> 'content')"}
RELATIONSHIP_REFERENCES = {"from_memory_id": "memory", "to_memory_id": "memory"}
REDACTED_NAMES_FILE_NAME = {"redacted_names": "masks"}
#: By name, in the order of the lines: referenced rows come first, and clusters before the memories, whose triggers
#: would create them.
RECORD_TYPES = {
    kind.name: kind
    for kind in (
        RecordType("document", Document, identity=DOCUMENT_IDENTITY_SQL),
        RecordType("conversation", Conversation),
        RecordType("cluster", Cluster, identity=CLUSTER_IDENTITY_SQL, file_names={"is_explicit": "told"}),
        RecordType(
            "memory",
            Memory,
            {"document_id": "document"},
            MEMORY_IDENTITY_SQL,
            CONTENT_HASH_COLUMN,
            local=("last_seen_at", "revision"),
        ),
        RecordType(
            "insight",
            Insight,
            INSIGHT_REFERENCES,
            "encode(digest, 'hex')",
            key="memory_id",
            derived=("digest", "bands"),
        ),
        RecordType("pattern", Pattern, identity=USER_KEY_IDENTITY_SQL),
        RecordType("preference", Preference, identity=USER_KEY_IDENTITY_SQL),
        RecordType(
            "project_group",
            ProjectGroup,
            identity="name",
            derived=("redacted_names",),
            file_names=REDACTED_NAMES_FILE_NAME,
        ),
        RecordType(
            "project_dependency",
            ProjectDependency,
            identity=PROJECT_DEPENDENCY_IDENTITY_SQL,
            derived=("redacted_names",),
            file_names=REDACTED_NAMES_FILE_NAME,
        ),
        RecordType("session", SessionMemory, identity="session_id"),
        RecordType("session_link", SessionLink, identity=SESSION_LINK_IDENTITY_SQL),
        RecordType("message", Message, {"conversation_id": "conversation", "memory_id": "memory"}),
        RecordType("workflow_execution", WorkflowExecution, {"memory_id": "memory"}),
        RecordType("performance_metric", PerformanceMetric),
        RecordType("relationship", Relationship, RELATIONSHIP_REFERENCES, RELATIONSHIP_IDENTITY_SQL),
        RecordType(
            "pending_relationship", PendingRelationship, {"from_memory_id": "memory"}, PENDING_RELATIONSHIP_IDENTITY_SQL
        ),
    )
}
#: Ids in a JSON column: kind of the row, column, key, and the kind that they refer to. An API client may have written
#: anything there.
JSON_REFERENCES = (
    ("memory", "metadata", "document_id", "document"),
    ("memory", "metadata", "conversation_id", "conversation"),
    ("memory", "metadata", "message_id", "message"),
    ("memory", "metadata", "execution_id", "workflow_execution"),
    ("performance_metric", "metrics", "execution_id", "workflow_execution"),
)


def select_rows(namespace_id: int, user_id: str | None) -> dict[str, models.QuerySet]:
    """Return the rows to export, by kind: the unexpired ones of a namespace, or of one user, and superseded memories.

    A user's sessions are those that the user's memories and conversations refer to.
    """
    rows = {name: kind.model.objects.in_namespace(namespace_id) for name, kind in RECORD_TYPES.items()}
    for name in ("memory", "insight", "relationship", "pending_relationship"):
        rows[name] = RECORD_TYPES[name].model.objects.in_namespace(namespace_id, EVERY_STATE)
    rows["cluster"] = rows["cluster"].filter(is_explicit=True)  # the others are created with their memories
    if user_id is not None:
        for name in ("document", "cluster", "project_group", "project_dependency", "performance_metric"):
            rows[name] = rows[name].none()
        for name in ("memory", "conversation", "workflow_execution", "pattern", "preference"):
            rows[name] = rows[name].filter(user_id=user_id)
        rows["memory"] = exclude_duplicate_chunks(rows["memory"])
        ids = [rows[name].exclude(session_id=None).values("session_id") for name in ("memory", "conversation")]
        rows["session"] = rows["session"].filter(build_any_of_filter("session_id", ids))
        both_ends = build_any_of_filter("source_session_id", ids) & build_any_of_filter("target_session_id", ids)
        rows["session_link"] = rows["session_link"].filter(both_ends)
    return {name: exclude_dangling_rows(RECORD_TYPES[name], rows[name], rows) for name in RECORD_TYPES}


def exclude_duplicate_chunks(memories: models.QuerySet) -> models.QuerySet:
    """Exclude chunks that are equal to another memory of the user apart from their document, which is not exported.

    Of such duplicates the memory without a document stays, or else the oldest chunk.
    """
    same = {name: OuterRef(name) for name in ("namespace", "owner", "memory_type", "content_hash")}
    plain = {"entity_id": None, "key": None}
    duplicates = memories.filter(Q(document_id=None) | Q(pk__lt=OuterRef("pk")), **same, **plain)
    return memories.exclude(Exists(duplicates), document_id__isnull=False, **plain)


def build_any_of_filter(column: str, querysets: list[models.QuerySet]) -> Q:
    return Q(*[(f"{column}__in", queryset) for queryset in querysets], _connector=Q.OR)


def exclude_dangling_rows(
    kind: RecordType, rows: models.QuerySet, all_rows: Mapping[str, models.QuerySet]
) -> models.QuerySet:
    """Exclude rows with a required reference to a row that is not exported."""
    required = {str(field.column) for field in kind.fields if not field.null}
    for column, target in kind.references.items():
        if column in required:
            rows = rows.filter(**{f"{column}__in": all_rows[target].values("pk")})
    return rows
