"""The analysis of a user's graph as GraphOut, with texts and types as they are now."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models.functions import Left

from memories.graph.analysis import GraphAnalysis, GraphCluster, GraphCut
from memories.graph.models import Relationship
from memories.models import Memory

MemoriesById = dict[UUID, dict[str, Any]]

SHORT_CONTENT_LENGTH = 200
SHORT_MEMORY_COLUMNS = ("id", "beginning", "memory_type", "entity_system", "entity_id", "entity_type", "entity_name")


def graph_out(shape: GraphAnalysis, namespace_id: int, user_id: str, limit: int) -> dict[str, Any]:
    """GraphOut, with texts and types as they are now. What was deleted meanwhile is left out."""
    bridges, connectors = shape.bridges[:limit], shape.connectors[:limit]
    ids = [each.id for each in shape.central[:limit]] + [each.members[0] for each in shape.clusters[:limit]]
    ids += [end for each in (*bridges, *connectors) for end in each.ids]
    memories = fetch_short_memories(namespace_id, user_id, ids)
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


def fetch_short_memories(namespace_id: int, user_id: str, ids: Iterable[UUID]) -> MemoriesById:
    mine = Memory.objects.in_namespace(namespace_id).filter(owner=user_id, pk__in=set(ids))
    rows = mine.annotate(beginning=Left("content", SHORT_CONTENT_LENGTH)).values(*SHORT_MEMORY_COLUMNS)
    return {row["id"]: short_memory_out(row) for row in rows}


def short_memory_out(row: dict[str, Any]) -> dict[str, Any]:
    """ShortMemoryOut. Takes the row over."""
    entity = {part: row.pop(f"entity_{part}") for part in ("system", "id", "type", "name")}
    return row | {"entity": entity if entity["id"] is not None else None}


def get_memory_name(memory: dict[str, Any] | None) -> str:
    """What people would call it: the name of its entity, or else the first line of its content."""
    return "" if memory is None else (memory["entity"] or {}).get("name") or memory["beginning"].partition("\n")[0]


def cluster_out(number: int, cluster: GraphCluster, memories: MemoriesById) -> dict[str, Any]:
    label = get_memory_name(memories.get(cluster.members[0]))
    return {"id": number, "label": label, "size": cluster.size, "members": cluster.members}


def bridges_out(
    bridges: list[GraphCut], memories: MemoriesById, namespace_id: int, user_id: str
) -> list[dict[str, Any]]:
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
