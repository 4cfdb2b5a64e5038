"""Which memories mean nearly the same as a given one."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Subquery
from django.db.models.functions import Left
from pgvector.django import MaxInnerProduct

from memories.models import Embedding

#: Characters of a neighbour's content that are read.
MAX_PREVIEW_LENGTH = 300


@dataclass(frozen=True, slots=True)
class SimilarMemory:
    """A memory near another one; `similarity` is the cosine of their vectors."""

    id: UUID
    beginning: str
    memory_type: str
    user_id: str | None
    similarity: float


def find_similar(embedding: Embedding, limit: int = 10) -> list[SimilarMemory]:
    """The living memories of the same namespace and model nearest to this vector, most similar first. One statement,
    which takes the vector from the table: it never travels."""
    vectors = Embedding.objects.in_namespace(embedding.namespace_id).of_model(embedding.model)
    own = Subquery(Embedding.objects.filter(pk=embedding.pk).values("vector"))
    others = vectors.exclude(memory_id=embedding.memory_id)
    nearest = others.annotate(distance=MaxInnerProduct("vector", own)).order_by("distance")
    rows = nearest.annotate(beginning=Left("memory__content", MAX_PREVIEW_LENGTH)).values_list(
        "memory_id", "beginning", "memory_type", "user_id", "distance"
    )[:limit]
    found = [SimilarMemory(*row[:-1], similarity=-row[-1]) for row in rows]
    # The index gives its rows only roughly in order.
    return sorted(found, key=lambda each: -each.similarity)
