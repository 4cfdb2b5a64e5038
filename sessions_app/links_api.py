"""/session-links: which session goes on from, refers to or needs another."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from memory_site.answers import PROBLEMS, answer
from memory_site.auth import reads, writes
from memory_site.deadlocks import surviving_deadlocks
from memory_site.idempotency import idempotent
from memory_site.ids import uuid7
from memory_site.pages import page
from memory_site.problems import Problem
from memory_site.schemas import In, Summary
from sessions_app.models import SessionLink
from sessions_app.models.sessions import LinkType
from sessions_app.schemas import SessionId

router = Router(tags=["sessions"])
Kind = Literal[*LinkType.values]
LINK = """
INSERT INTO sessions_app_sessionlink AS kept
    (id, namespace_id, source_session_id, target_session_id, link_type, context)
VALUES (%(id)s, %(namespace)s, %(source_session_id)s, %(target_session_id)s, %(link_type)s, %(context)s)
ON CONFLICT (namespace_id, source_session_id, target_session_id, link_type) DO UPDATE SET
    context = coalesce(excluded.context, kept.context), updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING *
"""


class LinkIn(In):
    """From one session to another. Linking the same two in the same way again renews the context."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"source_session_id": "tuesday", "target_session_id": "monday", "link_type": "continuation"}
        }
    )

    source_session_id: SessionId
    target_session_id: SessionId
    link_type: Kind = LinkType.RELATED.value
    context: Summary | None = Field(None, description="Why they are linked; what is not said again stays.")

    @field_validator("target_session_id")
    @classmethod
    def another_session(cls, target: str, info: ValidationInfo) -> str:
        if target == info.data.get("source_session_id"):
            raise ValueError("must be another session than source_session_id")
        return target


class LinkOut(Schema):
    id: UUID
    source_session_id: str
    target_session_id: str
    link_type: Kind
    context: str | None
    created_at: datetime
    updated_at: datetime


class LinkPage(Schema):
    results: list[LinkOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


COLUMNS = tuple(LinkOut.model_fields)


@router.post("/session-links", auth=writes, response={200: LinkOut, 201: LinkOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def link_sessions(request: HttpRequest, payload: LinkIn):
    """Link two sessions, whether or not they are there: 201, or 200 when they were linked in that way already."""
    given = payload.model_dump() | {"id": uuid7(), "namespace": request.auth.namespace_id}
    [link] = SessionLink.objects.raw(LINK, given)
    return answer({name: getattr(link, name) for name in COLUMNS}, 201 if link.pk == given["id"] else 200)


@router.get("/session-links", auth=reads, response={200: LinkPage, **PROBLEMS})
def list_session_links(
    request: HttpRequest,
    session_id: SessionId | None = None,
    link_type: Kind | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Links, newest first; `session_id` names either end."""
    rows = SessionLink.objects.in_namespace(request.auth.namespace_id)
    if session_id is not None:
        rows = rows.filter(Q(source_session_id=session_id) | Q(target_session_id=session_id))
    if link_type is not None:
        rows = rows.filter(link_type=link_type)
    return answer(page(rows, COLUMNS, limit, cursor, dict))


@router.delete("/session-links/{link_id}", auth=writes, response={204: None, **PROBLEMS})
def delete_session_link(request: HttpRequest, link_id: UUID):
    """Remove a link. The sessions stay as they are."""
    if not SessionLink.objects.in_namespace(request.auth.namespace_id).filter(pk=link_id).delete()[0]:
        raise Problem(404, "There is no such link.")
    return HttpResponse(status=204)
