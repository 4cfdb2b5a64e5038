"""What the role of the SQL page may read: the columns of the store's tables, without what gives access."""

from django.apps import apps
from django.db.models import Model

#: Apps whose tables may be read. No other table may: not those of accounts, their sessions and devices, for example.
READABLE_APPS = frozenset(
    {"sessions_app", "memories", "graph", "insights", "knowledge", "ingestion", "history", "jobs", "cleanup"}
)
#: Columns of these that may not, by model; None: the whole table.
SECRET_COLUMNS: dict[str, frozenset[str] | None] = {
    "sessions_app.apikey": frozenset({"digest"}),
    "sessions_app.idempotentanswer": None,
}


def list_readable_columns() -> dict[str, list[str]]:
    """Return the readable columns by table."""
    readable = {model._meta.db_table: list_columns(model) for model in apps.get_models() if is_readable(model)}
    return dict(sorted(readable.items()))


def is_readable(model: type[Model]) -> bool:
    label = model._meta.label_lower
    return model._meta.app_label in READABLE_APPS and SECRET_COLUMNS.get(label, frozenset()) is not None


def list_columns(model: type[Model]) -> list[str]:
    secret = SECRET_COLUMNS.get(model._meta.label_lower) or frozenset()
    columns = (field.column for field in model._meta.concrete_fields)
    return [str(column) for column in columns if column is not None and column not in secret]
