"""/insights: what was learned, told by hand or marked in a text; found again, used, and added up."""

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
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.models import Conversation
from sessions_app.write_operations import write_operation

router = Router(tags=["insights"])


def insight_not_found() -> Problem:
    return Problem(404, "There is no such insight.")


@router.post("/insights", auth=write_access, response={200: AddedInsightOut, 201: AddedInsightOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_insight(request: ApiRequest, payload: InsightIn):
    """Keep an insight: a memory of type `insight` with what it says besides. The same one, or nearly the same, is kept
    once: 200 and `created: false`, with the projects and topics of both."""
    check_origin(request, payload)
    [kept] = save_drafts(request, [InsightDraft(**payload.model_dump())])
    return json_response(kept, 201 if kept["created"] else 200)


@router.post("/insights/extract", auth=write_access, response={200: ExtractedOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def extract_insights(request: ApiRequest, payload: ExtractIn):
    """Keep the insights that are marked in a text with `★ Insight ─────`, ten at most. The text itself is not kept;
    `keep: false` keeps nothing at all."""
    check_origin(request, payload)
    whose = payload.model_dump(exclude={"text", "keep"})
    drafts = [InsightDraft(text, **whose) for text in parse_insights(payload.text)]
    found = save_drafts(request, drafts) if payload.keep else [preview_draft(draft) for draft in drafts]
    return json_response({"insights": found, "found": len(found)})


def check_origin(request: ApiRequest, payload: InsightOrigin) -> None:
    """Raises Problem 422 when it names a memory or a conversation that the namespace does not have."""
    owner = request.auth.namespace_id
    memory, conversation = payload.source_memory_id, payload.conversation_id
    if memory and not Memory.objects.in_namespace(owner).filter(pk=memory).exists():
        raise invalid_field("source_memory_id", "is no memory of this namespace")
    if conversation and not Conversation.objects.in_namespace(owner).filter(pk=conversation).exists():
        raise invalid_field("conversation_id", "is no conversation of this namespace")


@transaction.atomic
def save_drafts(request: ApiRequest, drafts: list[InsightDraft]) -> list[dict[str, Any]]:
    """AddedInsightOut of each, once."""
    kept = save_insights(request.auth.namespace_id, drafts)
    created: dict[UUID, bool] = {}
    for pk, is_new in kept:
        created[pk] = created.get(pk, False) or is_new
    rows = get_insight_memories(request.auth.namespace_id).filter(pk__in=created).values(*INSIGHT_OUT_COLUMNS.values())
    shown = {row["id"]: insight_out(row) for row in rows}
    tasks.embedding_trigger.notify_on_commit()
    return [shown[pk] | {"created": is_new} for pk, is_new in created.items()]


def preview_draft(draft: InsightDraft) -> dict[str, Any]:
    """FoundInsightOut of what is not kept."""
    own, nothing = score_insight(draft.content), dict.fromkeys(FoundInsightOut.model_fields)
    said = {name: getattr(own, name) for name in ("insight_type", "topics", "confidence", "quality")}
    given = {name: getattr(draft, name) for name in nothing if hasattr(draft, name) and name not in said}
    told = {"projects": draft.redacted_projects, "usage_count": 0, "created": False, "embedded": False}
    return nothing | given | said | told


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
    """Insights, newest first."""
    sought = InsightFilters.by(
        collection=collection, insight_type=insight_type, project=project, min_quality=min_quality
    )
    rows = get_insight_memories(request.auth.namespace_id, sought)
    return json_response(paginate(rows, list(INSIGHT_OUT_COLUMNS.values()), limit, cursor, insight_out))


@router.post("/insights/search", auth=read_access, response={200: InsightSearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_insights(request: ApiRequest, payload: InsightSearchIn):
    """Find insights by words, by meaning, or by both (the default); `*` is everything, newest first. Without an
    embedder words must do, and `degraded` says so."""
    if payload.query.strip() == MATCH_ALL_QUERY:
        payload = payload.model_copy(update={"mode": "text"})  # needs no vector
    search = TimedSearch(payload, request.auth.embedding_model)
    found = find_insights(request.auth.namespace_id, payload, search.vector, search.model)
    return json_response({"results": found} | search.report())


@router.get("/insights/statistics", auth=read_access, response={200: StatisticsOut, **PROBLEMS})
def insight_statistics(request: ApiRequest):
    """What the insights come to: how many, how good, how much used, of which types and projects."""
    return json_response(fetch_statistics(request.auth.namespace_id))


@router.post("/insights/{insight_id}/use", auth=write_access, response={200: InsightOut, **PROBLEMS})
@write_operation
def use_insight(request: ApiRequest, insight_id: UUID):
    """Say that an insight was of use. Used ones are never pruned."""
    used = record_use(request.auth.namespace_id, insight_id)
    if used is None:
        raise insight_not_found()
    return json_response(used)


# Below the fixed addresses, which an id would otherwise swallow.
@router.get("/insights/{insight_id}", auth=read_access, response={200: InsightOut, **PROBLEMS})
def get_insight(request: ApiRequest, insight_id: UUID):
    """One insight."""
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
    """Delete an insight with its memory, its vector and everything that refers to it."""
    if not get_insight_memories(request.auth.namespace_id).filter(pk=insight_id).delete()[0]:
        raise insight_not_found()
    return HttpResponse(status=204)
