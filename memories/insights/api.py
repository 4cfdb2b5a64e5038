"""/insights: add, extract, find and use insights, and their statistics."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router

from memories import tasks
from memories.expiry import purge_expired_memories
from memories.insights.parser import parse_insights
from memories.insights.schemas import (
    INSIGHT_OUT_COLUMNS,
    AddedInsightOut,
    CollectionName,
    ExtractedOut,
    ExtractIn,
    FoundInsightOut,
    InsightIn,
    InsightOrigin,
    InsightOut,
    InsightPage,
    InsightSearchIn,
    InsightSearchOut,
    InsightTypeName,
    StatisticsOut,
    insight_out,
)
from memories.insights.scoring import score_insight
from memories.insights.search import MATCH_ALL_QUERY, InsightFilters, find_insights, get_insight_memories
from memories.insights.statistics import fetch_statistics
from memories.insights.storage import InsightDraft, save_insights
from memories.insights.usage import record_use
from memories.models import Memory
from memories.search.execute import TimedSearch
from memory_site.core.http.fields import Label, UnitInterval
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.models import Conversation
from sessions_app.write_operations import write_operation

router = Router(tags=["insights"])


def insight_not_found() -> Problem:
    return Problem(404, "There is no such insight.")


@router.post("/insights", auth=change_access, response={200: AddedInsightOut, 201: AddedInsightOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_insight(request: ApiRequest, payload: InsightIn):
    """Store an insight as a memory of type `insight`. If the same insight, or nearly the same, exists, the two are
    merged: 200 and `created: false`, with the projects and topics of both."""
    check_origin(request, payload)
    [saved] = save_drafts(request, [InsightDraft(**payload.model_dump())])
    return json_response(saved, 201 if saved["created"] else 200)


@router.post("/insights/extract", auth=change_access, response={200: ExtractedOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def extract_insights(request: ApiRequest, payload: ExtractIn):
    """Store the insights that a text marks with `★ Insight ─────`, at most ten. The text itself is not stored;
    `keep: false` stores nothing at all."""
    check_origin(request, payload)
    origin = payload.model_dump(exclude={"text", "keep"})
    drafts = [InsightDraft(text, **origin) for text in parse_insights(payload.text)]
    insights = save_drafts(request, drafts) if payload.keep else [preview_draft(draft) for draft in drafts]
    return json_response({"insights": insights, "found": len(insights)})


def check_origin(request: ApiRequest, payload: InsightOrigin) -> None:
    """Raise Problem 422 if the origin names a memory or a conversation that the namespace does not have."""
    namespace_id = request.auth.namespace_id
    memory, conversation = payload.source_memory_id, payload.conversation_id
    if memory and not Memory.objects.in_namespace(namespace_id).filter(pk=memory).exists():
        raise invalid_field("source_memory_id", "is no memory of this namespace")
    if conversation and not Conversation.objects.in_namespace(namespace_id).filter(pk=conversation).exists():
        raise invalid_field("conversation_id", "is no conversation of this namespace")


@transaction.atomic
def save_drafts(request: ApiRequest, drafts: list[InsightDraft]) -> list[dict[str, Any]]:
    """Save the drafts; return AddedInsightOut for each distinct insight."""
    created: dict[UUID, bool] = {}
    for pk, is_new in save_insights(request.auth.namespace_id, drafts):
        created[pk] = created.get(pk, False) or is_new
    rows = get_insight_memories(request.auth.namespace_id).filter(pk__in=created).values(*INSIGHT_OUT_COLUMNS.values())
    insights = {row["id"]: insight_out(row) for row in rows}
    tasks.embedding_trigger.notify_on_commit()
    return [insights[pk] | {"created": is_new} for pk, is_new in created.items()]


def preview_draft(draft: InsightDraft) -> dict[str, Any]:
    """Return FoundInsightOut of an insight that is not stored."""
    scores = asdict(score_insight(draft.content))
    fields = {name: getattr(draft, name, None) for name in FoundInsightOut.model_fields}
    return fields | scores | {"projects": draft.redacted_projects, "created": False, "embedded": False}


@router.get("/insights", auth=read_access, response={200: InsightPage, **PROBLEMS})
def list_insights(
    request: ApiRequest,
    collection: CollectionName | None = None,
    insight_type: InsightTypeName | None = None,
    project: Label | None = None,
    min_quality: UnitInterval | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List insights, newest first."""
    filters = InsightFilters.build(
        collection=collection, insight_type=insight_type, project=project, min_quality=min_quality
    )
    rows = get_insight_memories(request.auth.namespace_id, filters)
    return json_response(paginate(rows, list(INSIGHT_OUT_COLUMNS.values()), limit, cursor, insight_out))


@router.post("/insights/search", auth=read_access, response={200: InsightSearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_insights(request: ApiRequest, payload: InsightSearchIn):
    """Find insights by words, by meaning, or by both (the default); the query `*` finds everything, newest first. If
    the embedder is unavailable, only words are searched and `degraded` is true."""
    if payload.query.strip() == MATCH_ALL_QUERY:
        payload = payload.model_copy(update={"mode": "text"})  # needs no vector
    search = TimedSearch(payload, request.auth.embedding_model)
    results = find_insights(request.auth.namespace_id, payload, search)
    return json_response({"results": results} | search.report())


@router.get("/insights/statistics", auth=read_access, response={200: StatisticsOut, **PROBLEMS})
def insight_statistics(request: ApiRequest):
    """Return statistics of the insights: counts by type, collection and project, averages and total usage."""
    return json_response(fetch_statistics(request.auth.namespace_id))


@router.post("/insights/{insight_id}/use", auth=change_access, response={200: InsightOut, **PROBLEMS})
@write_operation
def use_insight(request: ApiRequest, insight_id: UUID):
    """Record that an insight was useful. An insight with a use is never pruned."""
    insight = record_use(request.auth.namespace_id, insight_id)
    if insight is None:
        raise insight_not_found()
    return json_response(insight)


# After the fixed paths, which an id would otherwise match.
@router.get("/insights/{insight_id}", auth=read_access, response={200: InsightOut, **PROBLEMS})
def get_insight(request: ApiRequest, insight_id: UUID):
    """Return one insight."""
    row = (
        get_insight_memories(request.auth.namespace_id)
        .filter(pk=insight_id)
        .values(*INSIGHT_OUT_COLUMNS.values())
        .first()
    )
    if row is None:
        raise insight_not_found()
    return json_response(insight_out(row))


@router.delete("/insights/{insight_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_insight(request: ApiRequest, insight_id: UUID):
    """Delete an insight with its memory, its vector and every reference to it."""
    namespace_id = request.auth.namespace_id
    found = get_insight_memories(namespace_id).filter(pk=insight_id)
    if not Memory.objects.filter(namespace_id=namespace_id, pk__in=found.values("pk")).delete()[0]:
        raise insight_not_found()
    return HttpResponse(status=204)
