"""/insights: what was learned, told by hand or marked in a text; found again, used, and added up."""

import time
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from memories import tasks
from memories.expiry import making_way
from memories.insights.parser import insights_in
from memories.insights.schemas import (
    COLUMNS,
    AddedInsightOut,
    CollectionName,
    ExtractedOut,
    ExtractIn,
    FoundInsightOut,
    InsightIn,
    InsightOut,
    InsightPage,
    InsightSearchIn,
    InsightSearchOut,
    StatisticsOut,
    TypeName,
    Whose,
    insight_out,
)
from memories.insights.scoring import judged
from memories.insights.search import EVERYTHING, Sought, insights, search
from memories.insights.statistics import statistics
from memories.insights.storage import InsightDraft, keep
from memories.insights.usage import use
from memories.models import Memory
from memories.search.query_embedding import search_vector
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Label, Share
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem, invalid
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent
from sessions_app.models import Conversation

router = Router(tags=["insights"])


def missing() -> Problem:
    return Problem(404, "There is no such insight.")


@router.post("/insights", auth=writes, response={200: AddedInsightOut, 201: AddedInsightOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def add_insight(request: HttpRequest, payload: InsightIn):
    """Keep an insight: a memory of type `insight` with what it says besides. The same one, or nearly the same, is kept
    once: 200 and `created: false`, with the projects and topics of both."""
    check_origin(request, payload)
    [kept] = kept_of(request, [InsightDraft(**payload.model_dump())])
    return answer(kept, 201 if kept["created"] else 200)


@router.post("/insights/extract", auth=writes, response={200: ExtractedOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def extract_insights(request: HttpRequest, payload: ExtractIn):
    """Keep the insights that are marked in a text with `★ Insight ─────`, ten at most. The text itself is not kept;
    `keep: false` keeps nothing at all."""
    check_origin(request, payload)
    whose = payload.model_dump(exclude={"text", "keep"})
    drafts = [InsightDraft(text, **whose) for text in insights_in(payload.text)]
    found = kept_of(request, drafts) if payload.keep else [seen(draft) for draft in drafts]
    return answer({"insights": found, "found": len(found)})


def check_origin(request: HttpRequest, payload: Whose) -> None:
    """Raises Problem 422 when it names a memory or a conversation that the namespace does not have."""
    owner = request.auth.namespace_id
    memory, conversation = payload.source_memory_id, payload.conversation_id
    if memory and not Memory.objects.in_namespace(owner).filter(pk=memory).exists():
        raise invalid("source_memory_id", "is no memory of this namespace")
    if conversation and not Conversation.objects.in_namespace(owner).filter(pk=conversation).exists():
        raise invalid("conversation_id", "is no conversation of this namespace")


@transaction.atomic
def kept_of(request: HttpRequest, drafts: list[InsightDraft]) -> list[dict[str, Any]]:
    """AddedInsightOut of each, once."""
    kept = keep(request.auth.namespace_id, drafts)
    created: dict[UUID, bool] = {}
    for pk, is_new in kept:
        created[pk] = created.get(pk, False) or is_new
    rows = insights(request.auth.namespace_id).filter(pk__in=created).values(*COLUMNS.values())
    shown = {row["id"]: insight_out(row) for row in rows}
    tasks.bell.ring()
    return [shown[pk] | {"created": is_new} for pk, is_new in created.items()]


def seen(draft: InsightDraft) -> dict[str, Any]:
    """FoundInsightOut of what is not kept."""
    own, nothing = judged(draft.content), dict.fromkeys(FoundInsightOut.model_fields)
    said = {name: getattr(own, name) for name in ("insight_type", "topics", "confidence", "quality")}
    given = {name: getattr(draft, name) for name in nothing if hasattr(draft, name) and name not in said}
    told = {"projects": draft.masked_projects, "usage_count": 0, "created": False, "embedded": False}
    return nothing | given | said | told


@router.get("/insights", auth=reads, response={200: InsightPage, **PROBLEMS})
def list_insights(
    request: HttpRequest,
    collection: CollectionName | None = None,
    insight_type: TypeName | None = None,
    project: Label | None = None,
    min_quality: Share | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Insights, newest first."""
    sought = Sought.by(collection=collection, insight_type=insight_type, project=project, min_quality=min_quality)
    rows = insights(request.auth.namespace_id, sought)
    return answer(page(rows, list(COLUMNS.values()), limit, cursor, insight_out))


@router.post("/insights/search", auth=reads, response={200: InsightSearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_insights(request: HttpRequest, payload: InsightSearchIn):
    """Find insights by words, by meaning, or by both (the default); `*` is everything, newest first. Without an
    embedder words must do, and `degraded` says so."""
    started, model = time.perf_counter(), request.auth.embedding_model
    everything = payload.query.strip() == EVERYTHING
    vector, degraded = (None, False) if everything else search_vector(payload, model)
    found = search(request.auth.namespace_id, payload, vector, model)
    took = round((time.perf_counter() - started) * 1000, 2)
    return answer({"results": found, "degraded": degraded, "took_ms": took})


@router.get("/insights/statistics", auth=reads, response={200: StatisticsOut, **PROBLEMS})
def insight_statistics(request: HttpRequest):
    """What the insights come to: how many, how good, how much used, of which types and projects."""
    return answer(statistics(request.auth.namespace_id))


@router.post("/insights/{insight_id}/use", auth=writes, response={200: InsightOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def use_insight(request: HttpRequest, insight_id: UUID):
    """Say that an insight was of use. Used ones are never pruned."""
    used = use(request.auth.namespace_id, insight_id)
    if used is None:
        raise missing()
    return answer(used)


# Below the fixed addresses, which an id would otherwise swallow.
@router.get("/insights/{insight_id}", auth=reads, response={200: InsightOut, **PROBLEMS})
def get_insight(request: HttpRequest, insight_id: UUID):
    """One insight."""
    row = insights(request.auth.namespace_id).filter(pk=insight_id).values(*COLUMNS.values()).first()
    if row is None:
        raise missing()
    return answer(insight_out(row))


@router.delete("/insights/{insight_id}", auth=writes, response={204: None, **PROBLEMS})
@surviving_deadlocks
def delete_insight(request: HttpRequest, insight_id: UUID):
    """Delete an insight with its memory, its vector and everything that refers to it."""
    if not insights(request.auth.namespace_id).filter(pk=insight_id).delete()[0]:
        raise missing()
    return HttpResponse(status=204)
