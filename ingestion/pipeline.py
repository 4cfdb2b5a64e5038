"""Ingestion of a folder: compare its files with the stored documents and apply the difference.

Each document is written in its own transaction, so a run may be stopped at any point and started again; an unchanged
document then costs one hash. A lease allows one run of a repository at a time; each write checks it.
"""

import hashlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from ingestion.chunking import Chunk, split_into_chunks
from ingestion.file_discovery import NotIngestible, SourceFile, UnreadableFile, decode_text, find_files, read_file
from ingestion.models import Document, Ingestion, IngestionStatus
from ingestion.repositories import name_repository_lease
from memories import tasks
from memories.add import add_many
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.schemas import MemoryIn
from memory_site.core.db.actor import without_history
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.leases.leases import HeldLease, hold_lease
from memory_site.core.metrics.counters import ingestion_runs

MAX_REPORTED_SKIPS = 100
#: Bytes: an index entry has no room for more, beside the repository's name.
MAX_PATH_BYTES = 1_024
COUNTER_FIELDS = (
    "documents_total",
    "documents_done",
    "documents_changed",
    "documents_deleted",
    "documents_skipped",
    "chunks",
)
#: Seconds between two updates of a run's progress.
PROGRESS_INTERVAL_SECONDS = 0.3
NO_DOCUMENTS_FOUND = "The folder contains no document that can be ingested."
FOLDER_OUTSIDE_ROOTS = "The folder lies outside INGESTION_ROOTS."
FOLDER_NOT_ON_THIS_MACHINE = (
    "The machine of the worker, {host}, has no such folder: mount it on every machine that runs a worker."
)
REPOSITORY_BUSY = "Another run of this repository is in progress."


def run_ingestion(ingestion: Ingestion) -> Iterator[Ingestion]:
    """Run an ingestion to its end, yielding its row after each document.

    Raises AlreadyRunning when another worker runs it, has finished it or takes it over. An error of the folder
    (NotIngestible) is stored in the row, which then has the status failed; other exceptions propagate.
    """
    with lock_repository(ingestion.namespace_id, ingestion.repo_id) as lease:
        yield from run_with_lease(ingestion, lease)


def run_with_lease(ingestion: Ingestion, lease: HeldLease) -> Iterator[Ingestion]:
    """Run an ingestion as `run_ingestion` does, with the repository's lease that the caller holds."""
    if not Ingestion.objects.open().filter(namespace_id=ingestion.namespace_id, pk=ingestion.pk).exists():
        raise AlreadyRunning(REPOSITORY_BUSY)
    start: dict[str, Any] = {"attempts": F("attempts") + 1, "started_at": Now(), "finished_at": None}
    update_progress(ingestion, status=IngestionStatus.IN_PROGRESS, **start)
    try:
        with count_interrupted():
            yield from process_files(ingestion, lease)
        end: dict[str, Any] = {"status": IngestionStatus.COMPLETED}
    except NotIngestible as error:
        end = {"status": IngestionStatus.FAILED, "error": str(error)}
    with lease.transaction():
        update_progress(ingestion, **get_counters(ingestion), **end, finished_at=Now())
    ingestion_runs.labels(end["status"].value).inc()
    yield ingestion


@contextmanager
def count_interrupted() -> Iterator[None]:
    """Count a run that ends without a result, to be continued: its caller stopped it, or an error of the site."""
    try:
        yield
    except NotIngestible:
        raise
    except BaseException:
        ingestion_runs.labels("interrupted").inc()
        raise


def lock_repository(namespace_id: int, repo_id: str) -> AbstractContextManager[HeldLease]:
    """Hold the repository's lease inside the block. Raises AlreadyRunning when another process has it."""
    return hold_lease(name_repository_lease(namespace_id, repo_id), REPOSITORY_BUSY)


def process_files(ingestion: Ingestion, lease: HeldLease) -> Iterator[Ingestion]:
    """Apply the difference between the folder and the stored documents, file by file. Raises NotIngestible."""
    root, reported_at = Path(ingestion.path), time.monotonic()
    stored = Document.objects.filter(namespace_id=ingestion.namespace_id, repo_id=ingestion.repo_id, path__isnull=False)
    digests = {
        str(path): bytes(digest)
        for path, digest in stored.with_all_chunks(ingestion.namespace_id).values_list("path", "digest")
    }
    gone = {str(path) for path in stored.values_list("path", flat=True)}
    files = prepare_run(ingestion, root)
    for file in files:
        if process_file(ingestion, lease, file, root, digests.get(file.path)):
            gone -= {path for path in gone if path.startswith(file.path)} if file.is_folder else {file.path}
        if time.monotonic() - reported_at > PROGRESS_INTERVAL_SECONDS:
            with lease.transaction():
                update_progress(ingestion, **get_counters(ingestion))
            reported_at = time.monotonic()
        yield ingestion
    # An unmounted disk looks like an empty folder: delete nothing.
    if all(file.is_folder or file.refusal for file in files):
        raise NotIngestible(NO_DOCUMENTS_FOUND)
    with lease.transaction():
        ingestion.documents_deleted = stored.filter(path__in=gone).delete()[0]


