"""The vector store for LlamaIndex, beside its own simple one where both do the same, and in an index."""

import math
import random
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from memory_client import InvalidInput, MemoryClient
from memory_client.llamaindex import MemorySiteVectorStore
from tests.adapters.conftest import Site
from tests.adapters.examples import run_example

CITIES: dict[str, dict[str, Any]] = {
    "lowick": {"weight": 1, "rank": "a", "quality": ["medium", "high"], "code": "6FX-a", "river": "Low"},
    "hatfield": {"weight": 2.0, "rank": "c", "quality": ["medium"], "code": "6FX-b"},
    "ongar": {"weight": 3, "rank": "c", "quality": ["low", "medium", "high"], "code": "7TT", "nested": {"a": 1}},
    "epping": {"rank": "", "quality": [], "river": None},
}


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[MemoryClient]:
    with MemoryClient(site.url, site.create_key("llamaindex")) as client:
        yield client


def build_store(client: MemoryClient, **fields) -> MemorySiteVectorStore:
    return MemorySiteVectorStore(client, **{"collection": uuid4().hex, **fields})


@pytest.fixture
def store(client: MemoryClient) -> MemorySiteVectorStore:
    """A store of a collection that no other test uses."""
    return build_store(client)


def build_city(name: str, **fields) -> TextNode:
    source = RelatedNodeInfo(node_id=f"map-{CITIES[name]['rank']}")
    return TextNode(
        id_=name,
        text=f"A town called {name}",
        metadata=CITIES[name],
        relationships={NodeRelationship.SOURCE: source},
        embedding=[1.0, 0.0],
        **fields,
    )


@pytest.fixture(scope="module")
def cities(client: MemoryClient) -> MemorySiteVectorStore:
    """A store that no test changes."""
    store = build_store(client)
    store.add([build_city(name) for name in CITIES])
    return store


@pytest.fixture(scope="module")
def simple() -> SimpleVectorStore:
    store = SimpleVectorStore()
    store.add([build_city(name) for name in CITIES])
    return store


def list_found(store, **query) -> list[str]:
    """Return the ids that a query finds. The simple store needs the embedding, ours the text."""
    result = store.query(
        VectorStoreQuery(query_str="a town", query_embedding=[1.0, 0.0], **{"similarity_top_k": 10, **query})
    )
    return sorted(result.ids)


def where(key: str, operator: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def join(condition: str, *filters: MetadataFilter | MetadataFilters) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=FilterCondition(condition))


# Filters

PLAIN_FILTERS = [
    where("rank", "==", "c"),
    where("rank", "==", ""),
    where("weight", "==", 2),
    where("weight", "==", 2.0),
    where("weight", "==", "2"),
    where("quality", "==", "medium"),
    where("nowhere", "==", "c"),
    where("rank", "!=", "c"),
    where("weight", "!=", 1.0),
    where("river", "!=", "Low"),
    where("rank", "in", ["a", "c", "z"]),
    where("weight", "in", [1, 3]),
    where("rank", "in", []),
    where("rank", "nin", ["c"]),
    where("river", "nin", ["Low", "High"]),
    where("rank", "nin", []),
    where("quality", "contains", "high"),
    where("quality", "any", ["high", "low"]),
    where("quality", "all", ["medium", "high"]),
    where("doc_id", "==", "map-c"),
    where("ref_doc_id", "in", ["map-a", "map-"]),
]


@pytest.mark.parametrize("condition", ["and", "or", "not"])
@pytest.mark.parametrize("each", PLAIN_FILTERS, ids=lambda each: f"{each.key} {each.operator.value} {each.value}")
def test_a_filter_finds_what_the_simple_store_finds(cities, simple, each, condition):
    filters = join(condition, each)
    assert list_found(cities, filters=filters) == list_found(simple, filters=filters)


