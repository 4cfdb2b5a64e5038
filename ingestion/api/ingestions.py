"""/repositories and /ingestions: folders are read into memories."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Sum
from django.http import HttpRequest
from django.urls import reverse
from ninja import Query, Router

from ingestion.allowed_paths import within_roots
from ingestion.models import Document, Ingestion, Status
from ingestion.schemas.ingestions import (
    INGESTION_COLUMNS,
    IngestionIn,
    IngestionOut,
    IngestionPage,
    RepositoriesOut,
    StartedOut,
)
from ingestion.tasks import bell
from memory_site.core.http.fields import Label, storable
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem, invalid
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent

router = Router(tags=["knowledge"])
NO_PATH = "is not the path of a folder"
NO_ROOTS = "is not allowed: the server names no INGESTION_ROOTS to read from"
OUTSIDE = "lies outside INGESTION_ROOTS"


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
