"""The job that exports memories: JSON Lines that import_memories reads, or CSV for a spreadsheet."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from pydantic import Field
from pydantic_core import to_json

from ingestion.models import Document
from ingestion.transfer.exporter import SELECT_LINES_SQL, build_columns_sql, build_lines_sql, format_header, format_line
from ingestion.transfer.record_types import EXPORT_VERSION, HEADER_KIND, RECORD_TYPES, exclude_duplicate_chunks
from memories.jobs.actions import register
from memories.jobs.actions.base import Action, Batch, Outcome, leave
from memories.jobs.files import append_lines, measure_file, name_file, write_head
from memories.jobs.models import Job
from memories.models import Memory, MemoryQuerySet
from memories.search.selection import Selection
from memory_site.core.csv_rows import format_csv_row
from memory_site.core.disk_space import DISK_FULL_DETAIL, is_disk_low
from memory_site.core.errors import Busy
from memory_site.core.http.fields import InputSchema

MEMORY = RECORD_TYPES["memory"]
DUPLICATE_REASON = "A chunk with the text of another memory in the file, which an import would refuse."
CSV_COLUMNS = (
    "id", "memory_type", "user_id", "content", "summary", "tags", "importance", "confidence", "source_system",
    "agent_id", "workflow_id", "repo_id", "session_id", "entity_system", "entity_id", "entity_type", "entity_name",
    "created_at", "updated_at", "expires_at", "metadata", "data",
)  # fmt: skip


class ExportParameters(InputSchema):
    format: Literal["jsonl", "csv"] = "jsonl"
    vectors: bool = Field(default=False, description="Whether JSON Lines have the vectors, too.")


class Export(Action):
    name, title, icon = "export", "Export", "download"
    permission = "memories.view_memory"
    parameters = ExportParameters
    can_undo = False
    changes = False

    def describe(self, parameters: ExportParameters, memories: str) -> str:
        return f"Export {memories} as {'CSV' if parameters.format == 'csv' else 'JSON Lines'}"

    def check(self, namespace_id: int, parameters: ExportParameters) -> None:
        if is_disk_low():
            raise Busy(DISK_FULL_DETAIL)

    def apply(self, batch: Batch) -> Outcome:
        if batch.parameters.format == "csv":
            append_lines(batch.job, iterate_csv(batch.memories()))
            return Outcome(len(batch.ids))
        distinct = list(select_distinct(batch).order_by("pk").values_list("pk", flat=True))
        append_lines(batch.job, iterate_json_lines(batch, distinct))
        duplicates = set(batch.ids) - set(distinct)
        return Outcome(len(distinct)) + leave(sorted(duplicates), DUPLICATE_REASON)

    def finish(self, job: Job, parameters: ExportParameters) -> dict[str, Any]:
        write_head(job, build_csv_line(CSV_COLUMNS) if parameters.format == "csv" else build_header(job))
        return {"file": name_file(job, parameters.format), "bytes": measure_file(job)}


def select_distinct(batch: Batch) -> QuerySet[Memory]:
    """Select the memories of the batch without the chunks that are the same as another memory of the selection."""
    selection = Selection.load(batch.job.selection).in_namespace(batch.namespace_id)
    return exclude_duplicate_chunks(selection.queryset()).filter(pk__in=batch.ids)


def iterate_json_lines(batch: Batch, ids: Sequence[UUID]) -> Iterator[bytes]:
    sql, parameters = build_columns_sql(MEMORY, {"memory": batch.memories(ids), "document": Document.objects.none()})
    if batch.parameters.vectors:
        sql, parameters = build_lines_sql("memory", sql), [*parameters, batch.namespace_id, batch.namespace_id]
    else:
        sql = SELECT_LINES_SQL.format(kind="memory", key="id", rows=f"({sql}) row", vectors="NULL, NULL")
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        for row in cursor:
            yield format_line(*row)


def build_header(job: Job) -> bytes:
    header = {"kind": HEADER_KIND, "version": EXPORT_VERSION, "namespace": job.namespace.name, "user": None}
    header |= {"embedding_model": job.namespace.embedding_model, "created_at": datetime.now(UTC).isoformat()}
    return format_header(header, json.dumps({"memory": job.done}))


def iterate_csv(memories: MemoryQuerySet) -> Iterator[bytes]:
    for row in memories.order_by("pk").values_list(*CSV_COLUMNS).iterator():
        yield build_csv_line(row)


def build_csv_line(row: Iterable[Any]) -> bytes:
    return format_csv_row(map(format_json, row)).encode()


def format_json(value: Any) -> Any:
    """Return tags as one text, and an object as its JSON."""
    if isinstance(value, list):
        return ", ".join(value)
    return to_json(value).decode() if isinstance(value, dict) else value


def register_export() -> None:
    register(Export())
