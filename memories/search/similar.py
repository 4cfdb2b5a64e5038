"""Find memories similar to a given one."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, QuerySet, Subquery
from django.db.models.functions import Left
from pgvector.django import MaxInnerProduct

from memories.models import Embedding

#: Characters.
MAX_PREVIEW_LENGTH = 300


@dataclass(frozen=True, slots=True)
class SimilarMemory:
    """A memory similar to another one; `similarity` is the cosine of their vectors, `beginning` of its content."""

    id: UUID
    beginning: str
    memory_type: str
    user_id: str | None
    similarity: float


def find_similar(embedding: Embedding, limit: int = 10) -> list[SimilarMemory]:
    """Return the live memories of the same namespace and model nearest to this vector, most similar first.

    A second statement scans the namespace only when the first found too few: the index may have lost some.
    """
    others = select_others(embedding)
    rows = list(others.order_by("distance")[:limit])
    if len(rows) < limit:
        # No index gives this order.
        rows = list(others.order_by(F("distance") + 0.0)[:limit])
    found = [SimilarMemory(pk, beginning, kind, user, -distance) for pk, beginning, kind, user, distance in rows]
    # The index returns rows only roughly in order.
    return sorted(found, key=lambda each: -each.similarity)


def select_others(embedding: Embedding) -> QuerySet:
    """Select the other memories with their distance. The vector is read from the table and not sent."""
    vectors = Embedding.objects.in_namespace(embedding.namespace_id).of_model(embedding.model)
    own = Subquery(Embedding.objects.filter(pk=embedding.pk).values("vector"))
    others = vectors.exclude(memory_id=embedding.memory_id).annotate(distance=MaxInnerProduct("vector", own))
    return others.annotate(beginning=Left("memory__content", MAX_PREVIEW_LENGTH)).values_list(
        "memory_id", "beginning", "memory_type", "user_id", "distance"
    )
