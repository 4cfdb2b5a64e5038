"""`import_memories` of an export with vectors, against COPY of the same rows into the same tables."""

import base64
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from django.core.management import call_command
from django.db import connection, transaction
from pgvector import HalfVector
from rich.table import Table

from ingestion.transfer.record_types import EXPORT_VERSION, HEADER_KIND
from memories.models import DueEmbedding, Embedding
from memory_site.core.db.ids import uuid7
from sessions_app.models import Namespace
from tests.benchmarks.data import EMBEDDING_COLUMNS, MEMORY_COLUMNS, Synthetic, copy_rows, generate_memory_rows

TURNS = 3


def measure_imports(rows: int, model: str) -> Table:
    """Each turn brings the same rows into new namespaces, the arms in the other order. Both begin with empty tables and
    indexes, that of the nearest neighbours too: neither inserts into a larger one."""
    columns = ("turn", "COPY s", "import s", "COPY rows/s", "import rows/s", "import / COPY")
    table = Table(*columns, title=f"import of {rows:,} memories with their vectors, beside COPY into the same tables")
    arms, ratios = {"copy": measure_copy, "import": measure_import}, []
    for turn in range(TURNS):
        times = {}
        for arm in ("copy", "import") if turn % 2 == 0 else ("import", "copy"):
            namespace = Namespace.objects.create(name=f"{arm} benchmark {turn}", embedding_model=model)
            work = arms[arm](namespace, Synthetic(rows, seed=100 + turn), model)
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE memories_memory CASCADE")
            times[arm] = measure_seconds(work)
            assert not DueEmbedding.objects.filter(namespace=namespace).exists()
            assert Embedding.objects.filter(namespace=namespace).count() == rows
        ratios.append(times["copy"] / times["import"])
        rates = [f"{rows / times[arm]:,.0f}" for arm in arms]
        table.add_row(str(turn + 1), *[f"{times[arm]:.1f}" for arm in arms], *rates, f"{ratios[-1]:.2f}")
    table.caption = f"median of import / COPY: {median(ratios):.2f}"
    return table


def measure_copy(namespace: Namespace, data: Synthetic, model: str) -> Callable[[], None]:
    ids = [uuid7() for _ in range(data.rows)]
    memories = list(generate_memory_rows(namespace.pk, data, ids))
    vectors = [
        (pk, namespace.pk, row[6], row[4], model, hashlib.sha256(row[2].encode()).digest(), HalfVector(vector))
        for pk, row, vector in zip(ids, memories, data.vectors(data.rows), strict=True)
    ]

    def work() -> None:
        with transaction.atomic():
            copy_rows("memories_memory", MEMORY_COLUMNS, memories)
            copy_rows("memories_embedding", EMBEDDING_COLUMNS, vectors)
            DueEmbedding.objects.filter(namespace=namespace).delete()

    return work


def measure_import(namespace: Namespace, data: Synthetic, model: str) -> Callable[[], None]:
    """The same rows as a file, which is not part of the time."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl", delete=False) as file:
        header = {
            "kind": HEADER_KIND,
            "version": EXPORT_VERSION,
            "namespace": "x",
            "user": None,
            "embedding_model": model,
        }
        header |= {"created_at": datetime.now(UTC).isoformat(), "counts": {"memory": data.rows}}
        file.write(json.dumps(header).encode() + b"\n")
        ids = [uuid7() for _ in range(data.rows)]
        for row, vector in zip(generate_memory_rows(namespace.pk, data, ids), data.vectors(data.rows), strict=True):
            file.write(json.dumps(format_line(row, vector, model)).encode() + b"\n")

    def work() -> None:
        call_command("import_memories", file.name, namespace=namespace.name, stdout=io.StringIO())
        Path(file.name).unlink()

    return work


def format_line(row: tuple, vector: np.ndarray, model: str) -> dict:
    columns = dict(zip(MEMORY_COLUMNS, row, strict=True))
    del columns["namespace_id"]
    columns |= {name: columns[name].isoformat() for name in ("created_at", "updated_at")}
    columns |= {"id": str(columns["id"]), "metadata": columns["metadata"].obj}
    vector = base64.b64encode(vector.astype("<f2").tobytes()).decode()
    return {"kind": "memory", **columns, "vectors": [{"model": model, "vector": vector}]}


def measure_seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