@pytest.mark.parametrize(
    "filters",
    [
        join("and", where("rank", "==", "c"), where("weight", "==", 3)),
        join("and", where("rank", "==", "c"), where("rank", "==", "a")),
        join("and", where("quality", "contains", "low"), where("quality", "contains", "high")),
        join("and", where("quality", "any", ["low", "high"]), where("weight", "in", [1, 2]), where("rank", "!=", "c")),
        join("or", where("rank", "==", "a"), where("weight", "==", 3)),
        join("or", where("rank", "!=", "a"), where("weight", "!=", 3)),
        join("or", where("rank", "!=", "c"), where("weight", "nin", [1, 3])),
        join("not", where("rank", "==", "a"), where("weight", "in", [2, 3])),
        join("not", where("rank", "!=", "c"), where("weight", "!=", 3)),
        join("and"),
    ],
    ids=str,
)
def test_several_filters_find_what_the_simple_store_finds(cities, simple, filters):
    assert list_found(cities, filters=filters) == list_found(simple, filters=filters)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (
            join("and", where("rank", "!=", ""), join("or", where("weight", "==", 1), where("code", "==", "7TT"))),
            ["lowick", "ongar"],
        ),
        (
            join(
                "or", where("weight", "==", 1), join("and", where("rank", "==", "c"), where("quality", "any", ["low"]))
            ),
            ["lowick", "ongar"],
        ),
        (join("not", join("or", where("rank", "==", "c"), where("rank", "==", "a"))), ["epping"]),
        (join("not", join("not", where("rank", "==", "c"))), ["hatfield", "ongar"]),
    ],
    ids=str,
)
def test_filters_are_nested(cities, filters, expected):
    assert list_found(cities, filters=filters) == sorted(expected)


def matches(metadata: dict[str, Any], filters: MetadataFilters | MetadataFilter) -> bool:
    """What the filters mean, said once more."""
    if isinstance(filters, MetadataFilters):
        each = [matches(metadata, inner) for inner in filters.filters]
        by_condition = {
            FilterCondition.AND: all(each),
            FilterCondition.OR: any(each),
            FilterCondition.NOT: not any(each),
        }
        return by_condition[filters.condition]
    value, wanted = metadata.get(filters.key), filters.value
    inside = value if isinstance(value, list) else []
    return {
        "==": value is not None and value == wanted,
        "!=": value != wanted,
        "in": value is not None and isinstance(wanted, list) and value in wanted,
        "nin": value is None or (isinstance(wanted, list) and value not in wanted),
        "contains": wanted in inside,
        "any": isinstance(wanted, list) and any(item in inside for item in wanted),
        "all": isinstance(wanted, list) and all(item in inside for item in wanted),
    }[filters.operator.value]


VALUES = {"rank": ["a", "c", ""], "weight": [1, 2, 3], "quality": ["low", "medium", "high"], "river": ["Low"]}


def build_random_filters(chance: random.Random, depth: int = 0) -> MetadataFilters:
    def choose() -> MetadataFilter | MetadataFilters:
        if depth < 2 and chance.random() < 0.3:
            return build_random_filters(chance, depth + 1)
        key = chance.choice(list(VALUES))
        operator = chance.choice(["contains", "any", "all"] if key == "quality" else ["==", "!=", "in", "nin"])
        some = chance.sample(VALUES[key], chance.randint(1, len(VALUES[key])))
        return where(key, operator, some if operator in ("in", "nin", "any", "all") else some[0])

    return join(chance.choice(["and", "or", "not"]), *(choose() for _ in range(chance.randint(1, 3))))


def test_random_trees_of_filters_are_answered_exactly_or_refused(cities):
    chance = random.Random(7)
    answered = refused = 0
    for _ in range(150):
        filters = build_random_filters(chance)
        expected = sorted(name for name, metadata in CITIES.items() if matches(metadata, filters))
        try:
            assert sorted(node.node_id for node in cities.get_nodes(filters=filters)) == expected, filters
            answered += 1
        except ValueError as error:
            assert "exclusion" in str(error)
            refused += 1
    assert answered > 60
    assert refused > 0


REFUSED_FILTERS = [
    where("weight", ">", 1),
    where("weight", "<", 2.5),
    where("weight", ">=", 1),
    where("weight", "<=", 1),
    where("code", "text_match", "6FX"),
    where("code", "text_match_insensitive", "6fx"),
    where("river", "is_empty", None),
    where("river", "==", None),
    where("quality", "==", ["medium"]),
    where("rank", "in", "abc"),
    where("quality", "contains", ["low"]),
    where("quality", "all", []),
    where("llamaindex", "!=", "rivers"),
]


