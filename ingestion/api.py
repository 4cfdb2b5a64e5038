"""/repositories, /ingestions, /documents, /knowledge: text comes in, and questions about it are answered."""

import hashlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query, Router

from ingestion.models import Document, Ingestion, Status
from ingestion.pipeline import keep
from ingestion.roots import within_roots
from ingestion.schemas import (
    INGESTION_COLUMNS,
    DocumentIn,
    DocumentOut,
    IngestionIn,
    IngestionOut,
    IngestionPage,
    KnowledgeIn,
    KnowledgeOut,
    RepositoriesOut,
    StartedOut,
)
from ingestion.split import chunks
from ingestion.tasks import bell
from memories.api import search_vector
from memories.filters import Filters
from memories.find import find
from memories.schemas import SearchIn
from memories.search import Search
from memories.types import MemoryType
from memory_site.answers import PROBLEMS, answer
from memory_site.auth import reads, writes
from memory_site.deadlocks import surviving_deadlocks
from memory_site.idempotency import idempotent
from memory_site.pages import page
from memory_site.problems import Problem, invalid
from memory_site.schemas import Label, storable, visible

router = Router(tags=["knowledge"])
NO_PATH = "is not the path of a folder"
NO_ROOTS = "is not allowed: the server names no INGESTION_ROOTS to read from"
OUTSIDE = "lies outside INGESTION_ROOTS"
PLACE = {"file_path": str, "start_line": int, "end_line": int}


@router.post("/repositories/{path:repo_id}/ingestions", auth=writes, response={202: StartedOut, **PROBLEMS})
@idempotent
def start_ingestion(request: HttpRequest, repo_id: Label, payload: IngestionIn):
    """Have a worker read a folder of the server into memories of type rag. Running it again does only the difference.
    409 while another run of the repository is open."""
    root, namespace_id = allowed(payload.path), request.auth.namespace_id
    try:
        with transaction.atomic():
            ingestion = Ingestion.objects.create(
                namespace_id=namespace_id, repo_id=repo_id, path=str(root), suffixes=payload.suffixes
            )
    except IntegrityError:
        raise Problem(409, "Another ingestion of this repository is open.") from None
    bell.ring()
    response = answer({"id": ingestion.pk, "status": ingestion.status}, 202)
    response["Location"] = reverse("api:get_ingestion", args=[ingestion.pk])
    return response


def allowed(path: str) -> Path:
    """The folder, with links resolved; a relative one begins at the first root. Raises Problem 422; of what lies
    outside nothing is told."""
    if not settings.INGESTION_ROOTS:
        raise invalid("path", NO_ROOTS)
    # Not Path.resolve, as in within_roots.
    found = Path(os.path.realpath(Path(settings.INGESTION_ROOTS[0], path)))
    if not within_roots(found):
        raise invalid("path", OUTSIDE)
    try:
        storable(str(found))
        if not found.is_dir():
            raise invalid("path", "is not a folder" if found.exists() else "does not exist")
    except (OSError, ValueError):  # a name too long, or made of bytes that are no text
        raise invalid("path", NO_PATH) from None
    return found


