"""Find memories similar to a given one."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Subquery
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

    One statement, which reads the vector from the table and does not send it.
    """
    vectors = Embedding.objects.in_namespace(embedding.namespace_id).of_model(embedding.model)
    own = Subquery(Embedding.objects.filter(pk=embedding.pk).values("vector"))
    others = vectors.exclude(memory_id=embedding.memory_id)
    nearest = others.annotate(distance=MaxInnerProduct("vector", own)).order_by("distance")
    rows = nearest.annotate(beginning=Left("memory__content", MAX_PREVIEW_LENGTH)).values_list(
        "memory_id", "beginning", "memory_type", "user_id", "distance"
    )[:limit]
    found = [SimilarMemory(pk, beginning, kind, user, -distance) for pk, beginning, kind, user, distance in rows]
    # The index returns rows only roughly in order.
    return sorted(found, key=lambda each: -each.similarity)