@pytest.mark.parametrize("each", REFUSED_FILTERS, ids=lambda each: f"{each.key} {each.operator.value} {each.value}")
@pytest.mark.parametrize("nested", [False, True])
def test_a_filter_that_cannot_be_answered_is_refused_by_name(client, each, nested):
    store = build_store(client)
    store.add([build_city("lowick")])
    filters = join("and", join("or", each, where("rank", "==", "a"))) if nested else join("and", each)
    for use in (
        lambda: list_found(store, filters=filters),
        lambda: store.get_nodes(filters=filters),
        lambda: store.delete_nodes(filters=filters),
    ):
        with pytest.raises(ValueError, match=f"{each.key} {each.operator.value}"):
            use()
    assert list_found(store) == ["lowick"]


def test_an_exclusion_in_an_or_is_refused(cities):
    filters = join("or", where("rank", "!=", "a"), where("weight", "==", 1))
    with pytest.raises(ValueError, match="or"):
        list_found(cities, filters=filters)


def test_too_many_combinations_are_refused(cities):
    many = [where(key, "in", [f"{key}{number}" for number in range(30)]) for key in ("a", "b", "c", "d")]
    with pytest.raises(ValueError, match="combinations|alternatives"):
        list_found(cities, filters=join("and", *many))


def test_ids_of_nodes_and_documents_restrict_a_query(cities):
    assert list_found(cities, node_ids=["ongar", "epping", "unknown"]) == ["epping", "ongar"]
    assert list_found(cities, doc_ids=["map-c"]) == ["hatfield", "ongar"]
    assert list_found(cities, doc_ids=["map-c", "map-a"], node_ids=["ongar", "lowick"]) == ["lowick", "ongar"]
    assert list_found(cities, doc_ids=["map-c"], filters=join("and", where("weight", "==", 3))) == ["ongar"]
    assert list_found(cities, node_ids=[]) == sorted(CITIES)  # as an index gives them that keeps no nodes itself
    for nothing in ({"doc_ids": []}, {"doc_ids": ["map-z"]}, {"similarity_top_k": 0}):
        assert list_found(cities, **nothing) == []


# Nodes

NODES = [
    TextNode(id_="plain", text="A lighthouse."),
    TextNode(
        id_="everything",
        text="  Ein Leuchtturm 灯台 \U0001f5fc\n\n\twith spaces ",
        metadata={"list": [1, 2.5, "x"], "deep": {"a": {"b": None}}, "yes": True, "text": "ä", "llamaindex": "mine"},
        excluded_embed_metadata_keys=["list"],
        excluded_llm_metadata_keys=["deep"],
        metadata_separator=" | ",
        metadata_template="{key} = {value}",
        text_template="{metadata_str} {content}",
        start_char_idx=3,
        end_char_idx=40,
        mimetype="text/markdown",
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", metadata={"page": 1}, hash="h"),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="plain"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
        },
    ),
    IndexNode(id_="index", text="Points to others.", index_id="plain"),
    ImageNode(id_="image", text="A picture of a lighthouse.", image_url="http://example.com/a.png"),
    Node(id_="node", text_resource=MediaResource(text="Of several media."), metadata={"a": 1}),
    TextNode(id_="sp ace/slash#?%2F\u00e9", text="An odd id."),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.class_name() + len(node.node_id) * "_")
def test_a_node_comes_back_as_it_was_given(store, node):
    assert store.add([node]) == [node.node_id]
    [stored] = store.get_nodes([node.node_id])
    assert (type(stored), stored.to_dict()) == (type(node), node.to_dict())
    assert stored.ref_doc_id == node.ref_doc_id
    [found] = store.query(VectorStoreQuery(query_str="lighthouse", similarity_top_k=1)).nodes
    assert found.to_dict() == node.to_dict()


def test_the_words_of_nodes_are_their_text_alone(store):
    """What else there is of a node is not searched: names of fields, ids and hashes."""
    store.add([build_city("lowick")])
    for word in ("TextNode", "lowick", "SOURCE", "6FX-a"):
        found = store.query(VectorStoreQuery(query_str=word, mode=VectorStoreQueryMode.TEXT_SEARCH, similarity_top_k=5))
        assert found.ids == (["lowick"] if word == "lowick" else [])


