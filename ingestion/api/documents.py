"""/documents and /knowledge: storing texts in chunks, and searching the chunks."""

import hashlib
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router

from ingestion.chunking import split_into_chunks
from ingestion.models import Document
from ingestion.pipeline import save_document
from ingestion.schemas.documents import (
    DOCUMENT_COLUMNS,
    DocumentIn,
    DocumentOut,
    DocumentPage,
    KnowledgeIn,
    KnowledgeOut,
)
from memories.memory_types import MemoryType
from memories.schemas import SearchIn
from memories.search.execute import TimedSearch
from memories.search.filters import Filters
from memory_site.core.http.fields import Label, check_visible
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.write_operations import write_operation

router = Router(tags=["knowledge"])
POSITION_TYPES = {"file_path": str, "start_line": int, "end_line": int}


@router.post("/documents", auth=write_access, response={202: DocumentOut, **PROBLEMS})
@write_operation
def add_document(request: ApiRequest, payload: DocumentIn):
    """Store a text in chunks. Word search finds them at once, vector search after a worker has embedded them. The same
    text in one repository is one document."""
    content = payload.content.encode()
    try:
        check_visible(payload.content)
    except ValueError as error:
        raise invalid_field("content", str(error)) from None
    chunks = split_into_chunks(payload.content, "md")
    identity = {
        "namespace_id": request.auth.namespace_id,
        "repo_id": payload.repo_id,
        "path": None,
        "digest": hashlib.sha256(content).digest(),
    }
    fields = {"title": payload.title, "metadata": payload.metadata, "size": len(content)}
    document_id, _ = save_document(identity, fields, chunks)
    return json_response(fetch_document(request, document_id), 202)


@router.get("/documents", auth=read_access, response={200: DocumentPage, **PROBLEMS})
def list_documents(
    request: ApiRequest,
    repo_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List documents, newest first: the files of repositories, and posted texts."""
    namespace_id = request.auth.namespace_id
    rows = Document.objects.in_namespace(namespace_id).with_chunks(namespace_id)
    rows = rows if repo_id is None else rows.filter(repo_id=repo_id)
    return json_response(paginate(rows, DOCUMENT_COLUMNS, limit, cursor, dict))


@router.get("/documents/{document_id}", auth=read_access, response={200: DocumentOut, **PROBLEMS})
def get_document(request: ApiRequest, document_id: UUID):
    """Return one document."""
    return json_response(fetch_document(request, document_id))


def fetch_document(request: ApiRequest, document_id: UUID) -> dict[str, Any]:
    """Return the fields of DocumentOut. Raises Problem 404."""
    namespace_id = request.auth.namespace_id
    rows = Document.objects.in_namespace(namespace_id).filter(pk=document_id)
    row = rows.with_chunks(namespace_id).values(*DOCUMENT_COLUMNS).first()
    if row is None:
        raise Problem(404, "There is no such document.")
    return row


@router.delete("/documents/{document_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_document(request: ApiRequest, document_id: UUID):
    """Delete a document and its chunks."""
    if not Document.objects.in_namespace(request.auth.namespace_id).filter(pk=document_id).delete()[0]:
        raise Problem(404, "There is no such document.")
    return HttpResponse(status=204)


@router.post("/knowledge/query", auth=read_access, response={200: KnowledgeOut, **PROBLEMS})
@idempotent(atomic=False)
def query_knowledge(request: ApiRequest, payload: KnowledgeIn):
    """Search the chunks for the best answers to a question, with file and lines. Read-only."""
    asked = SearchIn(query=payload.query, limit=payload.top_k, floor=payload.floor)
    search = TimedSearch(asked, request.auth.embedding_model)
    filters = Filters(memory_types=[MemoryType.RAG], repo_id=payload.repo_id)
    hits = [add_position(hit) for hit in search.find(request.auth.namespace_id, filters)]
    return json_response({"results": hits} | search.report())


def add_position(hit: dict[str, Any]) -> dict[str, Any]:
    """Add file and lines, null where a client has written values of another type into the metadata."""
    memory = hit["memory"]
    stored = {name: memory["metadata"].get(name) for name in POSITION_TYPES}
    position = {name: value if type(value) is POSITION_TYPES[name] else None for name, value in stored.items()}
    return hit | {"repo_id": memory["repo_id"]} | position
