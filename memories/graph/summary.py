"""The analysis of a user's graph as GraphOut, with the present texts and types."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models.functions import Left

from memories.graph.analysis import AnalysisResult, GraphCluster, GraphCut
from memories.graph.models import Relationship
from memories.models import Memory

MemoriesById = dict[UUID, dict[str, Any]]

SHORT_CONTENT_LENGTH = 200
SHORT_MEMORY_COLUMNS = ("id", "beginning", "memory_type", "entity_system", "entity_id", "entity_type", "entity_name")


def graph_out(analysis: AnalysisResult, namespace_id: int, user_id: str, limit: int) -> dict[str, Any]:
    """Return GraphOut without memories that have been deleted since the analysis."""
    bridges, connectors = analysis.bridges[:limit], analysis.connectors[:limit]
    ids = [each.id for each in analysis.central[:limit]] + [each.members[0] for each in analysis.clusters[:limit]]
    ids += [end for each in (*bridges, *connectors) for end in each.ids]
    memories = fetch_short_memories(namespace_id, user_id, ids)
    names = ("memories", "relationships", "connected", "cluster_total", "bridge_total", "connector_total")
    return {name: getattr(analysis, name) for name in names} | {
        "central": [
            {"memory": memories[each.id], "score": each.score, "degree": each.degree}
            for each in analysis.central[:limit]
            if each.id in memories
        ],
        "clusters": [cluster_out(n, each, memories) for n, each in enumerate(analysis.clusters[:limit], 1)],
        "bridges": bridges_out(bridges, memories, namespace_id, user_id),
        "connectors": [
            {"memory": memories[each.ids[0]], "separates": each.separates}
            for each in connectors
            if each.ids[0] in memories
        ],
    }


def fetch_short_memories(namespace_id: int, user_id: str, ids: Iterable[UUID]) -> MemoriesById:
    """Return ShortMemoryOut dictionaries by id."""
    mine = Memory.objects.in_namespace(namespace_id).filter(owner=user_id, pk__in=set(ids))
    rows = mine.annotate(beginning=Left("content", SHORT_CONTENT_LENGTH)).values(*SHORT_MEMORY_COLUMNS)
    return {row["id"]: short_memory_out(row) for row in rows}


def short_memory_out(row: dict[str, Any]) -> dict[str, Any]:
    """Return ShortMemoryOut, made of the row, which it changes."""
    entity = {part: row.pop(f"entity_{part}") for part in ("system", "id", "type", "name")}
    return row | {"entity": entity if entity["id"] is not None else None}


def get_memory_name(memory: dict[str, Any] | None) -> str:
    """Return the name of its entity, or else the first line of its content. `memory` is a ShortMemoryOut."""
    if memory is None:
        return ""
    return (memory["entity"] or {}).get("name") or memory["beginning"].partition("\n")[0]


def cluster_out(number: int, cluster: GraphCluster, memories: MemoriesById) -> dict[str, Any]:
    label = get_memory_name(memories.get(cluster.members[0]))
    return {"id": number, "label": label, "size": cluster.size, "members": cluster.members}


def bridges_out(
    bridges: list[GraphCut], memories: MemoriesById, namespace_id: int, user_id: str
) -> list[dict[str, Any]]:
    """Return BridgeOut dictionaries, each in the direction of the oldest relationship between the two memories."""
    between: dict[frozenset[UUID], list[tuple]] = {}
    mine = Relationship.objects.in_namespace(namespace_id).filter(owner=user_id)
    rows = mine.among({end for each in bridges for end in each.ids}).order_by("id")
    for start, finish, kind in rows.values_list("from_memory_id", "to_memory_id", "type"):
        between.setdefault(frozenset((start, finish)), []).append((start, finish, kind))
    joined = [(each, between.get(frozenset(each.ids))) for each in bridges]
    return [
        {
            "from_memory": memories[links[0][0]],
            "to_memory": memories[links[0][1]],
            "types": sorted({kind for _, _, kind in links}),
            "separates": each.separates,
        }
        for each, links in joined
        if links and memories.keys() >= set(each.ids)
    ]