def test_a_node_replaces_the_one_with_its_id(store):
    store.add([TextNode(id_="a", text="The lighthouse is red."), TextNode(id_="b", text="The lighthouse is red.")])
    store.add([TextNode(id_="a", text="The lighthouse is blue.", metadata={"new": 1})])
    assert {node.node_id: (node.text, node.metadata) for node in store.get_nodes()} == {
        "a": ("The lighthouse is blue.", {"new": 1}),
        "b": ("The lighthouse is red.", {}),
    }


def test_of_one_id_twice_the_last_counts(store):
    assert store.add([TextNode(id_="a", text="first"), TextNode(id_="a", text="second")]) == ["a", "a"]
    assert [node.text for node in store.get_nodes()] == ["second"]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_node_without_text_is_refused_and_named(store, text):
    with pytest.raises(ValueError, match="'empty'"):
        store.add([TextNode(id_="full", text="a"), TextNode(id_="empty", text=text)])
    assert store.get_nodes() == []


def test_metadata_that_would_not_come_back_are_refused_by_name(store):
    with pytest.raises(ValueError, match=r"'one': metadata\.at: date"):
        store.add([TextNode(id_="one", text="a", metadata={"at": date(2026, 1, 1)})])
    assert store.get_nodes() == []


def test_what_the_server_cannot_store_is_named(store):
    with pytest.raises(InvalidInput) as error:
        store.add([TextNode(text="a"), TextNode(text="b" * 100_001)])
    assert error.value.field == "memories.1.content"
    assert store.get_nodes() == []


def test_more_nodes_than_a_request_takes(client):
    store = build_store(client, wait=False)
    nodes = [
        TextNode(id_=f"{number}", text=f"number {number}", metadata={"odd": number % 2}) for number in range(1_010)
    ]
    store.add(nodes)
    assert {node.node_id for node in store.get_nodes()} == {node.node_id for node in nodes}
    some = [f"{number}" for number in range(900, 1_100)]
    assert [node.node_id for node in store.get_nodes(some)] == some[:110]
    store.delete_nodes([node.node_id for node in nodes], join("and", where("odd", "==", 1)))
    assert {node.metadata["odd"] for node in store.get_nodes()} == {0}
    store.clear()
    assert store.get_nodes() == []


def test_nodes_are_listed_in_the_order_of_ids_or_of_time(cities):
    assert [node.node_id for node in cities.get_nodes(["ongar", "unknown", "lowick"])] == ["ongar", "lowick"]
    assert sorted(node.node_id for node in cities.get_nodes()) == sorted(CITIES)
    assert cities.get_nodes([]) == []


# Deleting


def test_deleting_a_document_deletes_its_nodes(store):
    store.add([build_city(name) for name in CITIES])
    for document in ("map-c", "map-unknown", "map"):
        store.delete(document)
    assert list_found(store) == ["epping", "lowick"]


def test_deleting_nodes_by_id_and_filter(store):
    store.add([build_city(name) for name in CITIES])
    for nothing in ((), ([],), (["unknown"],), (None, join("and")), ([], join("and", where("rank", "==", "c")))):
        store.delete_nodes(*nothing)
        assert list_found(store) == sorted(CITIES)
    store.delete_nodes(["lowick", "ongar"], join("and", where("rank", "==", "c")))
    assert list_found(store) == ["epping", "hatfield", "lowick"]
    store.delete_nodes(["lowick"])
    store.delete_nodes(filters=join("or", where("rank", "in", ["c", "z"])))
    assert list_found(store) == ["epping"]


def test_collections_and_users_are_apart(client):
    name = uuid4().hex
    stores = [
        build_store(client, collection=name),
        build_store(client, collection=f"{name}/x"),
        build_store(client, collection=name, user_id="ada"),
        build_store(client, collection=name, user_id="ben"),
    ]
    for store in stores:
        store.add([TextNode(id_="a", text=f"{store.collection} {store.user_id}")])
    for store in stores:
        [node] = store.query(VectorStoreQuery(query_str="a", similarity_top_k=5)).nodes
        assert node.text == f"{store.collection} {store.user_id}"
    stores[0].clear()
    stores[2].delete_nodes(["a"])
    assert [len(store.get_nodes()) for store in stores] == [0, 1, 0, 1]


# Queries


def ask(store: MemorySiteVectorStore, text: str, mode: str = "default", **query):
    return store.query(
        VectorStoreQuery(query_str=text, mode=VectorStoreQueryMode(mode), **{"similarity_top_k": 3, **query})
    )


