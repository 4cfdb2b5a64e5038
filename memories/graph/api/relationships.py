"""/memories/{id}/relationships and /memories/{id}/related: how memories of one user hang together."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Body, Query, Router

from memories.api.memories import missing, the_memory
from memories.graph.models import PendingRelationship, Relationship
from memories.graph.schemas.relationships import (
    EntityKey,
    PendingOut,
    RelatedOut,
    RelationshipIn,
    RelationshipOut,
    RelationshipPage,
    ToEntityIn,
    ToMemoryIn,
)
from memories.graph.traversal import FARTHEST, related
from memories.models import Memory
from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem, invalid
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent

router = Router(tags=["relationships"])
COLUMNS = ("id", "from_memory_id", "to_memory_id", "type", "strength", "metadata", "created_at", "updated_at")
ALIVE = "({0}.expires_at IS NULL OR {0}.expires_at > statement_timestamp())"
START = f"start.namespace_id = %(namespace)s AND start.id = %(start)s::uuid AND {ALIVE.format('start')}"
PENDING_AT_MOST = 100
ANOTHER_USERS = "belongs to another user: a relationship joins memories of one user"
# What is not said again stays.
AGAIN = """DO UPDATE SET
    strength = coalesce(%(strength)s::float8, kept.strength), metadata = coalesce(%(metadata)s::jsonb, kept.metadata),
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING *
"""
SAID = "%(type)s::text, coalesce(%(strength)s::float8, 1), coalesce(%(metadata)s::jsonb, '{}')"


def linking(finish: str) -> str:
    """The statement that relates `start` to a memory that meets the condition. Both are held, so that neither can go
    before the relationship is there."""
    return f"""
