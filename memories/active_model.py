"""Which model serves a namespace: the one whose vectors its searches meet, until it is embedded anew by another."""

from collections.abc import Collection

from memories.embeddings import get_embedder
from sessions_app.models import Namespace


def set_initial_model(namespaces: Collection[int], model: str) -> bool:
    """The first vector of a namespace is there: from now on its model serves, whatever is configured later. Whether
    there was anything to decide."""
    return bool(Namespace.objects.filter(pk__in=namespaces, embedding_model=None).update(embedding_model=model))


def model_for_supplied_vector(namespace_id: int, serving: str | None) -> str:
    """The model that vectors given to a namespace count as made by; `serving` is the one known to serve it."""
    if serving is not None:
        return serving
    if set_initial_model([namespace_id], configured := get_embedder().model):
        return configured
    return Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id)
