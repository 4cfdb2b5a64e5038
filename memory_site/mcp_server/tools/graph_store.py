"""The knowledge graph of /mcp/graph, kept as memories: an entity is one, its observations are in its data and content,
and a relation is a relationship between two."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import transaction

from memory_site.core.db.locks import advisory_xact_lock
from memory_site.mcp_server.operations import Refused
from memory_site.mcp_server.tools.tool import Call

SYSTEM, MEMORY_TYPE = "mcp", "business_fact"
#: Every relation is of this type; what the caller calls it is in its metadata, since our types are fixed.
RELATIONSHIP_TYPE = "relates_to"
MAX_NAMES_PER_REQUEST = 100
#: Relationships in a page, and pages that are read of one entity: there may be any number that are no relations.
MAX_PAGE, MAX_PAGES = 100, 10
MAX_LOCK_WAIT_SECONDS = 3.0


class Relation(NamedTuple):
    """By the names of its ends."""

    source: str
    target: str
    kind: str


class Entity(NamedTuple):
    id: str
    name: str
    kind: str
    observations: list[str]


@contextmanager
def changing_graph(call: Call) -> Iterator[None]:
    """Have one writer at a time read and change a graph inside the block: all that it does, or nothing."""
    with transaction.atomic():
        advisory_xact_lock(f"graph of {call.caller.namespace_id} {call.subject.user}", MAX_LOCK_WAIT_SECONDS)
        yield


def find_entities(call: Call, names: list[str]) -> dict[str, Entity]:
    """Return the entities that there are, by name."""
    found: dict[str, Entity] = {}
    names = list(dict.fromkeys(names))
    for start in range(0, len(names), MAX_NAMES_PER_REQUEST):
        chunk = names[start : start + MAX_NAMES_PER_REQUEST]
        query = select_graph(call) | {"entity_ids": chunk, "limit": MAX_NAMES_PER_REQUEST}
        found |= {entity.name: entity for entity in read_entities(call, list_all(call, query))}
    return found


def list_all(call: Call, query: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every memory that matches: without a default user, entities of users are among them."""
    page = fetch_memories(call, query)
    memories = page["results"]
    while page["next"]:
        page = fetch_memories(call, query | {"cursor": page["next"]})
        memories += page["results"]
    return memories


def fetch_memories(call: Call, query: dict[str, Any]) -> dict[str, Any]:
    return call.api.call("GET", "list_memories", query=query)


def select_graph(call: Call) -> dict[str, Any]:
    return {"entity_system": SYSTEM, "user_id": call.subject.user}


def read_entities(call: Call, memories: list[dict[str, Any]]) -> list[Entity]:
    """Without a default user the graph belongs to no user: entities of users have the same names."""
    mine = [memory for memory in memories if memory["user_id"] == call.subject.user]
    return [read_entity(memory) for memory in mine]


def read_entity(memory: dict[str, Any]) -> Entity:
    described = memory["entity"]
    observations = (memory["data"] or {}).get("observations")
    observations = [str(each) for each in observations] if isinstance(observations, list) else []
    return Entity(memory["id"], described["id"], described["type"] or "", observations)


def build_memory(call: Call, name: str, kind: str, observations: list[str]) -> dict[str, Any]:
    return {
        "content": write_content(name, kind, observations),
        "data": {"observations": observations},
        "entity": {"system": SYSTEM, "id": name, "type": kind, "name": name},
        "memory_type": MEMORY_TYPE,
        "source_system": SYSTEM,
        "user_id": call.subject.user,
        "repo_id": call.subject.project,
    }


def write_content(name: str, kind: str, observations: list[str]) -> str:
    return "\n".join([f"{name} ({kind})", *observations])


def store_entities(call: Call, entities: list[tuple[str, str, list[str]]]) -> None:
    memories = [build_memory(call, *entity) for entity in entities]
    if memories:
        call.api.call("POST", "add_memories", {"memories": memories})


