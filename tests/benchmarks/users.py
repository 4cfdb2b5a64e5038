"""Costs for a user with ten thousand memories: snapshot, repeated entity, relationships, retrieval."""

import hashlib
from random import Random

from pgvector import HalfVector
from pydantic_core import to_json

from memories.add import add_one
from memories.graph.models import Relationship
from memories.graph.traversal import SELECT_RELATED_SQL, find_related
from memories.models import DueEmbedding, Memory
from memories.retrieval.retrieve import RetrievalFilters, retrieve
from memories.schemas import EntityIn, MemoryIn
from memories.search.execute import HIT_COLUMNS as FOUND
from memories.search.execute import build_scope
from memories.search.filters import Filters
from memories.search.floor import Floor
from memories.search.query import Search
from memories.search.statement import build_statement
from memories.storage import UPSERT_ONE_SQL, make_draft
from memories.users.snapshot import SELECT_USER_SNAPSHOT_SQL, load_user_snapshot
from memory_site.operations.demo_data import MEMORIES
from sessions_app.models import Namespace
from tests.benchmarks.arms import Operation, Sql
from tests.benchmarks.data import EMBEDDING_COLUMNS, Synthetic, build_word, copy_rows


def build_query(node: Memory) -> str:
    return f"what was {node.content.partition(':')[0]} about?"


USER, NODES, HUBS, ENTITIES = "navigator", 10_000, 10, 100
MAX_STEPS, MIN_RESULTS = 3, 100


def create_user_graph(namespace: Namespace, data: Synthetic, model: str) -> list[Memory]:
    """A user with ten thousand memories, a word of its own in each: a chain through all of them, and ten hubs of a
    thousand each."""
    choose, whose = Random(1), {"namespace": namespace, "user_id": USER, "source_system": "benchmark"}
    nodes = [Memory(**whose, content=f"{build_word(number)}: {choose.choice(MEMORIES)}") for number in range(NODES)]
    Memory.objects.bulk_create(nodes, batch_size=1_000)
    made = zip(nodes, data.vectors(NODES), strict=True)
    rows = ((m.pk, namespace.pk, USER, "agent", model, compute_digest(m), HalfVector(vector)) for m, vector in made)
    copy_rows("memories_embedding", EMBEDDING_COLUMNS, rows)
    DueEmbedding.objects.filter(memory__in=Memory.objects.filter(user_id=USER)).delete()
    ends = {(number, number + 1) for number in range(NODES - 1)} | {(n % HUBS, n) for n in range(HUBS, NODES)}
    between = {"namespace": namespace, "owner": USER, "type": "led_to"}
    links = [Relationship(**between, from_memory=nodes[a], to_memory=nodes[b], strength=0.5) for a, b in sorted(ends)]
    Relationship.objects.bulk_create(links, batch_size=1_000)
    return nodes


def compute_digest(memory: Memory) -> bytes:
    return hashlib.sha256(memory.content.encode()).digest()


def build_user_operations(namespace: Namespace, data: Synthetic, model: str) -> list[Operation]:
    pk, nodes = namespace.pk, create_user_graph(namespace, data, model)
    vector, *nonsense = data.vectors(17)
    asked, floor = vector.tolist(), Floor(0.25, [HalfVector(each) for each in nonsense])

    def entity(number: int, arm: str) -> MemoryIn:
        data = {"entity_data": {"status": f"{arm} {number}", "field": number}}
        key = EntityIn(system="jira", id=f"OPS-{number % ENTITIES}")
        return MemoryIn(content=f"ticket {number % ENTITIES}", user_id=USER, entity=key, data=data, summary="a ticket")

    def start(number: int, arm: str) -> Memory:
        return nodes[(number * 7919) % NODES]

    def related_sql(node: Memory) -> Sql:
        return SELECT_RELATED_SQL, {"namespace": pk, "start": node.pk, "max_distance": MAX_STEPS, "limit": MIN_RESULTS}

    def needle_sql(node: Memory) -> Sql:
        search = Search(build_query(node), asked, model, 10)
        return build_statement(build_scope(pk, Filters(user_id=USER), model), search, FOUND, None)

    def find_needle(node: Memory) -> None:
        hits = retrieve(pk, RetrievalFilters(user_id=USER), build_query(node), asked, floor, model, [], 10)
        assert hits[0]["memory"]["id"] == node.pk

    return [
        Operation(
            "a needle among 10,000, beside a search",
            prepare=start,
            sql=needle_sql,
            service=find_needle,
            request=lambda node: ("POST", f"/users/{USER}/retrieve", {"query": build_query(node), "limit": 10}),
        ),
        Operation(
            "load 1,000 memories of a user",
            prepare=lambda number, arm: None,
            sql=lambda _: (SELECT_USER_SNAPSHOT_SQL, {"namespace": pk, "user": USER}),
            service=lambda _: load_user_snapshot(pk, USER),
            request=lambda _: ("GET", f"/users/{USER}/memories", None),
        ),
        Operation(
            "tell an entity again",
            prepare=entity,
            sql=lambda memory: (
                UPSERT_ONE_SQL["entity"],
                {"namespace": pk, "drafts": to_json([make_draft(memory).columns]).decode()},
            ),
            service=lambda memory: add_one(pk, memory),
            request=lambda memory: ("POST", "/memories", memory.model_dump(mode="json", exclude_defaults=True)),
        ),
        Operation(
            "100 related in 3 steps, of 10,000",
            prepare=start,
            sql=related_sql,
            service=lambda node: find_related(pk, node.pk, MAX_STEPS, MIN_RESULTS),
            request=lambda node: (
                "GET",
                f"/memories/{node.pk}/related?max_distance={MAX_STEPS}&limit={MIN_RESULTS}",
                None,
            ),
        ),
    ]
