"""The facts of a memory's vector, never its numbers, and the memories nearest to it."""

from typing import Any

from memories.admin.embedding_states import get_embedding_state
from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memories.search.similar import find_similar

FEW_NEIGHBOURS, MANY_NEIGHBOURS = 5, 50


def build_vector_context(memory: Memory, limit: int) -> dict[str, Any]:
    model = memory.namespace.embedding_model or get_embedder().model
    embedding = (
        Embedding.objects.defer("vector").filter(namespace=memory.namespace_id, memory=memory.pk, model=model).first()
    )
    return {
        "state": get_embedding_state(memory),
        "embedding": embedding,
        "dimensions": Embedding._meta.get_field("vector").dimensions,
        "is_current": embedding is not None and bytes(embedding.content_hash) == bytes(memory.content_hash),
        "similar_memories": find_similar(embedding, limit) if embedding is not None else [],
    }
