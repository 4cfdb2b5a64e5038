"""/preferences: users' preferences, JSON values under keys.

In a path the key is the part after the last slash, and the user id is everything before it: a user id may contain
slashes, a key may not. So `/preferences/{user_id}` lists only users without a slash in their id; `?user_id=` takes any.
"""

from typing import Any

from django.http import HttpResponse
from ninja import Query, Router

from memories.knowledge.models import KnowledgeQuerySet, Preference
from memories.knowledge.preferences import upsert_preference
from memories.knowledge.schemas.preferences import PREFERENCE_COLUMNS, PreferenceIn, PreferenceOut, PreferencePage
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.path_labels import PathLabel, UserId
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["preferences"])
PREFERENCE_PATH = "/preferences/{path:user_id}/{key}"


def get_preference_queryset(request: ApiRequest, user_id: str, key: str) -> KnowledgeQuerySet:
    """Return the user's preference under this key as a queryset of at most one row."""
    return Preference.objects.in_namespace(request.auth.namespace_id).filter(user_id=user_id, key=key)


def preference_not_found() -> Problem:
    return Problem(404, "There is no such preference.")


@router.get("/preferences", auth=read_access, response={200: PreferencePage, **PROBLEMS})
def list_preferences(
    request: ApiRequest,
    user_id: Label | None = None,
    category: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List preferences, newest first. `category` filters by a part of the key, case-insensitively."""
    rows = Preference.objects.in_namespace(request.auth.namespace_id)
    return json_response(
        paginate_preferences(rows if user_id is None else rows.filter(user_id=user_id), category, limit, cursor)
    )


@router.get("/preferences/{user_id}", auth=read_access, response={200: PreferencePage, **PROBLEMS})
def list_preferences_of_user(
    request: ApiRequest,
    user_id: Label,
    category: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List a user's preferences, newest first; empty for an unknown user. `category` filters by a part of the key,
    case-insensitively."""
    rows = Preference.objects.in_namespace(request.auth.namespace_id).filter(user_id=user_id)
    return json_response(paginate_preferences(rows, category, limit, cursor))


def paginate_preferences(
    rows: KnowledgeQuerySet, category: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    rows = rows if category is None else rows.filter(key__icontains=category)
    return paginate(rows, PREFERENCE_COLUMNS, limit, cursor, dict)


@router.put(PREFERENCE_PATH, auth=change_access, response={200: PreferenceOut, 201: PreferenceOut, **PROBLEMS})
@write_operation
def learn_preference(request: ApiRequest, user_id: UserId, key: PathLabel, payload: PreferenceIn):
    """Store a user's preference: 201 for a new one, 200 when it replaces the value under this key."""
    row, created = upsert_preference(request.auth.namespace_id, user_id, key, payload)
    return json_response(row, 201 if created else 200)


@router.get(PREFERENCE_PATH, auth=read_access, response={200: PreferenceOut, **PROBLEMS})
def get_preference(request: ApiRequest, user_id: Label, key: Label):
    """Return a user's preference under one key."""
    row = get_preference_queryset(request, user_id, key).values(*PREFERENCE_COLUMNS).first()
    if row is None:
        raise preference_not_found()
    return json_response(row)


@router.delete(PREFERENCE_PATH, auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_preference(request: ApiRequest, user_id: Label, key: Label):
    """Delete a user's preference under one key."""
    if not get_preference_queryset(request, user_id, key).delete()[0]:
        raise preference_not_found()
    return HttpResponse(status=204)