@router.get("/ingestions", auth=reads, response={200: IngestionPage, **PROBLEMS})
def list_ingestions(
    request: HttpRequest,
    repo_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Runs, newest first."""
    rows = Ingestion.objects.in_namespace(request.auth.namespace_id)
    rows = rows if repo_id is None else rows.filter(repo_id=repo_id)
    return answer(page(rows, INGESTION_COLUMNS, limit, cursor, ingestion_out))


@router.get(
    "/ingestions/{ingestion_id}", auth=reads, response={200: IngestionOut, **PROBLEMS}, url_name="get_ingestion"
)
def get_ingestion(request: HttpRequest, ingestion_id: UUID):
    """One run, and how far it is."""
    rows = Ingestion.objects.in_namespace(request.auth.namespace_id).filter(pk=ingestion_id)
    row = rows.values(*INGESTION_COLUMNS).first()
    if row is None:
        raise Problem(404, "There is no such ingestion.")
    return answer(ingestion_out(row))


def ingestion_out(row: dict[str, Any]) -> dict[str, Any]:
    """With its rate and, while it is at work, the time left."""
    rate = left = None
    if row["started_at"] and row["documents_done"]:
        seconds = row["duration_seconds"] or (datetime.now(UTC) - row["started_at"]).total_seconds()
        rate = row["documents_done"] / max(seconds, 0.001)
        if row["status"] == Status.IN_PROGRESS:
            left = (row["documents_total"] - row["documents_done"]) / rate
    return row | {"documents_per_second": rate, "seconds_left": left}


@router.get("/repositories", auth=reads, response={200: RepositoriesOut, **PROBLEMS})
def list_repositories(request: HttpRequest):
    """What has been read, by repository."""
    rows = Document.objects.in_namespace(request.auth.namespace_id).exclude(repo_id=None).values("repo_id")
    counted = rows.annotate(documents=Count("pk"), chunks=Sum("chunk_count"), last_change=Max("updated_at"))
    return answer({"results": list(counted.order_by("repo_id")), "next": None, "previous": None})


@router.post("/documents", auth=writes, response={202: DocumentOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def add_document(request: HttpRequest, payload: DocumentIn):
    """Keep a text in chunks: found by its words at once, by its meaning when a worker has embedded them. The same text
    in one repository is one document."""
    content = payload.content.encode()
    try:
        visible(payload.content)
    except ValueError as error:
        raise invalid("content", str(error)) from None
    parts = chunks(payload.content, "md")
    whose = {
        "namespace_id": request.auth.namespace_id,
        "repo_id": payload.repo_id,
        "path": None,
        "digest": hashlib.sha256(content).digest(),
    }
    facts = {"title": payload.title, "metadata": payload.metadata, "size": len(content)}
    pk, count = keep(whose, facts, parts)
    said = payload.model_dump(include={"repo_id", "title", "metadata"})
    return answer({"id": pk, "path": None, "chunks": count} | said, 202)


@router.get("/documents/{document_id}", auth=reads, response={200: DocumentOut, **PROBLEMS})
def get_document(request: HttpRequest, document_id: UUID):
    """One document."""
    rows = Document.objects.in_namespace(request.auth.namespace_id).filter(pk=document_id)
    row = rows.values("id", "repo_id", "path", "title", "metadata", "chunk_count").first()
    if row is None:
        raise Problem(404, "There is no such document.")
    return answer({"chunks": row.pop("chunk_count")} | row)


@router.delete("/documents/{document_id}", auth=writes, response={204: None, **PROBLEMS})
def delete_document(request: HttpRequest, document_id: UUID):
    """Delete a document and its chunks."""
    if not Document.objects.in_namespace(request.auth.namespace_id).filter(pk=document_id).delete()[0]:
        raise Problem(404, "There is no such document.")
    return HttpResponse(status=204)


@router.post("/knowledge/query", auth=reads, response={200: KnowledgeOut, **PROBLEMS})
@idempotent(atomic=False)
def query_knowledge(request: HttpRequest, payload: KnowledgeIn):
    """The chunks that answer a question best, with file and lines. Changes nothing."""
    started = time.perf_counter()
    vector, degraded = search_vector(SearchIn(query=payload.query), request.auth.embedding_model)
    filters = Filters(memory_types=[MemoryType.RAG], repo_id=payload.repo_id)
    search = Search(payload.query, vector, request.auth.embedding_model, payload.top_k)
    hits = [placed(hit) for hit in find(request.auth.namespace_id, filters, search)]
    return answer({"results": hits, "degraded": degraded, "took_ms": round((time.perf_counter() - started) * 1000, 2)})


def placed(hit: dict[str, Any]) -> dict[str, Any]:
    """With file and lines; metadata that a caller wrote may hold anything under these names."""
    memory = hit["memory"]
    place = {name: memory["metadata"].get(name) for name in PLACE}
    known = {name: value if type(value) is PLACE[name] else None for name, value in place.items()}
    return hit | {"repo_id": memory["repo_id"]} | known
