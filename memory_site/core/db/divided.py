"""Which tables are divided by namespace: of each, every key begins with namespace_id, and every row belongs to one
namespace. One namespace can then be found, moved and stored apart from the others."""

from django.apps import apps
from django.db.models import Model

#: Has a namespace, and is read to learn which one a request is for.
UNDIVIDED = {"sessions_app.apikey"}


def list_divided_models() -> list[type[Model]]:
    """Return the models of the divided tables, in the order of the tables' names."""
    return sorted(filter(is_divided, apps.get_models()), key=lambda model: model._meta.db_table)


def list_divided_tables() -> list[str]:
    return [model._meta.db_table for model in list_divided_models()]


def is_divided(model: type[Model]) -> bool:
    """Return whether a model has a table of its own with a namespace in it. Views and UNDIVIDED have not."""
    meta = model._meta
    has_table = meta.managed and not meta.proxy and meta.label_lower not in UNDIVIDED
    return has_table and any(field.name == "namespace" for field in meta.concrete_fields)


def list_key_columns(model: type[Model]) -> list[str]:
    """Return the columns of the table's primary key in the database. Django's own begins with no namespace."""
    columns = [str(field.column) for field in model._meta.pk_fields]
    return ["namespace_id", *(column for column in columns if column != "namespace_id")]