def prepare_run(ingestion: Ingestion, root: Path) -> list[SourceFile]:
    """Reset the counters and return the folder's files. Raises NotIngestible."""
    counters: dict[str, Any] = dict.fromkeys(COUNTER_FIELDS, 0)
    update_progress(ingestion, **counters | {"documents_total": None, "skipped": [], "error": ""})
    if not ingestion.is_allowed:
        raise NotIngestible(FOLDER_OUTSIDE_ROOTS)
    if ingestion.within_roots and not root.exists():  # the web server has seen it
        raise NotIngestible(FOLDER_NOT_ON_THIS_MACHINE.format(host=socket.gethostname()))
    files = find_files(root, tuple(ingestion.suffixes), ingestion.exclude)
    update_progress(ingestion, documents_total=len(files))
    return files


def process_file(
    ingestion: Ingestion, lease: HeldLease, file: SourceFile, root: Path, stored_digest: bytes | None
) -> bool:
    """Store the file if it has changed, or record why it was skipped. Return whether its stored document stays."""
    ingestion.documents_done += 1
    try:
        content = read_file(file, root)
        digest = hashlib.sha256(content).digest()
        if digest != stored_digest:
            ingestion.chunks += save_file(ingestion, lease, file, content, digest)
            ingestion.documents_changed += 1
    except NotIngestible as error:
        ingestion.documents_skipped += 1
        if len(ingestion.skipped) < MAX_REPORTED_SKIPS:
            ingestion.skipped.append({"path": escape_path(file.path), "reason": str(error)})
        return isinstance(error, UnreadableFile)
    return True


def escape_path(path: str) -> str:
    """Return the path with bytes that are not UTF-8 escaped, so that PostgreSQL can store it."""
    return path.encode(errors="backslashreplace").decode()


def save_file(ingestion: Ingestion, lease: HeldLease, file: SourceFile, content: bytes, digest: bytes) -> int:
    """Store a file's document and chunks. Return the number of chunks. Raises NotIngestible."""
    if escape_path(file.path) != file.path:
        raise NotIngestible("Its name is not UTF-8.")
    if len(file.path.encode()) > MAX_PATH_BYTES:
        raise NotIngestible(f"Its path is longer than {MAX_PATH_BYTES:,} bytes.")
    chunks = split_into_chunks(decode_text(content), file.path.rpartition(".")[2].lower())
    identity = {"namespace_id": ingestion.namespace_id, "repo_id": ingestion.repo_id, "path": file.path}
    return save_document(identity, {"digest": digest, "size": len(content)}, chunks, lease)[1]


@retry_on_deadlock
def save_document(
    identity: Mapping[str, Any], fields: Mapping[str, Any], chunks: Sequence[Chunk], lease: HeldLease | None = None
) -> tuple[UUID, int]:
    """Store a document and its chunks in one transaction; unchanged chunks keep their vectors, replaced ones leave no
    trash.

    Return the document's id and the number of its distinct chunks. Raises LeaseLost if the lease is another's.
    """
    distinct = {chunk.content: chunk for chunk in reversed(chunks)}  # of a repeated text the first position is stored
    with lease.transaction() if lease else transaction.atomic(), without_history():
        document, _ = Document.objects.update_or_create(
            **identity, defaults={**fields, "chunk_count": len(distinct), "updated_at": Now()}
        )
        memories = [build_chunk_memory(document, chunk) for chunk in distinct.values()]
        ids, _ = add_many(document.namespace_id, memories, document_id=document.pk) if memories else ([], 0)
        Memory.objects.filter(namespace_id=document.namespace_id, document_id=document.pk).exclude(pk__in=ids).delete()
    tasks.embedding_trigger.notify_on_commit()
    return document.pk, len(distinct)


def build_chunk_memory(document: Document, chunk: Chunk) -> MemoryIn:
    position = {"position": chunk.position, "start_line": chunk.start_line, "end_line": chunk.end_line}
    file = {"file_path": document.path} if document.path else {}
    title = {"title": document.title} if document.title else {}
    return MemoryIn.model_construct(  # unvalidated: metadata of the maximum size exceeds it here
        content=chunk.content,
        summary=document.title or document.path,  # to be found by their words
        memory_type=MemoryType.RAG,
        source_system="ingestion",
        repo_id=document.repo_id,
        metadata={**document.metadata, **file, **title, **position, "document_id": str(document.pk)},
    )


def get_counters(ingestion: Ingestion) -> dict[str, Any]:
    return {name: getattr(ingestion, name) for name in (*COUNTER_FIELDS, "skipped")}
