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

VERSION = 1
HEADER = "export"


@dataclass(frozen=True, eq=False)
class Kind:
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


MEMORY = """
CASE WHEN entity_id IS NULL THEN ROW(memory_type, user_id, content_hash, document_id)::text
ELSE ROW(user_id, entity_system, entity_id)::text END
"""
DOCUMENT = "CASE WHEN path IS NULL THEN ROW(repo_id, digest)::text ELSE ROW(repo_id, NULL, path)::text END"
LINK = "ROW(source_session_id, target_session_id, link_type)::text"
RELATIONSHIP = "ROW(from_memory_id, to_memory_id, type)::text"
PENDING = "ROW(from_memory_id, entity_system, entity_id, type, reverse)::text"
CLUSTER = "ROW(memory_type, knowledge_key(tags))::text"
DEPENDENCY = "ROW(source_project, target_project, type)::text"
OF_INSIGHT = {"memory_id": "memory", "source_memory_id": "memory", "conversation_id": "conversation"}
OF_USER = "ROW(user_id, key)::text"
DIGEST = {"content_hash": "memories_sha256(value ->> 'content')"}
ENDS = {"from_memory_id": "memory", "to_memory_id": "memory"}
#: By name, in the order of the lines: what is named comes first, and clusters before PostgreSQL makes others for the
#: memories that come.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("document", Document, identity=DOCUMENT),
        Kind("conversation", Conversation),
        Kind("cluster", Cluster, identity=CLUSTER),
        Kind("memory", Memory, {"document_id": "document"}, MEMORY, DIGEST),
        Kind("insight", Insight, OF_INSIGHT, "encode(digest, 'hex')", key="memory_id", derived=("digest", "bands")),
        Kind("pattern", Pattern, identity=OF_USER),
        Kind("preference", Preference, identity=OF_USER),
        Kind("project_group", ProjectGroup, identity="name", derived=("masks",)),
        Kind("project_dependency", ProjectDependency, identity=DEPENDENCY, derived=("masks",)),
        Kind("session", SessionMemory, identity="session_id"),
        Kind("session_link", SessionLink, identity=LINK),
        Kind("message", Message, {"conversation_id": "conversation", "memory_id": "memory"}),
        Kind("workflow_execution", WorkflowExecution, {"memory_id": "memory"}),
        Kind("relationship", Relationship, ENDS, RELATIONSHIP),
        Kind("pending_relationship", PendingRelationship, {"from_memory_id": "memory"}, PENDING),
    )
}
#: What a memory's metadata name, by key. A caller may have written anything there.
NAMED_IN_METADATA = {
    "document_id": "document",
    "conversation_id": "conversation",
    "message_id": "message",
    "execution_id": "workflow_execution",
}


def scope(namespace_id: int, user_id: str | None) -> dict[str, models.QuerySet]:
    """The rows to export, by kind: the living ones of a namespace, or what there is of one user. His sessions are those
    that his memories and conversations name."""
    rows = {name: kind.model.objects.in_namespace(namespace_id) for name, kind in KINDS.items()}
    rows["cluster"] = rows["cluster"].filter(told=True)  # the others come with their memories
    if user_id is not None:
        for name in ("document", "cluster", "project_group", "project_dependency"):
            rows[name] = rows[name].none()
        for name in ("memory", "conversation", "workflow_execution", "pattern", "preference"):
            rows[name] = rows[name].filter(user_id=user_id)
        rows["memory"] = each_text_once(rows["memory"])
        named = [rows[name].exclude(session_id=None).values("session_id") for name in ("memory", "conversation")]
        rows["session"] = rows["session"].filter(is_among("session_id", named))
        ends = is_among("source_session_id", named) & is_among("target_session_id", named)
        rows["session_link"] = rows["session_link"].filter(ends)
    return {name: with_what_it_needs(KINDS[name], rows[name], rows) for name in KINDS}


def each_text_once(memories: models.QuerySet) -> models.QuerySet:
    """Without chunks that differ from another memory of the user's in nothing but their document, which is not
    exported: the memory of no document stays, or else the oldest chunk."""
    same = {name: OuterRef(name) for name in ("namespace", "user_id", "memory_type", "content_hash")}
    twins = memories.filter(Q(document_id=None) | Q(pk__lt=OuterRef("pk")), **same, entity_id=None)
    return memories.exclude(Exists(twins), document_id__isnull=False, entity_id=None)


def is_among(column: str, lists: list[models.QuerySet]) -> Q:
    return Q(*[(f"{column}__in", each) for each in lists], _connector=Q.OR)


def with_what_it_needs(kind: Kind, rows: models.QuerySet, all_rows: Mapping[str, models.QuerySet]) -> models.QuerySet:
    """Without rows that cannot be there without another one, which is not exported."""
    for each in kind.fields:
        if each.column in kind.references and not each.null:
            rows = rows.filter(**{f"{each.column}__in": all_rows[kind.references[each.column]].values("pk")})
    return rows
