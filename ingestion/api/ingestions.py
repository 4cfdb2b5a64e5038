"""/ingestions: ingestion of folders on the server."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse
from ninja import Query, Router

from ingestion.allowed_paths import is_within_roots
from ingestion.models import Ingestion, IngestionStatus
from ingestion.schemas.ingestions import (
    INGESTION_COLUMNS,
    IngestionIn,
    IngestionOut,
    IngestionPage,
    StartedOut,
)
from ingestion.tasks import ingestion_trigger
from memory_site.core.http.fields import Label, check_storable
from memory_site.core.http.pagination import paginate
from memory_site.core.http.path_labels import RepoId
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["knowledge"])
INVALID_PATH = "is not the path of a folder"
NO_ROOTS_CONFIGURED = "is not allowed: the server names no INGESTION_ROOTS to read from"
OUTSIDE_ROOTS = "lies outside INGESTION_ROOTS"


@router.post("/repositories/{path:repo_id}/ingestions", auth=write_access, response={202: StartedOut, **PROBLEMS})
@write_operation
def start_ingestion(request: ApiRequest, repo_id: RepoId, payload: IngestionIn):
    """Queue the ingestion of a folder on the server into memories of type rag. A further run processes only the
    difference. 409 while another run of the repository is open."""
    root, namespace_id = resolve_folder(payload.path), request.auth.namespace_id
    try:
        with transaction.atomic():
            ingestion = Ingestion.objects.create(
                namespace_id=namespace_id, repo_id=repo_id, **payload.model_dump() | {"path": str(root)}
            )
    except IntegrityError:
        raise Problem(409, "Another ingestion of this repository is open.") from None
    ingestion_trigger.notify_on_commit()
    response = json_response({"id": ingestion.pk, "status": ingestion.status}, 202)
    response["Location"] = reverse("api:get_ingestion", args=[ingestion.pk])
    return response


def resolve_folder(path: str) -> Path:
    """Resolve a path, relative to the first root, to a folder inside the roots. Raises Problem 422.

    The error reveals nothing about what exists outside the roots.
    """
    if not settings.INGESTION_ROOTS:
        raise invalid_field("path", NO_ROOTS_CONFIGURED)
    # Not Path.resolve, for the reason given in is_within_roots.
    folder = Path(os.path.realpath(Path(settings.INGESTION_ROOTS[0], path)))
    if not is_within_roots(folder):
        raise invalid_field("path", OUTSIDE_ROOTS)
    try:
        check_storable(str(folder))
        if not folder.is_dir():
            raise invalid_field("path", "is not a folder" if folder.exists() else "does not exist")
    except (OSError, ValueError):  # too long, or not UTF-8
        raise invalid_field("path", INVALID_PATH) from None
    return folder


@router.get("/ingestions", auth=read_access, response={200: IngestionPage, **PROBLEMS})
def list_ingestions(
    request: ApiRequest,
    repo_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List ingestion runs, newest first."""
    rows = Ingestion.objects.in_namespace(request.auth.namespace_id)
    rows = rows if repo_id is None else rows.filter(repo_id=repo_id)
    return json_response(paginate(rows, INGESTION_COLUMNS, limit, cursor, to_ingestion_out))


@router.get(
    "/ingestions/{ingestion_id}", auth=read_access, response={200: IngestionOut, **PROBLEMS}, url_name="get_ingestion"
)
def get_ingestion(request: ApiRequest, ingestion_id: UUID):
    """Return one run with its progress."""
    rows = Ingestion.objects.in_namespace(request.auth.namespace_id).filter(pk=ingestion_id)
    row = rows.values(*INGESTION_COLUMNS).first()
    if row is None:
        raise Problem(404, "There is no such ingestion.")
    return json_response(to_ingestion_out(row))


def to_ingestion_out(row: dict[str, Any]) -> dict[str, Any]:
    """Add the rate and, while the run is in progress, the remaining time."""
    rate = left = None
    if row["started_at"] and row["documents_done"]:
        seconds = row["duration_seconds"] or (datetime.now(UTC) - row["started_at"]).total_seconds()
        rate = row["documents_done"] / max(seconds, 0.001)
        if row["status"] == IngestionStatus.IN_PROGRESS:
            left = (row["documents_total"] - row["documents_done"]) / rate
    return row | {"documents_per_second": rate, "seconds_left": left}