@pytest.fixture(scope="module")
def facts(client: MemoryClient) -> MemorySiteVectorStore:
    store = build_store(client)
    store.add(
        [
            TextNode(id_="daughter", text="My daughter was born in May."),
            TextNode(id_="printer", text="The printer needs new toner."),
            TextNode(id_="train", text="The train to Lowick leaves at nine."),
        ]
    )
    return store


def test_the_default_mode_finds_by_meaning_with_cosines(facts):
    result = ask(facts, "When is the birthday of your child?")
    assert result.ids[0] == "daughter"
    assert len(result.ids) == len(result.nodes) == 3
    assert result.similarities == sorted(result.similarities, reverse=True)
    assert all(-1 <= each <= 1 for each in result.similarities)
    assert ask(facts, "My daughter was born in May.").similarities[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("mode", ["text_search", "sparse"])
def test_a_search_by_words_finds_only_those(facts, mode):
    assert ask(facts, "toner for my child", mode).ids == ["printer"]
    assert ask(facts, "birthday", mode).ids == []


def test_a_hybrid_search_finds_by_both(facts):
    result = ask(facts, "When is the birthday of your child, and the train to Lowick?", "hybrid")
    assert set(result.ids[:2]) == {"daughter", "train"}
    assert all(0 <= each <= 1 for each in result.similarities)
    assert len(ask(facts, "train", "hybrid", similarity_top_k=3, hybrid_top_k=1).ids) == 1


def test_nothing_in_a_question_is_an_operator(facts):
    assert ask(facts, 'toner "of the kind" -printer', "text_search").ids == ["printer"]


@pytest.mark.parametrize("mode", ["mmr", "semantic_hybrid", "svm", "logistic_regression", "linear_regression"])
def test_other_modes_are_refused_by_name(facts, mode):
    with pytest.raises(ValueError, match=f"mode: {mode} "):
        ask(facts, "toner", mode)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"alpha": 0.5}, "alpha"),
        ({"embedding_field": "other"}, "embedding_field"),
        ({"query_str": None}, "query_str"),
        ({"query_str": "\n "}, "query_str"),
    ],
)
@pytest.mark.parametrize("mode", ["default", "hybrid", "text_search"])
def test_what_a_query_cannot_have_is_refused_by_name(facts, query, name, mode):
    given = {"query_str": "toner", "query_embedding": [0.1] * 768, "mode": VectorStoreQueryMode(mode)} | query
    with pytest.raises(ValueError, match=f"^{name}: "):
        facts.query(VectorStoreQuery(**given))


@pytest.mark.parametrize("mode", ["hybrid", "text_search"])
def test_scores_that_do_not_compare_are_of_one_search(facts, mode):
    with pytest.raises(ValueError, match=f"^similarity_top_k: at most 100 in mode {mode}, not 101"):
        ask(facts, "toner", mode, similarity_top_k=101)


def test_more_nodes_than_a_search_of_the_api_has(store):
    names = [f"tea number {number}" for number in range(105)]
    store.add([TextNode(id_=name, text=name) for name in names])
    query = {"query_str": "tea number 7", "similarity_top_k": 200}
    result = store.query(VectorStoreQuery(**query))
    assert sorted(result.ids) == sorted(names)
    assert result.similarities == sorted(result.similarities, reverse=True)
    assert store.query(VectorStoreQuery(**query, node_ids=names[:103])).ids == [
        each for each in result.ids if each in names[:103]
    ]


def test_further_arguments_are_refused_by_name(facts):
    with pytest.raises(ValueError, match="^mmr_threshold: "):
        facts.query(VectorStoreQuery(query_str="toner"), mmr_threshold=0.5)


def build_vector(seed: int, length: int = 768) -> list[float]:
    chance = random.Random(seed)
    numbers = [chance.gauss(0, 1) for _ in range(length)]
    norm = math.sqrt(sum(each * each for each in numbers))
    return [each / norm for each in numbers]


def test_vectors_of_the_client_are_used_when_it_says_so(client):
    store = build_store(client, client_vectors=True)
    assert store.is_embedding_query
    store.add([TextNode(id_=f"{seed}", text=f"text {seed}", embedding=build_vector(seed)) for seed in range(5)])
    result = store.query(VectorStoreQuery(query_embedding=build_vector(3), similarity_top_k=2))
    assert result.ids[0] == "3"
    assert result.similarities[0] == pytest.approx(1, abs=0.01)
    assert result.similarities[1] < 0.5