def change_observations(call: Call, entity: Entity, observations: list[str]) -> None:
    changes = {
        "content": write_content(entity.name, entity.kind, observations),
        "data": {"observations": observations},
    }
    call.api.call("PATCH", "update_memory", changes, memory_id=entity.id)


def list_links(
    call: Call, entity: Entity, limit: int, others: list[str] | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Return the newest relationships of an entity that are relations, in both directions, and whether these are all.

    `limit`: how many are enough. `others`: ids of entities, at most 100, and only relations with these are meant.
    """
    links: list[dict[str, Any]] = []
    query = {"type": RELATIONSHIP_TYPE, "with_ids": others, "limit": MAX_PAGE}
    for _ in range(MAX_PAGES):
        page = call.api.call("GET", "list_relationships", query=query, memory_id=entity.id)
        links += [link for link in page["results"] if list_kinds(link)]
        query["cursor"] = page["next"]
        if page["next"] is None or len(links) >= limit:
            break
    return links, page["next"] is None


def list_kinds(link: dict[str, Any]) -> list[str]:
    kinds = link["metadata"].get("relation_types")
    return [str(kind) for kind in kinds] if isinstance(kinds, list) else []


def find_link(call: Call, source: Entity, target: Entity) -> dict[str, Any] | None:
    links, _ = list_links(call, source, 2, [target.id])
    return next((link for link in links if link["from_id"] == source.id), None)


def store_kinds(call: Call, source: Entity, target: Entity, kinds: list[str]) -> None:
    body = {"to_id": target.id, "type": RELATIONSHIP_TYPE, "metadata": {"relation_types": kinds}}
    call.api.call("POST", "add_relationship", body, memory_id=source.id)


def delete_link(call: Call, link: dict[str, Any]) -> None:
    call.api.call("DELETE", "delete_relationship", relationship_id=link["id"])


def list_relations(call: Call, entities: list[Entity], limit: int, *, between: bool) -> tuple[list[Relation], bool]:
    """Return relations of entities, and whether these are all; with `between`, only those that join two of them.

    `limit`: how many are enough. The entities of a graph may have any number.
    """
    names = {entity.id: entity.name for entity in entities}
    links, is_whole = collect_links(call, entities, limit, sorted(names) if between else None)
    others = {end for link in links.values() for end in (link["from_id"], link["to_id"])} - names.keys()
    if others:
        names |= fetch_names(call, sorted(others))
    return read_relations(names, links.values()), is_whole


def collect_links(
    call: Call, entities: list[Entity], limit: int, others: list[str] | None
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return the links of entities by id, until there are enough, and whether these are all."""
    links: dict[str, dict[str, Any]] = {}
    is_whole = True
    for entity in entities:
        if len(links) >= limit:
            return links, False
        found, is_last = list_links(call, entity, limit - len(links), others)
        links |= {link["id"]: link for link in found}
        is_whole &= is_last
    return links, is_whole


def read_relations(names: dict[str, str], links: Iterable[dict[str, Any]]) -> list[Relation]:
    """Return the relations of links whose ends both have a name, in order."""
    return sorted(
        Relation(names[link["from_id"]], names[link["to_id"]], kind)
        for link in links
        if link["from_id"] in names and link["to_id"] in names
        for kind in list_kinds(link)
    )


def fetch_names(call: Call, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(ids), MAX_NAMES_PER_REQUEST):
        query = select_graph(call) | {"ids": ids[start : start + MAX_NAMES_PER_REQUEST], "limit": 100}
        found |= {entity.id: entity.name for entity in read_entities(call, fetch_memories(call, query)["results"])}
    return found


def delete_entity(call: Call, entity: Entity) -> None:
    try:
        call.api.call("DELETE", "delete_memory", memory_id=entity.id)
    except Refused as refused:
        if refused.status != 404:
            raise
