"""The active embedding model of a namespace: its searches use this model's vectors, until a re-embedding changes it."""

from collections.abc import Collection

from memories.embeddings import get_embedder
from sessions_app.models import Namespace


def set_initial_model(namespaces: Collection[int], model: str) -> bool:
    """Make the model of their first vector the active one of namespaces that have none; a later change of settings does
    not change it. Return whether there was such a namespace."""
    return bool(Namespace.objects.filter(pk__in=namespaces, embedding_model=None).update(embedding_model=model))


def model_for_supplied_vector(namespace_id: int, active_model: str | None) -> str:
    """Return the model under which a caller's vectors are stored: `active_model` if known, else look it up."""
    if active_model is not None:
        return active_model
    if set_initial_model([namespace_id], configured := get_embedder().model):
        return configured
    return Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id) or configured
