"""The kinds of lines an export has: what they hold and name, which rows they are, and what makes two the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import models
from django.db.models import Exists, OuterRef, Q

from ingestion.models import Document, WorkflowExecution
from memories.graph.models import PendingRelationship, Relationship
from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.knowledge.models import Cluster, Pattern, Preference
from memories.models import Memory
from sessions_app.models import Conversation, Message, SessionLink, SessionMemory

EXPORT_VERSION = 1
HEADER_KIND = "export"


@dataclass(frozen=True, eq=False)
class RecordType:
    """One kind of line: a row with all its columns but the namespace and those that are computed."""

    name: str
    model: type[models.Model]
    #: Columns that name a row of another kind, which stands on an earlier line.
    references: Mapping[str, str] = field(default_factory=dict)
    #: What two rows of a namespace cannot both have, so that they are the same whatever their ids: text, in SQL.
    identity: str = "NULL"
    #: Columns of PostgreSQL's that the identity needs, made of the line's `value`.
    computed: Mapping[str, str] = field(default_factory=dict)
    #: The column of its own id; a reference where it has none but another row's.
    key: str = "id"
    #: Columns that are made of the others or of a memory: never written, and never believed (derived.py).
    derived: tuple[str, ...] = ()
    #: Names in the file of columns that are called something else here: the format outlives the names of columns.
    file_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def fields(self) -> list[models.Field]:
        left_out = {"namespace", *self.derived}
        return [each for each in self.model._meta.concrete_fields if not each.generated and each.name not in left_out]

    @property
    def columns(self) -> list[str]:
        return [each.column for each in self.fields]

    def file_name(self, column: str) -> str:
        return self.file_names.get(column, column)


MEMORY_IDENTITY_SQL = """
CASE WHEN entity_id IS NULL THEN ROW(memory_type, user_id, content_hash, document_id)::text
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
#: By name, in the order of the lines: what is named comes first, and clusters before PostgreSQL makes others for the
#: memories that come.
RECORD_TYPES = {
    kind.name: kind
    for kind in (
        RecordType("document", Document, identity=DOCUMENT_IDENTITY_SQL),
        RecordType("conversation", Conversation),
        RecordType("cluster", Cluster, identity=CLUSTER_IDENTITY_SQL, file_names={"is_explicit": "told"}),
        RecordType("memory", Memory, {"document_id": "document"}, MEMORY_IDENTITY_SQL, CONTENT_HASH_COLUMN),
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
        RecordType("relationship", Relationship, RELATIONSHIP_REFERENCES, RELATIONSHIP_IDENTITY_SQL),
        RecordType(
            "pending_relationship", PendingRelationship, {"from_memory_id": "memory"}, PENDING_RELATIONSHIP_IDENTITY_SQL
        ),
    )
}
#: What a memory's metadata name, by key. A caller may have written anything there.
METADATA_REFERENCES = {
    "document_id": "document",
    "conversation_id": "conversation",
    "message_id": "message",
    "execution_id": "workflow_execution",
}


def select_rows(namespace_id: int, user_id: str | None) -> dict[str, models.QuerySet]:
    """The rows to export, by kind: the living ones of a namespace, or what there is of one user. His sessions are those
    that his memories and conversations name."""
    rows = {name: kind.model.objects.in_namespace(namespace_id) for name, kind in RECORD_TYPES.items()}
    rows["cluster"] = rows["cluster"].filter(is_explicit=True)  # the others come with their memories
    if user_id is not None:
        for name in ("document", "cluster", "project_group", "project_dependency"):
            rows[name] = rows[name].none()
        for name in ("memory", "conversation", "workflow_execution", "pattern", "preference"):
            rows[name] = rows[name].filter(user_id=user_id)
        rows["memory"] = exclude_duplicate_chunks(rows["memory"])
        named = [rows[name].exclude(session_id=None).values("session_id") for name in ("memory", "conversation")]
        rows["session"] = rows["session"].filter(build_any_of_filter("session_id", named))
        ends = build_any_of_filter("source_session_id", named) & build_any_of_filter("target_session_id", named)
        rows["session_link"] = rows["session_link"].filter(ends)
    return {name: exclude_dangling_rows(RECORD_TYPES[name], rows[name], rows) for name in RECORD_TYPES}


def exclude_duplicate_chunks(memories: models.QuerySet) -> models.QuerySet:
    """Without chunks that differ from another memory of the user's in nothing but their document, which is not
    exported: the memory of no document stays, or else the oldest chunk."""
    same = {name: OuterRef(name) for name in ("namespace", "user_id", "memory_type", "content_hash")}
    twins = memories.filter(Q(document_id=None) | Q(pk__lt=OuterRef("pk")), **same, entity_id=None)
    return memories.exclude(Exists(twins), document_id__isnull=False, entity_id=None)


def build_any_of_filter(column: str, lists: list[models.QuerySet]) -> Q:
    return Q(*[(f"{column}__in", each) for each in lists], _connector=Q.OR)


def exclude_dangling_rows(
    kind: RecordType, rows: models.QuerySet, all_rows: Mapping[str, models.QuerySet]
) -> models.QuerySet:
    """Without rows that cannot be there without another one, which is not exported."""
    for each in kind.fields:
        if each.column in kind.references and not each.null:
            rows = rows.filter(**{f"{each.column}__in": all_rows[kind.references[each.column]].values("pk")})
    return rows
