"""Move memories to another namespace, with their vectors where both use one model, and with insights. Relationships
join memories of one namespace, so they are lost; chunks stay with their document."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model, Q

from memories.expiry import delete_expired_memories
from memories.graph.models import Relationship
from memories.history.models import MemoryVersion
from memories.insights.models import Insight
from memories.jobs.actions.base import CHUNK_REASON, Action, Batch, Failure, Outcome, apply_by_halves, leave
from memories.jobs.models import Job
from memories.models import DueEmbedding, Embedding, Memory, MemoryQuerySet
from memory_site.core.db.actor import without_history
from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import InputSchema
from sessions_app.models import Namespace

CHANGED_THERE = "It was changed in the other namespace since, and stays there."
RELATIONSHIPS_ARE_LOST = "{:,} relationships of theirs are lost: those join memories of one namespace."
COPY_SQL = """
INSERT INTO {table} (namespace_id, {columns})
SELECT %(target)s, {values} FROM {table} WHERE namespace_id = %(namespace)s AND {key} = ANY (%(ids)s)
"""
#: Of an insight: rows of the other namespace that do not exist there.
LEFT_BEHIND = {"source_memory_id", "conversation_id"}
#: Only vectors of the model that the other namespace uses, and of the present content.
CURRENT_VECTORS_SQL = f"""{COPY_SQL}
AND model = (SELECT embedding_model FROM sessions_app_namespace WHERE id = %(target)s)
AND content_hash = (
    SELECT content_hash FROM memories_memory WHERE namespace_id = %(namespace)s AND id = memory_id
)
RETURNING memory_id
"""


class MoveParameters(InputSchema):
    namespace_id: int


class Move(Action):
    name, title, icon = "move", "Move to a namespace", "drive_file_move"
    permission = "memories.delete_memory"
    parameters = MoveParameters
    is_destructive = True
    in_api = False

    def describe(self, parameters: MoveParameters, memories: str) -> str:
        name = Namespace.objects.filter(pk=parameters.namespace_id).values_list("name", flat=True).first()
        return f"Move {memories} to the namespace “{name}”" if name else f"Move {memories} to a namespace that is gone"

    def check(self, namespace_id: int, parameters: MoveParameters) -> None:
        if parameters.namespace_id == namespace_id:
            raise InvalidField("parameters.namespace", "must be another namespace than the memories have")
        if not Namespace.objects.filter(pk=parameters.namespace_id).exists():
            raise InvalidField("parameters.namespace", "must be a namespace that exists")

    def warn(self, namespace_id: int, memories: MemoryQuerySet) -> list[str]:
        ids = memories.values("pk")
        lost = Relationship.objects.filter(namespace=namespace_id).filter(Q(from_memory__in=ids) | Q(to_memory__in=ids))
        return [RELATIONSHIPS_ARE_LOST.format(number)] if (number := lost.count()) else []

    def start(self, job: Job, parameters: Any) -> None:
        self.check(job.namespace_id, parameters)
        delete_expired_memories(parameters.namespace_id)

    def apply(self, batch: Batch) -> Outcome:
        target = batch.parameters.namespace_id
        rows = batch.memories()
        chunks = list(rows.filter(document_id__isnull=False).order_by("pk").values_list("pk", flat=True))
        others = list(rows.filter(document_id=None).order_by("pk").values_list("pk", flat=True))

        def move(ids: Sequence[UUID]) -> None:
            copy_memories(batch.namespace_id, target, ids)
            batch.memories(ids).delete()

        return leave(chunks, CHUNK_REASON) + apply_by_halves(others, move)

    def find_kept(self, job: Job, ids: Sequence[UUID]) -> list[Failure]:
        """Lock the copies, and return those that were changed since they were made: they stay."""
        copies = Memory.objects.filter(namespace_id=job.parameters["namespace_id"], pk__in=ids)
        found = dict(copies.order_by("pk").select_for_update().values_list("pk", "updated_at"))
        moved = MemoryVersion.objects.filter(namespace=job.namespace_id, job_id=job.pk, memory_id__in=found)
        times = {pk: datetime.fromisoformat(row["updated_at"]) for pk, row in moved.values_list("memory_id", "row")}
        changed = [pk for pk, moment in found.items() if moment != times.get(pk)]
        return [Failure(pk, CHANGED_THERE) for pk in changed]

    def clear_after_undo(self, job: Job, ids: Sequence[UUID]) -> None:
        """Delete the copies of memories that are back. Of one that could not come back, the copy is all there is."""
        with without_history():
            Memory.objects.filter(namespace_id=job.parameters["namespace_id"], pk__in=ids).delete()


def copy_memories(namespace_id: int, target: int, ids: Sequence[UUID]) -> None:
    """Copy memories with insights and, where the other namespace uses the same model, vectors.

    Raises IntegrityError if the other namespace has the same memory, or insight, already.
    """
    parameters: dict[str, Any] = {"namespace": namespace_id, "target": target, "ids": list(ids)}
    with connection.cursor() as cursor:
        cursor.execute(build_copy_sql(Memory, "id"), parameters)
        cursor.execute(build_copy_sql(Insight, "memory_id", LEFT_BEHIND), parameters)
        cursor.execute(build_copy_sql(Embedding, "memory_id", template=CURRENT_VECTORS_SQL), parameters)
        embedded = [pk for (pk,) in cursor.fetchall()]
    DueEmbedding.objects.filter(namespace=target, memory__in=embedded).delete()


def build_copy_sql(
    model: type[Model], key: str, without: frozenset[str] | set[str] = frozenset(), template: str = COPY_SQL
) -> str:
    """Build the statement that copies rows with every stored column but those `without`, which become null."""
    columns = [
        str(field.column)
        for field in model._meta.concrete_fields
        if not field.generated and field.column and field.column not in {"namespace_id", *without}
    ]
    listed = ", ".join(columns)
    return template.format(table=model._meta.db_table, columns=listed, values=listed, key=key)
