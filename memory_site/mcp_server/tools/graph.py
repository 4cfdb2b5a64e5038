"""The tools of /mcp/graph: the nine of the reference memory server, with its names, arguments and results."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from memory_site.mcp_server.answers import Answer, estimate_tokens, fence, indent
from memory_site.mcp_server.arguments import Arguments, MaxTokens, Strings, read_list
from memory_site.mcp_server.faults import ToolFault
from memory_site.mcp_server.tools import graph_store as store
from memory_site.mcp_server.tools.graph_store import Entity, Relation, changing_graph
from memory_site.mcp_server.tools.tool import Call, build_toolbox, tool

PAGE_LIMIT = 50
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="ignore")


class EntityIn(Named):
    name: Name
    entity_type: Name = Field(alias="entityType")
    observations: Strings = []


class RelationIn(Named):
    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    relation_type: Name = Field(alias="relationType")


class ObservationsIn(Named):
    entity_name: Name = Field(alias="entityName")
    contents: Strings


class DeletionIn(Named):
    entity_name: Name = Field(alias="entityName")
    observations: Strings


def bounded(kind: Any, description: str) -> Any:
    """Return the type of a list of at most 100 things, which may come as JSON text."""
    return Annotated[
        list[kind], Field(min_length=1, max_length=100, description=description), BeforeValidator(read_list)
    ]


class CreateEntities(Arguments):
    entities: bounded(EntityIn, "What to know, each under a name of its own.")  # type: ignore[valid-type]


class Relations(Arguments):
    relations: bounded(RelationIn, "In active voice: from, relationType, to.")  # type: ignore[valid-type]


class AddObservations(Arguments):
    observations: bounded(ObservationsIn, "What to add to entities that are known.")  # type: ignore[valid-type]


class DeleteEntities(Arguments):
    entity_names: bounded(Name, "Names of entities.") = Field(alias="entityNames")  # type: ignore[valid-type]


class DeleteObservations(Arguments):
    deletions: bounded(DeletionIn, "Observations, word by word.")  # type: ignore[valid-type]


class ReadGraph(Arguments):
    cursor: str | None = Field(default=None, description="`nextCursor` of the page before.")
    max_tokens: MaxTokens = 4000


class SearchNodes(Arguments):
    query: str = Field(description="What to look for in names, types and observations: by words and by meaning.")
    max_tokens: MaxTokens = 4000


class OpenNodes(Arguments):
    names: bounded(Name, "Names of entities.")  # type: ignore[valid-type]
    max_tokens: MaxTokens = 4000


class EntityOut(BaseModel):
    name: str
    entity_type: str = Field(alias="entityType")
    observations: list[str]


class RelationOut(BaseModel):
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    relation_type: str = Field(alias="relationType")


class Noted(BaseModel):
    notes: list[str] = []


class Created(Noted):
    entities: list[EntityOut] = Field(description="Those that are new.")


class Related(Noted):
    relations: list[RelationOut] = Field(description="Those that are new.")


class AddedOut(BaseModel):
    entity_name: str = Field(alias="entityName")
    added_observations: list[str] = Field(alias="addedObservations")


class Added(Noted):
    results: list[AddedOut]


class Deleted(Noted):
    success: bool
    message: str


class Graph(Noted):
    entities: list[EntityOut]
    relations: list[RelationOut]
    next_cursor: str | None = Field(default=None, alias="nextCursor", description="The `cursor` of the following page.")


def entity_out(name: str, kind: str, observations: list[str]) -> dict[str, Any]:
    return {"name": name, "entityType": kind, "observations": observations}


def relation_out(relation: Relation) -> dict[str, Any]:
    return {"from": relation.source, "to": relation.target, "relationType": relation.kind}


def unique(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


@tool("Create entities", CreateEntities, Created, writes=True)
def create_entities(call: Call, given: CreateEntities) -> Answer:
    """Use to store people, projects, events and other things under names of their own, with what is known of them. A
    name that is known already is left as it is: add_observations adds to it."""
    with changing_graph(call):
        known = store.find_entities(call, [entity.name for entity in given.entities])
        new = {each.name: each for each in reversed(given.entities) if each.name not in known}
        created = [(each.name, each.entity_type, unique(each.observations)) for each in reversed(new.values())]
        store.store_entities(call, created)
    made = [entity_out(*each) for each in created]
    return Answer(f"Created {len(made)} of {len(given.entities)} entities.", {"entities": made})


@tool("Create relations", Relations, Related, writes=True)
def create_relations(call: Call, given: Relations) -> Answer:
    """Use to store how two entities are related, in active voice: Ada works_at Harbour. Both must be known. Relations
    that are known already are left as they are."""
    with changing_graph(call):
        entities = require_entities(call, [name for each in given.relations for name in (each.source, each.target)])
        created = [each for each in unique(read_relations(given)) if add_relation(call, entities, each)]
    made = [relation_out(each) for each in created]
    return Answer(f"Created {len(made)} of {len(given.relations)} relations.", {"relations": made})


def read_relations(given: Relations) -> list[Relation]:
    return [Relation(each.source, each.target, each.relation_type) for each in given.relations]


def require_entities(call: Call, names: list[str]) -> dict[str, Entity]:
    """Return entities by name. Raises ToolFault that names those that are not known."""
    entities = store.find_entities(call, names)
    if unknown := [name for name in unique(names) if name not in entities]:
        raise ToolFault(f"There is no entity named {', '.join(unknown[:10])}: create_entities comes first.")
    return entities


def add_relation(call: Call, entities: dict[str, Entity], relation: Relation) -> bool:
    """Return whether the relation is new. Raises ToolFault for one of an entity to itself."""
    source, target = entities[relation.source], entities[relation.target]
    if source.id == target.id:
        raise ToolFault(f"{relation.source} cannot be related to itself.")
    link = store.find_link(call, source, target)
    kinds = store.list_kinds(link) if link else []
    if relation.kind in kinds:
        return False
    store.store_kinds(call, source, target, [*kinds, relation.kind])
    return True


@tool("Add observations", AddObservations, Added, writes=True)
def add_observations(call: Call, given: AddObservations) -> Answer:
    """Use to add facts to entities that are known; one fact each. Those that are known already are left out."""
    with changing_graph(call):
        entities = require_entities(call, [each.entity_name for each in given.observations])
        results = [add_to_entity(call, entities, each.entity_name, each.contents) for each in given.observations]
    count = sum(len(each["addedObservations"]) for each in results)
    return Answer(f"Added {count} observations.", {"results": results})


def add_to_entity(call: Call, entities: dict[str, Entity], name: str, contents: list[str]) -> dict[str, Any]:
    entity = entities[name]
    added = [each for each in unique(contents) if each not in entity.observations]
    if added:
        entities[name] = entity._replace(observations=[*entity.observations, *added])
        store.change_observations(call, entity, entities[name].observations)
    return {"entityName": name, "addedObservations": added}


@tool("Delete entities", DeleteEntities, Deleted, writes=True, destroys=True)
def delete_entities(call: Call, given: DeleteEntities) -> Answer:
    """Use only when the user asks for it: deletes entities with their observations and relations. Unknown names are
    passed over."""
    with changing_graph(call):
        for entity in store.find_entities(call, given.entity_names).values():
            store.delete_entity(call, entity)
    return confirm("Entities deleted successfully")


@tool("Delete observations", DeleteObservations, Deleted, writes=True, destroys=True)
def delete_observations(call: Call, given: DeleteObservations) -> Answer:
    """Use only when the user asks for it, or an observation is wrong: deletes observations, word by word as they are.
    What is not there is passed over."""
    with changing_graph(call):
        entities = store.find_entities(call, [each.entity_name for each in given.deletions])
        for each in given.deletions:
            if entity := entities.get(each.entity_name):
                kept = [text for text in entity.observations if text not in each.observations]
                if kept != entity.observations:
                    store.change_observations(call, entity, kept)
                    entities[entity.name] = entity._replace(observations=kept)
    return confirm("Observations deleted successfully")


@tool("Delete relations", Relations, Deleted, writes=True, destroys=True)
def delete_relations(call: Call, given: Relations) -> Answer:
    """Use only when the user asks for it, or a relation is wrong. What is not there is passed over."""
    with changing_graph(call):
        entities = store.find_entities(call, [name for each in given.relations for name in (each.source, each.target)])
        for relation in unique(read_relations(given)):
            if relation.source in entities and relation.target in entities:
                remove_relation(call, entities[relation.source], entities[relation.target], relation.kind)
    return confirm("Relations deleted successfully")


def remove_relation(call: Call, source: Entity, target: Entity, kind: str) -> None:
    link = store.find_link(call, source, target)
    if link is None or kind not in (kinds := store.list_kinds(link)):
        return
    if len(kinds) == 1:
        store.delete_link(call, link)
    else:
        store.store_kinds(call, source, target, [each for each in kinds if each != kind])


def confirm(message: str) -> Answer:
    return Answer(message, {"success": True, "message": message})


@tool("Read graph", ReadGraph, Graph)
def read_graph(call: Call, given: ReadGraph) -> Answer:
    """Use to look through the whole graph, newest entities first; for questions use search_nodes. It comes in pages:
    `nextCursor` continues, and the relations are those of the entities of a page."""
    query = store.select_graph(call) | {"limit": PAGE_LIMIT, "cursor": given.cursor}
    page = store.fetch_memories(call, query)
    entities = store.read_entities(call, page["results"])
    shown = take_entities(entities, given.max_tokens)
    if entities and len(shown) < len(entities):
        last = [each["id"] for each in page["results"]].index(shown[-1].id)
        page = store.fetch_memories(call, query | {"limit": last + 1})
    answer = describe_graph(call, shown, given.max_tokens, between=False)
    if page["next"]:
        answer.data["nextCursor"] = page["next"]
        answer.notes.append(f"This is a part of the graph: cursor {page['next']} goes on.")
    return answer


@tool("Search nodes", SearchNodes, Graph)
def search_nodes(call: Call, given: SearchNodes) -> Answer:
    """Use to find entities by what is known of them: returns the best ones and their relations."""
    body = {"query": given.query, "limit": PAGE_LIMIT, "filters": drop_empty(store.select_graph(call))}
    found = call.api.call("POST", "search_memories", body)
    entities = store.read_entities(call, [hit["memory"] for hit in found["results"]])
    return describe_part(call, entities, given.max_tokens, between=False)


@tool("Open nodes", OpenNodes, Graph)
def open_nodes(call: Call, given: OpenNodes) -> Answer:
    """Use to read entities by their names, with the relations between them. Unknown names are passed over."""
    found = store.find_entities(call, given.names)
    entities = [found[name] for name in unique(given.names) if name in found]
    return describe_part(call, entities, given.max_tokens, between=True)


def drop_empty(filters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def describe_part(call: Call, entities: list[Entity], max_tokens: int, *, between: bool) -> Answer:
    shown = take_entities(entities, max_tokens)
    answer = describe_graph(call, shown, max_tokens, between=between)
    if left_out := len(entities) - len(shown):
        answer.notes.append(f"{left_out} more entities did not fit into max_tokens={max_tokens}.")
    return answer


def take_entities(entities: list[Entity], max_tokens: int) -> list[Entity]:
    """Return the first entities whose texts take at most half of the tokens, and at least one."""
    left = max_tokens // 2
    shown: list[Entity] = []
    for entity in entities:
        left -= estimate_tokens(write_entity(entity)) + 20
        if left < 0 and shown:
            break
        shown.append(entity)
    return shown


def describe_graph(call: Call, entities: list[Entity], max_tokens: int, *, between: bool) -> Answer:
    """Return the entities and their relations as in the reference server: in structure, and as text."""
    limit = max(max_tokens // 40, 10)
    relations, is_whole = store.list_relations(call, entities, limit, between=between)
    kept = relations[:limit]
    data = {
        "entities": [entity_out(each.name, each.kind, each.observations) for each in entities],
        "relations": [relation_out(each) for each in kept],
    }
    lines = [write_entity(each) for each in entities] + [indent(f"- {' '.join(write_parts(each))}") for each in kept]
    answer = Answer(fence(lines) if lines else "The graph has no such entities.", data)
    if len(kept) < len(relations) or not is_whole:
        answer.notes.append(f"More relations did not fit into max_tokens={max_tokens}.")
    return answer


def write_entity(entity: Entity) -> str:
    return indent("\n".join([f"- {entity.name} ({entity.kind})", *(f"- {each}" for each in entity.observations)]))


def write_parts(relation: Relation) -> tuple[str, str, str]:
    return relation.source, relation.kind, relation.target


GRAPH_TOOLS = build_toolbox(
    *(create_entities, create_relations, add_observations, delete_entities, delete_observations, delete_relations),
    *(read_graph, search_nodes, open_nodes),
)
