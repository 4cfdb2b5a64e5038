"""/patterns: recurring behaviour, stored by a caller or discovered in a user's messages."""

from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Left, Now
from django.http import HttpResponse
from ninja import Query, Router

from memories.knowledge import patterns
from memories.knowledge.discovery import find_patterns
from memories.knowledge.models import KnowledgeQuerySet, Pattern
from memories.knowledge.schemas.patterns import (
    PATTERN_COLUMNS,
    AddedPatternOut,
    DiscoverIn,
    DiscoverOut,
    PatternIn,
    PatternKind,
    PatternOut,
    PatternPage,
    PatternPatch,
)
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.api import conversations
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.models import Message
from sessions_app.models.conversations import Role
from sessions_app.write_operations import write_operation

router = Router(tags=["patterns"])
#: Discovery reads the last messages of a conversation and the beginning of each: two megabytes at most.
MAX_DISCOVERY_MESSAGES, MAX_DISCOVERY_CHARACTERS = 1_000, 2_000


def get_pattern_queryset(request: ApiRequest, pattern_id: UUID) -> KnowledgeQuerySet:
    """Return the caller's pattern of this id as a queryset of at most one row."""
    return Pattern.objects.in_namespace(request.auth.namespace_id).filter(pk=pattern_id)


def pattern_not_found() -> Problem:
    return Problem(404, "There is no such pattern.")


def to_pattern_out(pattern: Pattern) -> dict[str, Any]:
    return {name: getattr(pattern, name) for name in PATTERN_COLUMNS}


def fetch_pattern(request: ApiRequest, pattern_id: UUID) -> dict[str, Any]:
    """Return the fields of PatternOut. Raises Problem 404."""
    row = get_pattern_queryset(request, pattern_id).values(*PATTERN_COLUMNS).first()
    if row is None:
        raise pattern_not_found()
    return row


@router.post("/patterns", auth=change_access, response={200: AddedPatternOut, 201: AddedPatternOut, **PROBLEMS})
@write_operation
def add_pattern(request: ApiRequest, payload: PatternIn):
    """Store a pattern. If the user has one under this key, `frequency` is added to it, examples are merged, and the
    greater confidence stays: 200 and `created: false`."""
    pattern, created = patterns.add_occurrences(request.auth.namespace_id, payload.to_draft())
    return json_response(to_pattern_out(pattern) | {"created": created}, 201 if created else 200)


@router.post("/patterns/discover", auth=change_access, response={200: DiscoverOut, **PROBLEMS})
@write_operation
def discover_patterns(request: ApiRequest, payload: DiscoverIn):
    """Discover patterns in the user's messages of a conversation, of which it needs at least five: recurring words
    (`common_topics`) and frequent questions (`question_pattern`). The frequency of a pattern is the greatest number of
    messages of one conversation that show it, so that no message is counted twice."""
    messages = fetch_user_messages(request, payload.conversation_id)
    texts, user_id = [text for text, _ in messages], messages[0][1] if messages else None
    found = patterns.merge_discovered(request.auth.namespace_id, find_patterns(texts, user_id))
    return json_response({"patterns": [to_pattern_out(pattern) for pattern in found], "messages": len(messages)})


def fetch_user_messages(request: ApiRequest, conversation_id: UUID) -> list[tuple[str, str | None]]:
    """Return the user's last messages, oldest first, each as (beginning of the text, user id). Raises Problem 404."""
    rows = Message.objects.in_namespace(request.auth.namespace_id)
    rows = rows.filter(conversation_id=conversation_id, role=Role.USER).order_by("-created_at", "-id")
    columns = (Left("content", MAX_DISCOVERY_CHARACTERS), F("conversation__user_id"))
    messages = list(rows.values_list(*columns)[:MAX_DISCOVERY_MESSAGES])
    if not messages and not conversations.get_conversation_queryset(request, conversation_id).exists():
        raise conversations.conversation_not_found()
    return messages[::-1]


@router.get("/patterns", auth=read_access, response={200: PatternPage, **PROBLEMS})
def list_patterns(
    request: ApiRequest,
    pattern_type: PatternKind | None = None,
    user_id: Label | None = None,
    min_confidence: float | None = Query(None, ge=0, le=1),
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List patterns, newest first."""
    rows = Pattern.objects.in_namespace(request.auth.namespace_id)
    if pattern_type is not None:
        rows = rows.filter(pattern_type=pattern_type)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    if min_confidence is not None:
        rows = rows.filter(confidence__gte=min_confidence)
    return json_response(paginate(rows, PATTERN_COLUMNS, limit, cursor, dict))


@router.get("/patterns/{pattern_id}", auth=read_access, response={200: PatternOut, **PROBLEMS})
def get_pattern(request: ApiRequest, pattern_id: UUID):
    """Return one pattern."""
    return json_response(fetch_pattern(request, pattern_id))


@router.patch("/patterns/{pattern_id}", auth=change_access, response={200: PatternOut, **PROBLEMS})
@write_operation
def update_pattern(request: ApiRequest, pattern_id: UUID, payload: PatternPatch):
    """Change the given fields. A pattern's user and key cannot be changed."""
    get_pattern_queryset(request, pattern_id).update(**payload.model_dump(exclude_unset=True), updated_at=Now())
    return json_response(fetch_pattern(request, pattern_id))


@router.delete("/patterns/{pattern_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_pattern(request: ApiRequest, pattern_id: UUID):
    """Delete a pattern."""
    if not get_pattern_queryset(request, pattern_id).delete()[0]:
        raise pattern_not_found()
    return HttpResponse(status=204)
