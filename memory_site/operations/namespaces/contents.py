"""What is in a namespace, counted, and deleting all of it."""

from django.db import connection, transaction
from django.db.models import Model

from memory_site.core.db.divided import list_divided_models
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.models import ApiKey, Namespace

#: Rows that are part of others or made from them: no operator knows them.
INTERNAL_MODELS = {
    "graph.userstatistics",
    "graph.usertotal",
    "knowledge.duecluster",
    "memories.dueembedding",
    "memories.embedding",
    "memories.namespacesize",
    "sessions_app.idempotentanswer",
}


def list_counted_models() -> list[type[Model]]:
    """Return the models whose rows an operator would miss, with the keys."""
    divided = [model for model in list_divided_models() if model._meta.label_lower not in INTERNAL_MODELS]
    return [*divided, ApiKey]


def count_contents(namespace_id: int) -> dict[str, int]:
    """Return the exact numbers of rows by name, the largest first; kinds without any are left out."""
    counts = {
        str(model._meta.verbose_name_plural): model._base_manager.filter(namespace=namespace_id).count()
        for model in list_counted_models()
    }
    return {name: number for name, number in sorted(counts.items(), key=lambda each: -each[1]) if number}


@retry_on_deadlock
def delete_namespace(namespace: Namespace) -> None:
    """Delete a namespace with all its rows and keys in one transaction, and note it for restores of backups."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        namespace.delete()
