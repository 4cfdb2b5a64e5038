"""/sessions: add interactions, read them, set the time to live, clear and clean up."""

from datetime import datetime
from typing import Any

from ninja import Body, Query, Router

from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app import history
from sessions_app.analytics import compute_analytics
from sessions_app.auth import ApiRequest, delete_access, read_access, write_access
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
    """Return a query for the caller's unexpired session."""
    return SessionMemory.objects.in_namespace(request.auth.namespace_id).filter(session_id=session_id)


def session_out(row: dict[str, Any]) -> dict[str, Any]:
    return {"last_updated": row.pop("updated_at"), "exists": True} | {name: row[name] for name in row if name != "id"}


@router.get("/sessions", auth=read_access, response={200: SessionPage, **PROBLEMS})
def list_sessions(request: ApiRequest, limit: int = Query(100, ge=1, le=100), cursor: str | None = None):
    """List unexpired sessions, the last one added to first."""
    rows = SessionMemory.objects.in_namespace(request.auth.namespace_id).with_length()
    return json_response(paginate(rows, SESSION_COLUMNS, limit, cursor, session_out, moment="updated_at"))


# Registered before the paths with an id, which would match these too.
@router.get("/sessions/analytics", auth=read_access, response={200: AnalyticsOut, **PROBLEMS})
def session_analytics(request: ApiRequest):
    """Get totals, the busiest sessions and interactions per day."""
    analytics = compute_analytics(request.auth.namespace_id)
    del analytics["interactions_per_hour"]  # only the console draws hours
    for session in analytics["busiest"]:
        del session["namespace_id"]
        session["last_updated"] = datetime.fromisoformat(session["last_updated"])
    return json_response(analytics)


@router.post("/sessions/cleanup", auth=delete_access, response={200: CleanupOut, **PROBLEMS})
@write_operation
def cleanup_sessions(request: ApiRequest, payload: CleanupIn | None = None):
    """Delete expired sessions. Reads do not depend on this: they never show expired sessions. `max_age_hours` applies
    to every session, including those with a time to live of their own."""
    max_age_hours = payload and payload.max_age_hours
    return json_response({"deleted": delete_outdated_sessions(request.auth.namespace_id, max_age_hours)})


@router.post("/sessions/{path:session_id}/interactions", auth=write_access, response={201: HistoryOut, **PROBLEMS})
@write_operation
def add_interactions(request: ApiRequest, session_id: SessionId, payload: Body[Addition]):
    """Append one interaction or several; an unknown session is created. Parallel additions are all stored; a session
    keeps its newest 50 interactions (MEMORY_MAX_CONTEXT_LENGTH). Interactions older than its time to live are not kept;
    `expired` counts them."""
    several = payload.interactions if isinstance(payload, InteractionsIn) else [payload]
    interactions = [each.to_interaction() for each in several]
    length, oldest = history.add(request.auth.namespace_id, session_id, interactions, payload.ttl_hours)
    expired = sum(each.timestamp is not None and each.timestamp <= oldest for each in several)
    return json_response({"session_id": session_id, "history_length": length, "expired": expired}, 201)


@router.get("/sessions/{path:session_id}/context", auth=read_access, response={200: ContextOut, **PROBLEMS})
def session_context(request: ApiRequest, session_id: SessionId, limit: int = Query(5, ge=1, le=1000)):
    """Get the newest unexpired interactions, newest first; an unknown session has none."""
    interactions = history.fetch_context(request.auth.namespace_id, session_id, limit)
    return json_response({"session_id": session_id, "interactions": interactions})


@router.get("/sessions/{path:session_id}", auth=read_access, response={200: SessionOut, **PROBLEMS})
def session_statistics(request: ApiRequest, session_id: SessionId):
    """Get the size of a session. An unknown session is empty, and no error."""
    row = get_session_queryset(request, session_id).with_length().values(*SESSION_COLUMNS).first()
    empty = {"exists": False, "history_length": 0, "last_updated": None, "ttl_hours": None}
    return json_response(session_out(row) if row else {"session_id": session_id} | empty)


@router.patch("/sessions/{path:session_id}", auth=write_access, response={200: SessionOut, **PROBLEMS})
@write_operation
def update_session(request: ApiRequest, session_id: SessionId, payload: SessionPatch):
    """Set the session's own time to live. This does not renew the session."""
    if not get_session_queryset(request, session_id).update(ttl_hours=payload.ttl_hours):
        raise Problem(404, "There is no such session.")
    return session_statistics(request, session_id)


@router.delete("/sessions/{path:session_id}", auth=write_access, response={200: ClearedOut, **PROBLEMS})
def clear_session(request: ApiRequest, session_id: SessionId):
    """Delete a session and its history."""
    return json_response({"cleared": bool(get_session_queryset(request, session_id).delete()[0])})
