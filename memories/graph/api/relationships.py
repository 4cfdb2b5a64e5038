"""/memories/{id}/relationships and /memories/{id}/related: how memories of one user hang together."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Body, Query, Router

from memories.api.memories import get_memory_queryset, memory_not_found
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
from memories.graph.traversal import MAX_DISTANCE, find_related
from memories.models import Memory
from memory_site.core.db.ids import uuid7
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["relationships"])
RELATIONSHIP_COLUMNS = (
    "id",
    "from_memory_id",
    "to_memory_id",
    "type",
    "strength",
    "metadata",
    "created_at",
    "updated_at",
)
NOT_EXPIRED_SQL = "({0}.expires_at IS NULL OR {0}.expires_at > statement_timestamp())"
START_CONDITION_SQL = (
    f"start.namespace_id = %(namespace)s AND start.id = %(start)s::uuid AND {NOT_EXPIRED_SQL.format('start')}"
)
MAX_PENDING_RELATIONSHIPS = 100
OTHER_USER_MESSAGE = "belongs to another user: a relationship joins memories of one user"
# What is not said again stays.
ON_CONFLICT_UPDATE_SQL = """DO UPDATE SET
    strength = coalesce(%(strength)s::float8, kept.strength), metadata = coalesce(%(metadata)s::jsonb, kept.metadata),
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING *
"""
RELATIONSHIP_VALUES_SQL = "%(type)s::text, coalesce(%(strength)s::float8, 1), coalesce(%(metadata)s::jsonb, '{}')"


def build_upsert_sql(finish: str) -> str:
    """The statement that relates `start` to a memory that meets the condition. Both are held, so that neither can go
    before the relationship is there."""
    return f"""
