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

from ingestion.chunking import Chunk, chunks
from ingestion.file_discovery import File, NotIngestible, Unreadable, files, read, text_of
from ingestion.models import Document, Ingestion, Status
from memories import tasks
from memories.add import add_many
from memories.models import Memory
from memories.schemas import MemoryIn
from memories.types import MemoryType
from memory_site.core.db.locks import AlreadyAtWork
from memory_site.core.db.locks import alone as alone_at
from memory_site.core.db.progress import change
from memory_site.core.db.retry import surviving_deadlocks

SKIPPED_TOLD = 100
#: Bytes: an entry of an index has no more room, beside the repository's name.
LONGEST_PATH = 1_024
COUNTS = ("documents_total", "documents_done", "documents_changed", "documents_deleted", "documents_skipped", "chunks")
#: Seconds between two notes of how far a run is.
PAUSE = 0.3
NOTHING = "There is no document in this folder that could be taken."
OUTSIDE = "The folder lies outside INGESTION_ROOTS."
BUSY = "Another run of this repository is at work."


def run(ingestion: Ingestion) -> Iterator[Ingestion]:
    """Do a run, giving its row after each document. Raises AlreadyAtWork, also when somebody has done it meanwhile, and
    what nobody foresaw; what is wrong with the folder is told in the row, which is then failed."""
    with alone(ingestion.namespace_id, ingestion.repo_id):
        if not Ingestion.objects.open().filter(pk=ingestion.pk).exists():
            raise AlreadyAtWork(BUSY)
        change(ingestion, status=Status.IN_PROGRESS, tries=F("tries") + 1, started_at=Now(), finished_at=None)
        try:
            yield from documents(ingestion)
            change(ingestion, **counted(ingestion), status=Status.COMPLETED, finished_at=Now())
        except NotIngestible as error:
            change(ingestion, **counted(ingestion), status=Status.FAILED, error=str(error), finished_at=Now())
        yield ingestion


def alone(namespace_id: int, repo_id: str) -> AbstractContextManager[None]:
    """Nobody else works on the repository inside the block. Raises AlreadyAtWork."""
    return alone_at(f"ingestion {namespace_id} {repo_id}", BUSY)


def documents(ingestion: Ingestion) -> Iterator[Ingestion]:
    """The difference between the folder and what is kept, one document after the other. Raises NotIngestible."""
    root, noted = Path(ingestion.path), time.monotonic()
    kept = Document.objects.filter(namespace_id=ingestion.namespace_id, repo_id=ingestion.repo_id, path__isnull=False)
    known = {path: bytes(digest) for path, digest in kept.values_list("path", "digest")}
    gone = set(known)
    found = begin(ingestion, root)
    for file in found:
        if take(ingestion, file, root, known.get(file.path)):
            gone -= {path for path in gone if path.startswith(file.path)} if file.is_folder else {file.path}
        if time.monotonic() - noted > PAUSE:
            change(ingestion, **counted(ingestion))
            noted = time.monotonic()
        yield ingestion
    if all(file.is_folder for file in found):  # a disk that is not there looks the same, so nothing is deleted
        raise NotIngestible(NOTHING)
    ingestion.documents_deleted = kept.filter(path__in=gone).delete()[0]


def begin(ingestion: Ingestion, root: Path) -> list[File]:
    """What there is to be taken. Raises NotIngestible."""
    nothing_yet = dict.fromkeys(COUNTS, 0) | {"documents_total": None, "skipped": [], "error": ""}
    change(ingestion, **nothing_yet)
    if not ingestion.is_allowed:
        raise NotIngestible(OUTSIDE)
    found = files(root, tuple(ingestion.suffixes))
    change(ingestion, documents_total=len(found))
    return found


def take(ingestion: Ingestion, file: File, root: Path, known: bytes | None) -> bool:
    """One file: nothing when it is unchanged, its chunks when it is not, a word when it cannot be taken. Whether what
    is kept of it stays."""
    ingestion.documents_done += 1
    try:
        content = read(file, root)
        digest = hashlib.sha256(content).digest()
        if digest != known:
            ingestion.chunks += keep_file(ingestion, file, content, digest)
            ingestion.documents_changed += 1
    except NotIngestible as error:
        ingestion.documents_skipped += 1
        if len(ingestion.skipped) < SKIPPED_TOLD:
            ingestion.skipped.append({"path": shown(file.path), "reason": str(error)})
        return isinstance(error, Unreadable)
    return True


def shown(path: str) -> str:
    """A path that can be stored, whatever bytes its name is made of."""
    return path.encode(errors="backslashreplace").decode()


def keep_file(ingestion: Ingestion, file: File, content: bytes, digest: bytes) -> int:
    """Raises NotIngestible. Returns the number of its chunks."""
    if shown(file.path) != file.path:
        raise NotIngestible("Its name is not UTF-8.")
    if len(file.path.encode()) > LONGEST_PATH:
        raise NotIngestible(f"Its path is longer than {LONGEST_PATH:,} bytes.")
    parts = chunks(text_of(content), file.path.rpartition(".")[2].lower())
    whose = {"namespace_id": ingestion.namespace_id, "repo_id": ingestion.repo_id, "path": file.path}
    return keep(whose, {"digest": digest, "size": len(content)}, parts)[1]


@surviving_deadlocks
def keep(whose: Mapping[str, Any], facts: Mapping[str, Any], parts: Sequence[Chunk]) -> tuple[UUID, int]:
    """A document and its chunks, in one transaction: chunks that were there already keep their vectors. Its id and the
    number of its chunks."""
    once = {part.content: part for part in reversed(parts)}  # what a text repeats is kept where it stands first
    with transaction.atomic():
        document, _ = Document.objects.update_or_create(
            **whose, defaults={**facts, "chunk_count": len(once), "updated_at": Now()}
        )
        memories = [memory_of(document, part) for part in once.values()]
        ids, _ = add_many(document.namespace_id, memories, document_id=document.pk) if memories else ([], 0)
        Memory.objects.filter(document_id=document.pk).exclude(pk__in=ids).delete()
    tasks.bell.ring()
    return document.pk, len(once)


def memory_of(document: Document, part: Chunk) -> MemoryIn:
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


def counted(ingestion: Ingestion) -> dict[str, Any]:
    return {name: getattr(ingestion, name) for name in (*COUNTS, "skipped")}