WITH ends AS (
    SELECT start.namespace_id, start.owner, start.id AS start, finish.id AS finish
    FROM memories_memory start
    JOIN memories_memory finish ON finish.namespace_id = start.namespace_id AND finish.owner = start.owner
    WHERE {START} AND {finish} AND finish.id <> start.id AND {ALIVE.format("finish")}
    FOR KEY SHARE OF start, finish
)
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
SELECT %(id)s, namespace_id, owner, start, finish, {SAID} FROM ends
ON CONFLICT (from_memory_id, to_memory_id, type) {AGAIN}"""


TO_MEMORY = linking("finish.id = %(to_id)s::uuid")
# Without a user the index of entities has a place of its own.
TO_ENTITY = linking(
    """finish.entity_system = %(system)s::text AND finish.entity_id = %(entity_id)s::text
    AND (finish.user_id = start.user_id OR (start.user_id IS NULL AND finish.user_id IS NULL))"""
)
WAIT = f"""
WITH beginning AS (
    SELECT namespace_id, owner, id FROM memories_memory start
    WHERE {START} AND (entity_system, entity_id) IS DISTINCT FROM (%(system)s::text, %(entity_id)s::text)
    FOR KEY SHARE
)
INSERT INTO graph_pendingrelationship AS kept
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, type, strength, metadata)
SELECT %(id)s, namespace_id, owner, id, %(system)s::text, %(entity_id)s::text, false, {SAID} FROM beginning
ON CONFLICT (from_memory_id, entity_system, entity_id, type, reverse) {AGAIN}"""


@router.post(
    "/memories/{memory_id}/relationships",
    auth=writes,
    response={200: RelationshipOut, 201: RelationshipOut, 202: PendingOut, **PROBLEMS},
)
@surviving_deadlocks
@idempotent
def add_relationship(request: HttpRequest, memory_id: UUID, payload: Body[RelationshipIn]):
    """Relate a memory to another one of the same user, or to an entity: 201, or 200 when the two were related in that
    way already. 202 when the entity is not known yet: the relationship is made when it is stored."""
    asked = {"namespace": request.auth.namespace_id, "start": memory_id, "id": uuid7(), **payload.columns()}
    return (to_entity if isinstance(payload, ToEntityIn) else to_memory)(request, asked, payload)


def to_memory(request: HttpRequest, asked: dict[str, Any], payload: ToMemoryIn) -> HttpResponse:
    for made in Relationship.objects.raw(TO_MEMORY, asked | {"to_id": payload.to_id}):
        return made_answer(made, asked)
    raise why_not(request, asked["start"], payload.to_id)


def to_entity(request: HttpRequest, asked: dict[str, Any], payload: ToEntityIn) -> HttpResponse:
    asked |= {"system": payload.to_entity.system, "entity_id": payload.to_entity.id}
    for made in Relationship.objects.raw(TO_ENTITY, asked):
        return made_answer(made, asked)
    for waiting in PendingRelationship.objects.raw(WAIT, asked):
        return answer(pending_out(waiting, payload.to_entity), 202)
    if not the_memory(request, asked["start"]).exists():
        raise missing()
    raise invalid("to_entity", "must be another one than the memory's own")


def made_answer(made: Relationship, asked: dict[str, Any]) -> HttpResponse:
    row = {name: getattr(made, name) for name in COLUMNS}
    return answer(relationship_out(row), 201 if made.pk == asked["id"] else 200)


def why_not(request: HttpRequest, start: UUID, finish: UUID) -> Problem:
    """The reason that two memories cannot be related."""
    mine = Memory.objects.in_namespace(request.auth.namespace_id)
    owners = dict(mine.filter(pk__in=[start, finish]).values_list("pk", "owner"))
    if start not in owners:
        return missing()
    if finish not in owners:
        return invalid("to_id", "is no memory of this namespace")
    return invalid("to_id", "must be another memory" if start == finish else ANOTHER_USERS)


def relationship_out(row: dict[str, Any]) -> dict[str, Any]:
    """A row of COLUMNS as RelationshipOut. Takes the row over."""
    return row | {"from_id": row.pop("from_memory_id"), "to_id": row.pop("to_memory_id")}


def pending_out(waiting: PendingRelationship, entity: EntityKey) -> dict[str, Any]:
    row = {name: getattr(waiting, name) for name in COLUMNS if name != "to_memory_id"}
    return row | {"from_id": row.pop("from_memory_id"), "to_entity": entity.model_dump(), "pending": True}


@router.get("/memories/{memory_id}/relationships", auth=reads, response={200: RelationshipPage, **PROBLEMS})
def list_relationships(
    request: HttpRequest, memory_id: UUID, limit: int = Query(20, ge=1, le=100), cursor: str | None = None
):
    """A memory's relationships in both directions, newest first, and those that wait for their entity."""
    rows = Relationship.objects.in_namespace(request.auth.namespace_id).of_memory(memory_id)
    found = page(rows, COLUMNS, limit, cursor, relationship_out)
    if not found["results"] and not the_memory(request, memory_id).exists():
        raise missing()
    return answer(found | {"pending": waiting_of(request.auth.namespace_id, memory_id)})


def waiting_of(namespace_id: int, memory_id: UUID) -> list[dict[str, Any]]:
    """PendingOut dictionaries, newest first."""
    rows = PendingRelationship.objects.in_namespace(namespace_id).filter(from_memory=memory_id).order_by("-id")
    return [
        pending_out(each, EntityKey(system=each.entity_system, id=each.entity_id)) for each in rows[:PENDING_AT_MOST]
    ]


@router.delete("/relationships/{relationship_id}", auth=writes, response={204: None, **PROBLEMS})
@surviving_deadlocks
def delete_relationship(request: HttpRequest, relationship_id: UUID):
    """Remove a relationship, also one that still waits for its entity. The memories stay as they are."""
    for kind in (Relationship, PendingRelationship):
        if kind.objects.in_namespace(request.auth.namespace_id).filter(pk=relationship_id).delete()[0]:
            return HttpResponse(status=204)
    raise Problem(404, "There is no such relationship.")


@router.get("/memories/{memory_id}/related", auth=reads, response={200: RelatedOut, **PROBLEMS})
def list_related(
    request: HttpRequest,
    memory_id: UUID,
    max_distance: int = Query(2, ge=1, le=FARTHEST),
    limit: int = Query(20, ge=1, le=100),
):
    """What hangs together with a memory, in both directions, over at most `max_distance` steps: the nearest first."""
    found = related(request.auth.namespace_id, memory_id, max_distance, limit)
    if not found and not the_memory(request, memory_id).exists():
        raise missing()
    return answer({"results": found})
