"""Which tables a clone of a namespace copies, and in which order: every divided one, except those that say why not."""

from collections.abc import Iterable, Mapping

from django.db import connection
from django.db.models import Model

from memory_site.core.db.divided import list_divided_models

#: Tables that are not copied, by model, with the reason. Those of other apps may not be there.
NOT_COPIED = {
    "bench.testsearch": "It names memories of the original.",
    "cleanup.duplicate": "A job finds them in the clone's own memories.",
    "cleanup.inspection": "A job makes it from the memories.",
    "graph.erasure": "The audit of what was erased there.",
    "graph.usertotal": "Triggers make it.",
    "graph.userstatistics": "A task makes it from the memories.",
    "history.deletedpart": "What was deleted there.",
    "history.memoryversion": "What was changed and deleted there.",
    "jobs.job": "Work that was done there.",
    "jobs.jobfile": "Files that it wrote.",
    "knowledge.duecluster": "Triggers make it.",
    "memories.namespacesize": "A task counts it.",
    "memories.reembedding": "Runs over the other namespace.",
    "sessions_app.idempotentanswer": "Answers to retries with keys of the other namespace.",
}
#: Copied before the memories, whose triggers would make them.
COPIED_FIRST = "knowledge_cluster"
#: Triggers fill it for every copied memory: it is emptied, and then gets the rows of the original.
FILLED_BY_TRIGGERS = "memories_dueembedding"
SELECT_REFERENCES_SQL = """
SELECT conrelid::regclass::text, array_agg(confrelid::regclass::text)
FROM pg_constraint WHERE contype = 'f' AND conrelid <> confrelid GROUP BY conrelid
"""


def list_copied_models() -> list[type[Model]]:
    """Return the models in an order in which each comes after those whose rows it refers to."""
    models = [model for model in list_divided_models() if model._meta.label_lower not in NOT_COPIED]
    models.sort(key=lambda model: model._meta.db_table != COPIED_FIRST)
    with connection.cursor() as cursor:
        cursor.execute(SELECT_REFERENCES_SQL)
        return order_by_references(models, dict(cursor.fetchall()))


def order_by_references(models: list[type[Model]], references: Mapping[str, Iterable[str]]) -> list[type[Model]]:
    """Return the models so that each comes after those of the tables that its table refers to; ties keep their order.

    Raises ValueError for references in a circle.
    """
    ordered: list[type[Model]] = []
    waiting = list(models)
    while waiting:
        tables = {model._meta.db_table for model in waiting}
        ready = [model for model in waiting if tables.isdisjoint(references.get(model._meta.db_table, ()))]
        if not ready:
            raise ValueError(f"These tables refer to each other: {', '.join(sorted(tables))}.")
        ordered += ready
        waiting = [model for model in waiting if model not in ready]
    return ordered