@pytest.mark.parametrize("vector", [None, [0.1] * 384])
def test_a_vector_that_does_not_fit_is_refused(client, vector):
    store = build_store(client, client_vectors=True)
    with pytest.raises(ValueError, match="^embedding: .*768"):
        store.add([TextNode(text="a", embedding=vector)])
    with pytest.raises(ValueError, match="^query_embedding: .*768"):
        store.query(VectorStoreQuery(query_str="a", query_embedding=vector))


async def test_asynchronous_methods_do_the_same(client):
    store = build_store(client)
    assert await store.async_add([build_city(name) for name in CITIES]) == list(CITIES)
    result = await store.aquery(VectorStoreQuery(query_str="town", similarity_top_k=2))
    assert len(result.ids) == 2
    await store.adelete("map-a")
    await store.adelete_nodes(["hatfield"])
    assert sorted(node.node_id for node in await store.aget_nodes()) == ["epping", "ongar"]
    await store.aclear()
    assert await store.aget_nodes() == []


def test_no_key_is_in_what_a_store_tells_of_itself(store, client, site):
    text = f"{store!r} {store.to_dict()} {store.to_json()}"
    assert "mem_" not in text
    assert store.client is client


# In an index


class Unasked(BaseEmbedding):
    """Embeds documents, and fails when a query is to be embedded."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [0.5] * 3

    def _get_query_embedding(self, query: str) -> list[float]:
        raise AssertionError("The server embeds queries.")

    async def _aget_query_embedding(self, query: str) -> list[float]:
        raise AssertionError("The server embeds queries.")


@pytest.mark.parametrize("model", [MockEmbedding(embed_dim=8), Unasked()], ids=["mock", "unasked"])
async def test_an_index_over_the_store(store, model):
    context = StorageContext.from_defaults(vector_store=store)
    documents = [
        Document(id_="family", text="My daughter was born in May.", metadata={"topic": "family"}),
        Document(id_="office", text="The printer needs new toner.", metadata={"topic": "office"}),
    ]
    VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=model)
    index = VectorStoreIndex.from_vector_store(store, embed_model=model)
    retriever = index.as_retriever(similarity_top_k=1)
    [hit] = retriever.retrieve("When is the birthday of your child?")
    assert (hit.node.ref_doc_id, hit.node.metadata) == ("family", {"topic": "family"})
    assert hit.score == pytest.approx(ask(store, "When is the birthday of your child?").similarities[0])
    [again] = await retriever.aretrieve("When is the birthday of your child?")
    assert again.node.node_id == hit.node.node_id
    by_topic = index.as_retriever(filters=join("and", where("topic", "==", "office")), vector_store_query_mode="hybrid")
    assert [each.node.ref_doc_id for each in by_topic.retrieve("birthday")] == ["office"]
    index.insert(Document(id_="travel", text="The train to Lowick leaves at nine."))
    assert index.as_retriever().retrieve("When does my train go?")[0].node.ref_doc_id == "travel"
    index.update_ref_doc(Document(id_="travel", text="The ferry to Ongar leaves at ten."))
    index.delete_ref_doc("family")
    assert sorted(node.get_content() for node in store.get_nodes()) == [
        "The ferry to Ongar leaves at ten.",
        "The printer needs new toner.",
    ]


def test_a_pipeline_fills_the_store(store):
    pipeline = IngestionPipeline(
        transformations=[MockEmbedding(embed_dim=1)],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
    )
    for hour in ("nine", "nine", "ten"):
        pipeline.run(documents=[Document(id_="travel", text=f"The train to Lowick leaves at {hour}.")])
    assert [node.get_content() for node in store.get_nodes()] == ["The train to Lowick leaves at ten."]


def test_the_example_finds_and_recalls(site):
    answers = run_example("llamaindex_index.py", site).splitlines()
    assert [answer.partition("  ->  ")[2] for answer in answers] == [
        "Deploys run every Tuesday at ten.",
        "Ben is on call in the first week of every month.",
        "user: My daughter was born in May.",
    ]
