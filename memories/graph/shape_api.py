"""/users/{user_id}/graph: what is central in a user's graph, its clusters, and what holds it together."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models.functions import Left
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema

from memories.graph.models import Relationship
from memories.graph.schemas import Kind
from memories.graph.shape import Cluster, Separating, Shape, shape_of
from memories.models import Memory
from memories.schemas import EntityOut
from memories.types import MemoryType
from memory_site.answers import PROBLEMS, answer
from memory_site.auth import reads
from memory_site.schemas import Label

router = Router(tags=["users"])
BEGINNING = 200
SHORT = ("id", "beginning", "memory_type", "entity_system", "entity_id", "entity_type", "entity_name")
Memories = dict[UUID, dict[str, Any]]


class ShortMemoryOut(Schema):
    id: UUID
    beginning: str = Field(description=f"Of its content: {BEGINNING} characters at most.")
    memory_type: MemoryType
    entity: EntityOut | None


class CentralOut(Schema):
    memory: ShortMemoryOut
    score: float = Field(description="PageRank; those of all connected memories add up to 1.")
    degree: int = Field(description="How many memories it is connected with.")


class ClusterOut(Schema):
    id: int = Field(description="1 is the largest.")
    label: str = Field(description="Its most central memory, by the name of its entity or by how its content begins.")
    size: int
    members: list[UUID] = Field(description="The most central first, 50 at most.")


class BridgeOut(Schema):
    from_memory: ShortMemoryOut
    to_memory: ShortMemoryOut
    types: list[Kind] = Field(description="Of the relationships between the two.")
    separates: int = Field(description="How many memories would no longer hang together with most of the others.")


class ConnectorOut(Schema):
    memory: ShortMemoryOut
    separates: int = Field(description="How many memories would no longer hang together with most of the others.")


class GraphOut(Schema):
    memories: int
    relationships: int
    connected: int = Field(description="Memories that have a relationship. Only these are looked at in what follows.")
    central: list[CentralOut]
    cluster_total: int
    clusters: list[ClusterOut] = Field(description="Groups with more connections inside than chance would give them.")
    bridge_total: int
    bridges: list[BridgeOut] = Field(description="Pairs that alone keep two parts together, the largest parts first.")
    connector_total: int
    connectors: list[ConnectorOut] = Field(description="Memories that alone keep parts together.")


@router.get("/users/{path:user_id}/graph", auth=reads, response={200: GraphOut, **PROBLEMS})
def user_graph(request: HttpRequest, user_id: Label, limit: int = Query(10, ge=1, le=100)):
    """The most central memories of a user, clusters, bridges and connectors: `limit` of each. Worked out when the graph
    has changed; with more than 2,000 relationships 10 seconds after the last time at the earliest, so that the answer
    may be that old. 409 when the graph is too large for that, 503 when too many are being worked out."""
    namespace_id = request.auth.namespace_id
    return answer(graph_out(shape_of(namespace_id, user_id), namespace_id, user_id, limit))


def graph_out(shape: Shape, namespace_id: int, user_id: str, limit: int) -> dict[str, Any]:
    """GraphOut, with texts and types as they are now. What was deleted meanwhile is left out."""
    bridges, connectors = shape.bridges[:limit], shape.connectors[:limit]
    ids = [each.id for each in shape.central[:limit]] + [each.members[0] for each in shape.clusters[:limit]]
    ids += [end for each in (*bridges, *connectors) for end in each.ids]
    memories = short_memories(namespace_id, user_id, ids)
    names = ("memories", "relationships", "connected", "cluster_total", "bridge_total", "connector_total")
    return {name: getattr(shape, name) for name in names} | {
        "central": [
            {"memory": memories[each.id], "score": each.score, "degree": each.degree}
            for each in shape.central[:limit]
            if each.id in memories
        ],
        "clusters": [cluster_out(n, each, memories) for n, each in enumerate(shape.clusters[:limit], 1)],
        "bridges": bridges_out(bridges, memories, namespace_id, user_id),
        "connectors": [
            {"memory": memories[each.ids[0]], "separates": each.separates}
            for each in connectors
            if each.ids[0] in memories
        ],
    }


def short_memories(namespace_id: int, user_id: str, ids: Iterable[UUID]) -> Memories:
    mine = Memory.objects.in_namespace(namespace_id).filter(owner=user_id, pk__in=set(ids))
    rows = mine.annotate(beginning=Left("content", BEGINNING)).values(*SHORT)
    return {row["id"]: short_out(row) for row in rows}


def short_out(row: dict[str, Any]) -> dict[str, Any]:
    """ShortMemoryOut. Takes the row over."""
    entity = {part: row.pop(f"entity_{part}") for part in ("system", "id", "type", "name")}
    return row | {"entity": entity if entity["id"] is not None else None}


def name_of(memory: dict[str, Any] | None) -> str:
    """What people would call it: the name of its entity, or else the first line of its content."""
    return "" if memory is None else (memory["entity"] or {}).get("name") or memory["beginning"].partition("\n")[0]


def cluster_out(number: int, cluster: Cluster, memories: Memories) -> dict[str, Any]:
    label = name_of(memories.get(cluster.members[0]))
    return {"id": number, "label": label, "size": cluster.size, "members": cluster.members}


def bridges_out(bridges: list[Separating], memories: Memories, namespace_id: int, user_id: str) -> list[dict[str, Any]]:
    """In the direction of the oldest relationship between the two."""
    between: dict[frozenset[UUID], list[tuple]] = {}
    mine = Relationship.objects.in_namespace(namespace_id).filter(owner=user_id)
    rows = mine.among({end for each in bridges for end in each.ids}).order_by("id")
    for start, finish, kind in rows.values_list("from_memory_id", "to_memory_id", "type"):
        between.setdefault(frozenset((start, finish)), []).append((start, finish, kind))
    found = [(each, between.get(frozenset(each.ids))) for each in bridges]
    return [
        {
            "from_memory": memories[links[0][0]],
            "to_memory": memories[links[0][1]],
            "types": sorted({kind for _, _, kind in links}),
            "separates": each.separates,
        }
        for each, links in found
        if links and memories.keys() >= set(each.ids)
    ]
