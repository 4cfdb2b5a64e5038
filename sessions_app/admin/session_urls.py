"""URLs of a session's page and of lists narrowed to a session."""

from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils.http import urlencode

from sessions_app.models import SessionMemory


def get_session_url(pk: UUID) -> str:
    return reverse("admin:sessions_app_sessionmemory_change", args=[pk])


def get_changelist_url(model: str, **parameters: object) -> str:
    """Return the URL of a list of this app, with filters."""
    return f"{reverse(f'admin:sessions_app_{model}_changelist')}?{urlencode(parameters)}"


def select_live_session_pk(session_id: str) -> Subquery:
    """Return the primary key of the unexpired session whose id is in the column `session_id` of the outer query."""
    return Subquery(filter_sessions(SessionMemory.objects.alive(), session_id).values("pk"))


def has_session(session_id: str) -> Exists:
    """Return whether a session, expired or not, has the id in the column `session_id` of the outer query."""
    return Exists(filter_sessions(SessionMemory.objects.all(), session_id))


def filter_sessions(sessions: QuerySet, session_id: str) -> QuerySet:
    """Filter the sessions of the outer query's namespace whose id is in its column `session_id`."""
    return sessions.filter(namespace=OuterRef("namespace"), session_id=OuterRef(session_id))