WITH ends AS (
    SELECT start.namespace_id, start.owner, start.id AS start, finish.id AS finish
    FROM memories_memory start
    JOIN memories_memory finish ON finish.namespace_id = start.namespace_id AND finish.owner = start.owner
    WHERE {START_CONDITION_SQL} AND {finish} AND finish.id <> start.id AND {NOT_EXPIRED_SQL.format("finish")}
    FOR KEY SHARE OF start, finish
)
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
SELECT %(id)s, namespace_id, owner, start, finish, {RELATIONSHIP_VALUES_SQL} FROM ends
ON CONFLICT (from_memory_id, to_memory_id, type) {ON_CONFLICT_UPDATE_SQL}"""


UPSERT_TO_MEMORY_SQL = build_upsert_sql("finish.id = %(to_id)s::uuid")
# Without a user the index of entities has a place of its own.
UPSERT_TO_ENTITY_SQL = build_upsert_sql(
    """finish.entity_system = %(system)s::text AND finish.entity_id = %(entity_id)s::text
    AND (finish.user_id = start.user_id OR (start.user_id IS NULL AND finish.user_id IS NULL))"""
)
UPSERT_PENDING_SQL = f"""
WITH beginning AS (
    SELECT namespace_id, owner, id FROM memories_memory start
    WHERE {START_CONDITION_SQL} AND (entity_system, entity_id) IS DISTINCT FROM (%(system)s::text, %(entity_id)s::text)
    FOR KEY SHARE
)
INSERT INTO graph_pendingrelationship AS kept
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, type, strength, metadata)
SELECT %(id)s, namespace_id, owner, id, %(system)s::text, %(entity_id)s::text, false, {RELATIONSHIP_VALUES_SQL} FROM beginning
ON CONFLICT (from_memory_id, entity_system, entity_id, type, reverse) {ON_CONFLICT_UPDATE_SQL}"""


@router.post(
    "/memories/{memory_id}/relationships",
    auth=write_access,
    response={200: RelationshipOut, 201: RelationshipOut, 202: PendingOut, **PROBLEMS},
)
@write_operation
def add_relationship(request: ApiRequest, memory_id: UUID, payload: Body[RelationshipIn]):
    """Relate a memory to another one of the same user, or to an entity: 201, or 200 when the two were related in that
    way already. 202 when the entity is not known yet: the relationship is made when it is stored."""
    asked = {"namespace": request.auth.namespace_id, "start": memory_id, "id": uuid7(), **payload.columns()}
    return (relate_to_entity if isinstance(payload, ToEntityIn) else relate_to_memory)(request, asked, payload)


def relate_to_memory(request: ApiRequest, asked: dict[str, Any], payload: ToMemoryIn) -> HttpResponse:
    for made in Relationship.objects.raw(UPSERT_TO_MEMORY_SQL, asked | {"to_id": payload.to_id}):
        return build_relationship_response(made, asked)
    raise explain_refusal(request, asked["start"], payload.to_id)


def relate_to_entity(request: ApiRequest, asked: dict[str, Any], payload: ToEntityIn) -> HttpResponse:
    asked |= {"system": payload.to_entity.system, "entity_id": payload.to_entity.id}
    for made in Relationship.objects.raw(UPSERT_TO_ENTITY_SQL, asked):
        return build_relationship_response(made, asked)
    for waiting in PendingRelationship.objects.raw(UPSERT_PENDING_SQL, asked):
        return json_response(pending_out(waiting, payload.to_entity), 202)
    if not get_memory_queryset(request, asked["start"]).exists():
        raise memory_not_found()
    raise invalid_field("to_entity", "must be another one than the memory's own")


def build_relationship_response(made: Relationship, asked: dict[str, Any]) -> HttpResponse:
    row = {name: getattr(made, name) for name in RELATIONSHIP_COLUMNS}
    return json_response(relationship_out(row), 201 if made.pk == asked["id"] else 200)


def explain_refusal(request: ApiRequest, start: UUID, finish: UUID) -> Problem:
    """The reason that two memories cannot be related."""
    mine = Memory.objects.in_namespace(request.auth.namespace_id)
    owners = dict(mine.filter(pk__in=[start, finish]).values_list("pk", "owner"))
    if start not in owners:
        return memory_not_found()
    if finish not in owners:
        return invalid_field("to_id", "is no memory of this namespace")
    return invalid_field("to_id", "must be another memory" if start == finish else OTHER_USER_MESSAGE)


def relationship_out(row: dict[str, Any]) -> dict[str, Any]:
    """A row of COLUMNS as RelationshipOut. Takes the row over."""
    return row | {"from_id": row.pop("from_memory_id"), "to_id": row.pop("to_memory_id")}


def pending_out(waiting: PendingRelationship, entity: EntityKey) -> dict[str, Any]:
    row = {name: getattr(waiting, name) for name in RELATIONSHIP_COLUMNS if name != "to_memory_id"}
    return row | {"from_id": row.pop("from_memory_id"), "to_entity": entity.model_dump(), "pending": True}


@router.get("/memories/{memory_id}/relationships", auth=read_access, response={200: RelationshipPage, **PROBLEMS})
def list_relationships(
    request: ApiRequest, memory_id: UUID, limit: int = Query(20, ge=1, le=100), cursor: str | None = None
):
    """A memory's relationships in both directions, newest first, and those that wait for their entity."""
    rows = Relationship.objects.in_namespace(request.auth.namespace_id).of_memory(memory_id)
    found = paginate(rows, RELATIONSHIP_COLUMNS, limit, cursor, relationship_out)
    if not found["results"] and not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    return json_response(found | {"pending": list_pending_relationships(request.auth.namespace_id, memory_id)})


def list_pending_relationships(namespace_id: int, memory_id: UUID) -> list[dict[str, Any]]:
    """PendingOut dictionaries, newest first."""
    rows = PendingRelationship.objects.in_namespace(namespace_id).filter(from_memory=memory_id).order_by("-id")
    return [
        pending_out(each, EntityKey(system=each.entity_system, id=each.entity_id))
        for each in rows[:MAX_PENDING_RELATIONSHIPS]
    ]


@router.delete("/relationships/{relationship_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_relationship(request: ApiRequest, relationship_id: UUID):
    """Remove a relationship, also one that still waits for its entity. The memories stay as they are."""
    for kind in (Relationship, PendingRelationship):
        if kind.objects.in_namespace(request.auth.namespace_id).filter(pk=relationship_id).delete()[0]:
            return HttpResponse(status=204)
    raise Problem(404, "There is no such relationship.")


@router.get("/memories/{memory_id}/related", auth=read_access, response={200: RelatedOut, **PROBLEMS})
def list_related(
    request: ApiRequest,
    memory_id: UUID,
    max_distance: int = Query(2, ge=1, le=MAX_DISTANCE),
    limit: int = Query(20, ge=1, le=100),
):
    """What hangs together with a memory, in both directions, over at most `max_distance` steps: the nearest first."""
    found = find_related(request.auth.namespace_id, memory_id, max_distance, limit)
    if not found and not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    return json_response({"results": found})
