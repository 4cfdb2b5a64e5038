"""What a user's world of ten thousand memories costs: loading, an entity told again, relationships, needles."""

import hashlib
from random import Random

from pgvector import HalfVector
from pydantic_core import to_json

from memories.add import ADD_ENTITY, CHANGED, WHOLE, add_one, draft
from memories.graph.models import Relationship
from memories.graph.traversal import RELATED, related
from memories.models import DueEmbedding, Memory
from memories.retrieval.retrieve import NONSENSE, Wanted, retrieve
from memories.schemas import EntityIn, MemoryIn
from memories.search.execute import COLUMNS as FOUND
from memories.search.execute import scope_of
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.statement import statement
from memories.users.snapshot import LOAD, user_memories
from memory_site.operations.demo_data import MEMORIES
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import EMBEDDING_COLUMNS, Synthetic, copy, word


def needle(node: Memory) -> str:
    return f"what was {node.content.partition(':')[0]} about?"


USER, NODES, HUBS, ENTITIES = "navigator", 10_000, 10, 100
STEPS, ENOUGH = 3, 100


def grow(namespace: Namespace, data: Synthetic, model: str) -> list[Memory]:
    """A user with ten thousand memories, a word of its own in each: a chain through all of them, and ten hubs of a
    thousand each."""
    choose, whose = Random(1), {"namespace": namespace, "user_id": USER, "source_system": "benchmark"}
    nodes = [Memory(**whose, content=f"{word(number)}: {choose.choice(MEMORIES)}") for number in range(NODES)]
    Memory.objects.bulk_create(nodes, batch_size=1_000)
    made = zip(nodes, data.vectors(NODES), strict=True)
    rows = ((m.pk, namespace.pk, USER, "agent", model, digest_of(m), HalfVector(vector)) for m, vector in made)
    copy("memories_embedding", EMBEDDING_COLUMNS, rows)
    DueEmbedding.objects.filter(memory__in=Memory.objects.filter(user_id=USER)).delete()
    ends = {(number, number + 1) for number in range(NODES - 1)} | {(n % HUBS, n) for n in range(HUBS, NODES)}
    between = {"namespace": namespace, "owner": USER, "type": "led_to"}
    links = [Relationship(**between, from_memory=nodes[a], to_memory=nodes[b], strength=0.5) for a, b in sorted(ends)]
    Relationship.objects.bulk_create(links, batch_size=1_000)
    return nodes


def digest_of(memory: Memory) -> bytes:
    return hashlib.sha256(memory.content.encode()).digest()


def operations_on_users(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    pk, nodes = namespace.pk, grow(namespace, data, model)
    vector, *nonsense = data.vectors(1 + len(NONSENSE))
    asked = [vector.tolist(), *map(HalfVector, nonsense)]

    def entity(number: int, arm: str) -> MemoryIn:
        told = {"entity_data": {"status": f"{arm} {number}", "field": number}}
        key = EntityIn(system="jira", id=f"OPS-{number % ENTITIES}")
        return MemoryIn(content=f"ticket {number % ENTITIES}", user_id=USER, entity=key, data=told, summary="a ticket")

    def start(number: int, arm: str) -> Memory:
        return nodes[(number * 7919) % NODES]

    def related_sql(node: Memory) -> Sql:
        return RELATED, {"namespace": pk, "start": node.pk, "farthest": STEPS, "enough": ENOUGH}

    def needle_sql(node: Memory) -> Sql:
        search = Search(needle(node), asked[0], model, 10)
        return statement(scope_of(pk, Filters(user_id=USER), model), search, FOUND, None)

    def find_needle(node: Memory) -> None:
        hits = retrieve(pk, Wanted(user_id=USER), needle(node), asked, model, [], 10)
        assert hits[0]["memory"]["id"] == node.pk

    return [
        Operation(
            "a needle among 10,000, beside a search",
            prepare=start,
            sql=needle_sql,
            service=find_needle,
            request=lambda node: ("POST", f"/users/{USER}/retrieve", {"query": needle(node), "limit": 10}),
        ),
        Operation(
            "load 1,000 memories of a user",
            prepare=lambda number, arm: None,
            sql=lambda _: (LOAD, {"namespace": pk, "user": USER}),
            service=lambda _: user_memories(pk, USER),
            request=lambda _: ("GET", f"/users/{USER}/memories", None),
        ),
        Operation(
            "tell an entity again",
            prepare=entity,
            sql=lambda told: (
                ADD_ENTITY + WHOLE + CHANGED,
                {"namespace": pk, "drafts": to_json([draft(told).columns]).decode()},
            ),
            service=lambda told: add_one(pk, told),
            request=lambda told: ("POST", "/memories", told.model_dump(mode="json", exclude_defaults=True)),
        ),
        Operation(
            "100 related in 3 steps, of 10,000",
            prepare=start,
            sql=related_sql,
            service=lambda node: related(pk, node.pk, STEPS, ENOUGH),
            request=lambda node: ("GET", f"/memories/{node.pk}/related?max_distance={STEPS}&limit={ENOUGH}", None),
        ),
    ]
