"""Which tables are divided by namespace."""

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from memories.models import DueEmbedding, Embedding, Memory
from sessions_app.models import ApiKey, Namespace

#: The tables that grow with the memories: those that `distribute --partitions` divides.
LARGE_TABLES = [model._meta.db_table for model in (Memory, Embedding, DueEmbedding)]


def list_divided_tables() -> list[str]:
    """Return the tables whose rows belong to a namespace. API keys are local: a request has no namespace before it has
    a key."""
    return sorted(model._meta.db_table for model in apps.get_models() if is_divided(model))


def is_divided(model: type[Model]) -> bool:
    try:
        target = model._meta.get_field("namespace").related_model
    except FieldDoesNotExist:
        return False
    return target is Namespace and model is not ApiKey and model._meta.managed
