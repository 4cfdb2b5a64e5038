"""Fill the database of one size by COPY, part by part; the nearest-neighbour index is built at the end.

Each part is a transaction, so an interrupted run goes on where it ended, and a second one finds all done.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import connection, transaction
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from memories.models import DueEmbedding, Embedding, Memory
from memories.namespace_sizes import measure_namespaces
from memory_site.core.db.ids import uuid7
from sessions_app.long_commands import RateColumn
from sessions_app.models import Namespace
from tests.benchmarks.data import (
    EMBEDDING_COLUMNS,
    MEMORY_COLUMNS,
    NEAREST_INDEX,
    Synthetic,
    copy_rows,
    generate_embedding_rows,
    generate_memory_rows,
)

NAMESPACE, OTHERS = "growth", 10
PART_ROWS, PART_ROWS_OF_ANOTHER = 1_000, 100
#: User of the memories that the measurement itself stores; the next run deletes them.
STORED_BY_MEASUREMENT = "bench"
INDEX_SETTINGS = {"maintenance_work_mem": "4GB", "max_parallel_maintenance_workers": "4", "statement_timeout": "0"}
BUILD_PROGRESS_SQL = "SELECT tuples_done FROM pg_stat_progress_create_index"


def load(rows: int, model: str) -> Namespace:
    """Return the namespace with so many memories; a hundred rows of ten other namespaces lie behind each thousand."""
    namespace, *others = [
        Namespace.objects.get_or_create(name=name)[0]
        for name in (NAMESPACE, *(f"other-{number}" for number in range(OTHERS)))
    ]
    mine = Memory.objects.in_namespace(namespace.pk)
    mine.filter(user_id=STORED_BY_MEASUREMENT).delete()
    parts = range(mine.count() // PART_ROWS, rows // PART_ROWS)
    with show_progress() as bar:
        load_parts(bar, namespace, others, parts, model)
        if not has_index():
            build_index(bar, rows + len(range(0, rows, PART_ROWS)) * PART_ROWS_OF_ANOTHER)
    if parts:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        measure_namespaces()
    return namespace


def show_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), refresh_per_second=2)


def load_parts(bar: Progress, namespace: Namespace, others: list[Namespace], parts: range, model: str) -> None:
    task = bar.add_task(f"{parts.stop * PART_ROWS:,}: memories", total=parts.stop * PART_ROWS)
    bar.update(task, completed=min(parts.start, parts.stop) * PART_ROWS)
    if parts and has_index():
        with connection.schema_editor() as editor:
            editor.remove_index(Embedding, NEAREST_INDEX)
    for part in parts:
        with transaction.atomic():
            copy_part(namespace, Synthetic(PART_ROWS, part=part), model)
            copy_part(others[part % OTHERS], Synthetic(PART_ROWS_OF_ANOTHER, seed=8, part=part), model)
        bar.advance(task, PART_ROWS)


def copy_part(namespace: Namespace, data: Synthetic, model: str) -> None:
    ids = [uuid7() for _ in range(data.rows)]
    copy_rows("memories_memory", MEMORY_COLUMNS, generate_memory_rows(namespace.pk, data, ids))
    copy_rows("memories_embedding", EMBEDDING_COLUMNS, generate_embedding_rows(namespace.pk, data, ids, model))
    DueEmbedding.objects.filter(memory_id__in=ids, memory__namespace=namespace).delete()


def has_index() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [NEAREST_INDEX.name])
        return cursor.fetchone()[0]


def build_index(bar: Progress, rows: int) -> None:
    task = bar.add_task(f"{rows:,}: index of vectors", total=rows)
    with connection.cursor() as cursor:
        for name, value in INDEX_SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
    with watch_build(bar, task), connection.schema_editor() as editor:
        editor.add_index(Embedding, NEAREST_INDEX)
    bar.update(task, completed=rows)


@contextmanager
def watch_build(bar: Progress, task: TaskID) -> Iterator[None]:
    """Show twice a second how many vectors PostgreSQL has indexed, as another connection sees it."""
    ended = threading.Event()

    def watch() -> None:
        with closing(connection.copy()) as other, other.cursor() as cursor:
            while not ended.wait(0.5):
                cursor.execute(BUILD_PROGRESS_SQL)
                for (done,) in cursor.fetchall():
                    bar.update(task, completed=done)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
