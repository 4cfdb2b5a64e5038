"""/session-links: link sessions that continue, refer to or depend on one another."""

from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from ninja import Query, Router

from memory_site.core.db.ids import uuid7
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.models import SessionLink
from sessions_app.schemas.session_links import LinkIn, LinkOut, LinkPage, LinkTypeName
from sessions_app.schemas.sessions import SessionId
from sessions_app.write_operations import write_operation

router = Router(tags=["sessions"])
LINK_COLUMNS = tuple(LinkOut.model_fields)
# One statement, where update_or_create would take a select, a savepoint and a write.
UPSERT_LINK_SQL = """
INSERT INTO sessions_app_sessionlink AS stored
    (id, namespace_id, source_session_id, target_session_id, link_type, context, created_at, updated_at)
VALUES (%(id)s, %(namespace)s, %(source_session_id)s, %(target_session_id)s, %(link_type)s, %(context)s,
        statement_timestamp(), statement_timestamp())
ON CONFLICT (namespace_id, source_session_id, target_session_id, link_type) DO UPDATE SET
    context = coalesce(excluded.context, stored.context),
    updated_at = greatest(stored.updated_at, excluded.updated_at)
RETURNING *
"""


@router.post("/session-links", auth=change_access, response={200: LinkOut, 201: LinkOut, **PROBLEMS})
@write_operation
def link_sessions(request: ApiRequest, payload: LinkIn):
    """Link two sessions, which need not exist. 201 for a new link, 200 when a link of this type existed already."""
    parameters = payload.model_dump() | {"id": uuid7(), "namespace": request.auth.namespace_id}
    [link] = SessionLink.objects.raw(UPSERT_LINK_SQL, parameters)
    return json_response(
        {name: getattr(link, name) for name in LINK_COLUMNS}, 201 if link.pk == parameters["id"] else 200
    )


@router.get("/session-links", auth=read_access, response={200: LinkPage, **PROBLEMS})
def list_session_links(
    request: ApiRequest,
    session_id: SessionId | None = None,
    link_type: LinkTypeName | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List links, newest first; `session_id` matches either end."""
    rows = SessionLink.objects.in_namespace(request.auth.namespace_id)
    if session_id is not None:
        rows = rows.filter(Q(source_session_id=session_id) | Q(target_session_id=session_id))
    if link_type is not None:
        rows = rows.filter(link_type=link_type)
    return json_response(paginate(rows, LINK_COLUMNS, limit, cursor, dict))


@router.delete("/session-links/{link_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_session_link(request: ApiRequest, link_id: UUID):
    """Delete a link. The sessions stay."""
    if not SessionLink.objects.in_namespace(request.auth.namespace_id).filter(pk=link_id).delete()[0]:
        raise Problem(404, "There is no such link.")
    return HttpResponse(status=204)
