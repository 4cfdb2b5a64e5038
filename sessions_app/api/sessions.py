"""/sessions: what was said lately. Add to it, read it, let it go."""

from datetime import datetime
from typing import Any

from ninja import Body, Query, Router

from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app import history
from sessions_app.analytics import compute_analytics
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.models import SessionMemory
from sessions_app.models.sessions import SessionQuerySet
from sessions_app.schemas.sessions import (
    Addition,
    AnalyticsOut,
    CleanupIn,
    CleanupOut,
    ClearedOut,
    ContextOut,
    HistoryOut,
    InteractionsIn,
    SessionId,
    SessionOut,
    SessionPage,
    SessionPatch,
)
from sessions_app.tasks import delete_outdated_sessions
from sessions_app.write_operations import write_operation

router = Router(tags=["sessions"])
SESSION_COLUMNS = ("id", "session_id", "updated_at", "ttl_hours", "history_length")


def get_session_queryset(request: ApiRequest, session_id: str) -> SessionQuerySet:
    """The caller's living session, if there is one."""
    return SessionMemory.objects.in_namespace(request.auth.namespace_id).filter(session_id=session_id)


def session_out(row: dict[str, Any]) -> dict[str, Any]:
    return {"last_updated": row.pop("updated_at"), "exists": True} | {k: row[k] for k in row if k != "id"}


@router.get("/sessions", auth=read_access, response={200: SessionPage, **PROBLEMS})
def list_sessions(request: ApiRequest, limit: int = Query(100, ge=1, le=100), cursor: str | None = None):
    """Living sessions, the one added to last first."""
    rows = SessionMemory.objects.in_namespace(request.auth.namespace_id).with_length()
    return json_response(paginate(rows, SESSION_COLUMNS, limit, cursor, session_out, moment="updated_at"))


# Above the addresses with an id, which would otherwise swallow them.
@router.get("/sessions/analytics", auth=read_access, response={200: AnalyticsOut, **PROBLEMS})
def session_analytics(request: ApiRequest):
    """Totals, the busiest sessions and interactions per day."""
    found = compute_analytics(request.auth.namespace_id)
    for session in found["busiest"]:
        del session["namespace_id"]
        session["last_updated"] = datetime.fromisoformat(session["last_updated"])
    return json_response(found)


@router.post("/sessions/cleanup", auth=write_access, response={200: CleanupOut, **PROBLEMS})
@write_operation
def cleanup_sessions(request: ApiRequest, payload: CleanupIn | None = None):
    """Delete sessions that nobody has added to for long. Reads never wait for this: what is over is not shown.
    `max_age_hours` counts for every session, those with a time to live of their own too."""
    max_age_hours = payload and payload.max_age_hours
    return json_response({"deleted": delete_outdated_sessions(request.auth.namespace_id, max_age_hours)})


@router.post("/sessions/{path:session_id}/interactions", auth=write_access, response={201: HistoryOut, **PROBLEMS})
@write_operation
def add_interactions(request: ApiRequest, session_id: SessionId, payload: Body[Addition]):
    """Append one interaction or several; the session is made when there is none. Parallel additions are all kept, the
    newest 50 (MEMORY_MAX_CONTEXT_LENGTH) of a session stay."""
    several = payload.interactions if isinstance(payload, InteractionsIn) else [payload]
    interactions = [each.to_interaction() for each in several]
    length = history.add(request.auth.namespace_id, session_id, interactions, payload.ttl_hours)
    return json_response({"session_id": session_id, "history_length": length}, 201)


@router.get("/sessions/{path:session_id}/context", auth=read_access, response={200: ContextOut, **PROBLEMS})
def session_context(request: ApiRequest, session_id: SessionId, limit: int = Query(5, ge=1, le=1000)):
    """The newest interactions that are not over, newest first; an unknown session has none."""
    found = history.fetch_context(request.auth.namespace_id, session_id, limit)
    return json_response({"session_id": session_id, "interactions": found})


@router.get("/sessions/{path:session_id}", auth=read_access, response={200: SessionOut, **PROBLEMS})
def session_statistics(request: ApiRequest, session_id: SessionId):
    """How much a session holds; an unknown one holds nothing, and is no error."""
    row = get_session_queryset(request, session_id).with_length().values(*SESSION_COLUMNS).first()
    nothing = {"exists": False, "history_length": 0, "last_updated": None, "ttl_hours": None}
    return json_response(session_out(row) if row else {"session_id": session_id} | nothing)


@router.patch("/sessions/{path:session_id}", auth=write_access, response={200: SessionOut, **PROBLEMS})
@write_operation
def update_session(request: ApiRequest, session_id: SessionId, payload: SessionPatch):
    """Give a session a time to live of its own. That does not renew it."""
    if not get_session_queryset(request, session_id).update(ttl_hours=payload.ttl_hours):
        raise Problem(404, "There is no such session.")
    return session_statistics(request, session_id)


@router.delete("/sessions/{path:session_id}", auth=write_access, response={200: ClearedOut, **PROBLEMS})
def clear_session(request: ApiRequest, session_id: SessionId):
    """Forget a session at once."""
    return json_response({"cleared": bool(get_session_queryset(request, session_id).delete()[0])})
