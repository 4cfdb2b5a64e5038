"""/preferences: what users like, as values under keys.

In an address the key is what stands behind the last slash, and the user's id all before it: a user's id may hold
slashes, a key may not. So a list of one user by address is for ids without; `?user_id=` takes any.
"""

from typing import Any

from django.http import HttpResponse
from ninja import Query, Router
from pydantic_core import to_json

from memories.knowledge.models import KnowledgeQuerySet, Preference
from memories.knowledge.schemas.preferences import PREFERENCE_COLUMNS, PreferenceIn, PreferenceOut, PreferencePage
from memory_site.core.db.ids import uuid7
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["preferences"])
PREFERENCE_PATH = "/preferences/{path:user_id}/{key}"
# What is not said again stays.
UPSERT_PREFERENCE_SQL = """
INSERT INTO knowledge_preference AS kept (id, namespace_id, user_id, key, value, confidence, source)
VALUES (%(id)s::uuid, %(namespace)s, %(user_id)s, %(key)s, %(value)s::jsonb, coalesce(%(confidence)s::float8, 1),
        coalesce(%(source)s::text, 'api'))
ON CONFLICT (namespace_id, user_id, key) DO UPDATE SET
    value = excluded.value,
    confidence = coalesce(%(confidence)s::float8, kept.confidence),
    source = coalesce(%(source)s::text, kept.source),
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING *
"""


def get_preference_queryset(request: ApiRequest, user_id: str, key: str) -> KnowledgeQuerySet:
    """What the user likes under this key, if anything."""
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
    """Preferences, the newest first; `category` is a part of the key, in whatever case."""
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
    """What a user likes, the newest first; nothing for who is not known. `category` is a part of the key, in whatever
    case."""
    rows = Preference.objects.in_namespace(request.auth.namespace_id).filter(user_id=user_id)
    return json_response(paginate_preferences(rows, category, limit, cursor))


def paginate_preferences(
    rows: KnowledgeQuerySet, category: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    rows = rows if category is None else rows.filter(key__icontains=category)
    return paginate(rows, PREFERENCE_COLUMNS, limit, cursor, dict)


@router.put(PREFERENCE_PATH, auth=write_access, response={200: PreferenceOut, 201: PreferenceOut, **PROBLEMS})
@write_operation
def learn_preference(request: ApiRequest, user_id: Label, key: Label, payload: PreferenceIn):
    """Learn what a user likes: 201, or 200 when there was a value already, in whose place this one stands."""
    said = payload.model_dump(include={"confidence", "source"} & payload.model_fields_set)
    asked = {"confidence": None, "source": None} | said | {"user_id": user_id, "key": key, "id": uuid7()}
    asked |= {"namespace": request.auth.namespace_id, "value": to_json(payload.value).decode()}
    [learned] = Preference.objects.raw(UPSERT_PREFERENCE_SQL, asked)
    row = {name: getattr(learned, name) for name in PREFERENCE_COLUMNS}
    return json_response(row, 201 if learned.pk == asked["id"] else 200)


@router.get(PREFERENCE_PATH, auth=read_access, response={200: PreferenceOut, **PROBLEMS})
def get_preference(request: ApiRequest, user_id: Label, key: Label):
    """What a user likes under one key."""
    row = get_preference_queryset(request, user_id, key).values(*PREFERENCE_COLUMNS).first()
    if row is None:
        raise preference_not_found()
    return json_response(row)


@router.delete(PREFERENCE_PATH, auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_preference(request: ApiRequest, user_id: Label, key: Label):
    """Forget what a user likes under one key."""
    if not get_preference_queryset(request, user_id, key).delete()[0]:
        raise preference_not_found()
    return HttpResponse(status=204)
