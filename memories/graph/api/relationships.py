"""/memories/{id}/relationships and /memories/{id}/related: relationships between memories of one user."""

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Body, Query, Router
from pydantic import BeforeValidator, Field

from memories.api.memories import ensure_list, get_memory_queryset, memory_not_found
from memories.graph.models import PendingRelationship, Relationship
from memories.graph.relationships import (
    UpsertedRelationship,
    upsert_pending,
    upsert_to_entity,
    upsert_to_memory,
)
from memories.graph.schemas.relationships import (
    EntityKey,
    PendingOut,
    RelatedOut,
    RelationshipIn,
    RelationshipOut,
    RelationshipPage,
    RelationshipTypeName,
    ToMemoryIn,
)
from memories.graph.traversal import MAX_DISTANCE, find_related
from memories.models import Memory
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
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
MAX_PENDING_RELATIONSHIPS = 100
OtherEnds = Annotated[list[UUID], BeforeValidator(ensure_list), Field(max_length=100)]
WITH_IDS = Query(None, description="Only relationships with one of these memories.")
TYPE = Query(None, description="Only relationships of this type.")
OTHER_USER_MESSAGE = "belongs to another user: a relationship joins memories of one user"


@router.post(
    "/memories/{memory_id}/relationships",
    auth=change_access,
    response={200: RelationshipOut, 201: RelationshipOut, 202: PendingOut, **PROBLEMS},
)
@write_operation
def add_relationship(request: ApiRequest, memory_id: UUID, payload: Body[RelationshipIn]):
    """Relate a memory to another one of the same user, or to an entity: 201, or 200 when the relationship existed
    already. 202 when the entity is not stored yet: the relationship is created when it is."""
    namespace_id, columns = request.auth.namespace_id, payload.columns()
    if isinstance(payload, ToMemoryIn):
        upserted = upsert_to_memory(namespace_id, memory_id, payload.to_id, columns)
        if upserted is None:
            raise explain_refusal(namespace_id, memory_id, payload.to_id)
        return relationship_response(upserted)
    entity = (payload.to_entity.system, payload.to_entity.id)
    if upserted := upsert_to_entity(namespace_id, memory_id, entity, columns):
        return relationship_response(upserted)
    if pending := upsert_pending(namespace_id, memory_id, entity, columns):
        return json_response(pending_out(pending, payload.to_entity), 202)
    if not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    raise invalid_field("to_entity", "must not be the entity of the memory itself")


def relationship_response(upserted: UpsertedRelationship) -> HttpResponse:
    row = {name: getattr(upserted.relationship, name) for name in RELATIONSHIP_COLUMNS}
    return json_response(relationship_out(row), 201 if upserted.is_new else 200)


def explain_refusal(namespace_id: int, start: UUID, finish: UUID) -> Problem:
    """Return the reason that two memories cannot be related."""
    mine = Memory.objects.in_namespace(namespace_id)
    owners = dict(mine.filter(pk__in=[start, finish]).values_list("pk", "owner"))
    if start not in owners:
        return memory_not_found()
    if finish not in owners:
        return invalid_field("to_id", "is no memory of this namespace")
    return invalid_field("to_id", "must be another memory" if start == finish else OTHER_USER_MESSAGE)


def relationship_out(row: dict[str, Any]) -> dict[str, Any]:
    """Return RelationshipOut, made of a row of RELATIONSHIP_COLUMNS."""
    return row | {"from_id": row.pop("from_memory_id"), "to_id": row.pop("to_memory_id")}


def pending_out(pending: PendingRelationship, entity: EntityKey) -> dict[str, Any]:
    row = {name: getattr(pending, name) for name in RELATIONSHIP_COLUMNS if name != "to_memory_id"}
    return row | {"from_id": row.pop("from_memory_id"), "to_entity": entity.model_dump(), "pending": True}


@router.get("/memories/{memory_id}/relationships", auth=read_access, response={200: RelationshipPage, **PROBLEMS})
def list_relationships(
    request: ApiRequest,
    memory_id: UUID,
    with_ids: OtherEnds = WITH_IDS,
    type: RelationshipTypeName | None = TYPE,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List a memory's relationships in both directions, newest first, and its pending ones."""
    rows = Relationship.objects.in_namespace(request.auth.namespace_id).of_memory(memory_id, with_ids)
    rows = rows if type is None else rows.filter(type=type)
    found = paginate(rows, RELATIONSHIP_COLUMNS, limit, cursor, relationship_out)
    if not found["results"] and not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    return json_response(found | {"pending": list_pending_relationships(request.auth.namespace_id, memory_id)})


def list_pending_relationships(namespace_id: int, memory_id: UUID) -> list[dict[str, Any]]:
    """Return PendingOut dictionaries, newest first."""
    rows = PendingRelationship.objects.in_namespace(namespace_id).filter(from_memory=memory_id).order_by("-id")
    return [
        pending_out(each, EntityKey(system=each.entity_system, id=each.entity_id))
        for each in rows[:MAX_PENDING_RELATIONSHIPS]
    ]


@router.delete("/relationships/{relationship_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_relationship(request: ApiRequest, relationship_id: UUID):
    """Delete a relationship, also a pending one. The memories stay as they are."""
    namespace_id = request.auth.namespace_id
    for kind in (Relationship, PendingRelationship):
        found = kind.objects.in_namespace(namespace_id).filter(pk=relationship_id)
        if kind.objects.filter(namespace=namespace_id, pk__in=found.values("pk")).delete()[0]:
            return HttpResponse(status=204)
    raise Problem(404, "There is no such relationship.")


@router.get("/memories/{memory_id}/related", auth=read_access, response={200: RelatedOut, **PROBLEMS})
def list_related(
    request: ApiRequest,
    memory_id: UUID,
    max_distance: int = Query(2, ge=1, le=MAX_DISTANCE),
    limit: int = Query(20, ge=1, le=100),
):
    """List the memories connected with this one, in both directions, over at most `max_distance` relationships: the
    nearest first."""
    found = find_related(request.auth.namespace_id, memory_id, max_distance, limit)
    if not found and not get_memory_queryset(request, memory_id).exists():
        raise memory_not_found()
    return json_response({"results": found})
