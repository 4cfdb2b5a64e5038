"""From files to memories: a run compares the folder with what is kept, and does the difference.

Each document is a transaction of its own, so a run may be ended at any point and started again: what is done costs one
hash then. Only one run of a repository is at work at a time; whoever works holds a lock that dies with its connection.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from ingestion.chunking import Chunk, split_into_chunks
from ingestion.file_discovery import NotIngestible, SourceFile, UnreadableFile, decode_text, find_files, read_file
from ingestion.models import Document, Ingestion, IngestionStatus
from memories import tasks
from memories.add import add_many
from memories.models import Memory
from memories.schemas import MemoryIn
from memories.types import MemoryType
from memory_site.core.db.locks import AlreadyRunning, advisory_lock
from memory_site.core.db.progress import update_progress
from memory_site.core.db.retry import retry_on_deadlock

MAX_REPORTED_SKIPS = 100
#: Bytes: an entry of an index has no more room, beside the repository's name.
MAX_PATH_BYTES = 1_024
COUNTER_FIELDS = (
    "documents_total",
    "documents_done",
    "documents_changed",
    "documents_deleted",
    "documents_skipped",
    "chunks",
)
#: Seconds between two notes of how far a run is.
PROGRESS_INTERVAL_SECONDS = 0.3
NO_DOCUMENTS_FOUND = "There is no document in this folder that could be taken."
FOLDER_OUTSIDE_ROOTS = "The folder lies outside INGESTION_ROOTS."
REPOSITORY_BUSY = "Another run of this repository is at work."


def run_ingestion(ingestion: Ingestion) -> Iterator[Ingestion]:
    """Do a run, giving its row after each document. Raises AlreadyAtWork, also when somebody has done it meanwhile, and
    what nobody foresaw; what is wrong with the folder is told in the row, which is then failed."""
    with lock_repository(ingestion.namespace_id, ingestion.repo_id):
        if not Ingestion.objects.open().filter(pk=ingestion.pk).exists():
            raise AlreadyRunning(REPOSITORY_BUSY)
        update_progress(
            ingestion,
            status=IngestionStatus.IN_PROGRESS,
            attempts=F("attempts") + 1,
            started_at=Now(),
            finished_at=None,
        )
        try:
            yield from process_files(ingestion)
            update_progress(ingestion, **get_counters(ingestion), status=IngestionStatus.COMPLETED, finished_at=Now())
        except NotIngestible as error:
            update_progress(
                ingestion, **get_counters(ingestion), status=IngestionStatus.FAILED, error=str(error), finished_at=Now()
            )
        yield ingestion


def lock_repository(namespace_id: int, repo_id: str) -> AbstractContextManager[None]:
    """Nobody else works on the repository inside the block. Raises AlreadyAtWork."""
    return advisory_lock(f"ingestion {namespace_id} {repo_id}", REPOSITORY_BUSY)


def process_files(ingestion: Ingestion) -> Iterator[Ingestion]:
    """The difference between the folder and what is kept, one document after the other. Raises NotIngestible."""
    root, noted = Path(ingestion.path), time.monotonic()
    kept = Document.objects.filter(namespace_id=ingestion.namespace_id, repo_id=ingestion.repo_id, path__isnull=False)
    known = {path: bytes(digest) for path, digest in kept.values_list("path", "digest")}
    gone = set(known)
    found = prepare_run(ingestion, root)
    for file in found:
        if process_file(ingestion, file, root, known.get(file.path)):
            gone -= {path for path in gone if path.startswith(file.path)} if file.is_folder else {file.path}
        if time.monotonic() - noted > PROGRESS_INTERVAL_SECONDS:
            update_progress(ingestion, **get_counters(ingestion))
            noted = time.monotonic()
        yield ingestion
    if all(file.is_folder for file in found):  # a disk that is not there looks the same, so nothing is deleted
        raise NotIngestible(NO_DOCUMENTS_FOUND)
    ingestion.documents_deleted = kept.filter(path__in=gone).delete()[0]


def prepare_run(ingestion: Ingestion, root: Path) -> list[SourceFile]:
    """What there is to be taken. Raises NotIngestible."""
    nothing_yet = dict.fromkeys(COUNTER_FIELDS, 0) | {"documents_total": None, "skipped": [], "error": ""}
    update_progress(ingestion, **nothing_yet)
    if not ingestion.is_allowed:
        raise NotIngestible(FOLDER_OUTSIDE_ROOTS)
    found = find_files(root, tuple(ingestion.suffixes))
    update_progress(ingestion, documents_total=len(found))
    return found


def process_file(ingestion: Ingestion, file: SourceFile, root: Path, known: bytes | None) -> bool:
    """One file: nothing when it is unchanged, its chunks when it is not, a word when it cannot be taken. Whether what
    is kept of it stays."""
    ingestion.documents_done += 1
    try:
        content = read_file(file, root)
        digest = hashlib.sha256(content).digest()
        if digest != known:
            ingestion.chunks += save_file(ingestion, file, content, digest)
            ingestion.documents_changed += 1
    except NotIngestible as error:
        ingestion.documents_skipped += 1
        if len(ingestion.skipped) < MAX_REPORTED_SKIPS:
            ingestion.skipped.append({"path": escape_path(file.path), "reason": str(error)})
        return isinstance(error, UnreadableFile)
    return True


def escape_path(path: str) -> str:
    """A path that can be stored, whatever bytes its name is made of."""
    return path.encode(errors="backslashreplace").decode()


def save_file(ingestion: Ingestion, file: SourceFile, content: bytes, digest: bytes) -> int:
    """Raises NotIngestible. Returns the number of its chunks."""
    if escape_path(file.path) != file.path:
        raise NotIngestible("Its name is not UTF-8.")
    if len(file.path.encode()) > MAX_PATH_BYTES:
        raise NotIngestible(f"Its path is longer than {MAX_PATH_BYTES:,} bytes.")
    parts = split_into_chunks(decode_text(content), file.path.rpartition(".")[2].lower())
    whose = {"namespace_id": ingestion.namespace_id, "repo_id": ingestion.repo_id, "path": file.path}
    return save_document(whose, {"digest": digest, "size": len(content)}, parts)[1]


@retry_on_deadlock
def save_document(whose: Mapping[str, Any], facts: Mapping[str, Any], parts: Sequence[Chunk]) -> tuple[UUID, int]:
    """A document and its chunks, in one transaction: chunks that were there already keep their vectors. Its id and the
    number of its chunks."""
    once = {part.content: part for part in reversed(parts)}  # what a text repeats is kept where it stands first
    with transaction.atomic():
        document, _ = Document.objects.update_or_create(
            **whose, defaults={**facts, "chunk_count": len(once), "updated_at": Now()}
        )
        memories = [build_chunk_memory(document, part) for part in once.values()]
        ids, _ = add_many(document.namespace_id, memories, document_id=document.pk) if memories else ([], 0)
        Memory.objects.filter(document_id=document.pk).exclude(pk__in=ids).delete()
    tasks.embedding_trigger.notify_on_commit()
    return document.pk, len(once)


def build_chunk_memory(document: Document, part: Chunk) -> MemoryIn:
    place = {"position": part.position, "start_line": part.start_line, "end_line": part.end_line}
    file = {"file_path": document.path} if document.path else {}
    title = {"title": document.title} if document.title else {}
    return MemoryIn.model_construct(  # unchecked: metadata of the largest size grows beyond it here
        content=part.content,
        memory_type=MemoryType.RAG,
        source_system="ingestion",
        repo_id=document.repo_id,
        metadata={**document.metadata, **file, **title, **place, "document_id": str(document.pk)},
    )


def get_counters(ingestion: Ingestion) -> dict[str, Any]:
    return {name: getattr(ingestion, name) for name in (*COUNTER_FIELDS, "skipped")}
