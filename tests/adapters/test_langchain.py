"""LangChain's vector store: the framework's own suite, then filters, scores and what is refused."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from memory_client import InvalidInput, MemoryClient, keyed
from memory_client.langchain import MemorySiteVectorStore
from tests.adapters.examples import run_example

TEA, HARBOUR, BREAD = "Ada drinks green tea.", "The harbour opens at nine.", "Ben bakes bread on Sundays."
METADATAS: list[dict[str, Any]] = [
    {"source": "chat", "page": 1, "tags": ["drinks", "ada"], "by": {"name": "ada", "team": "x"}, "draft": False},
    {"source": "handbook", "page": 2, "tags": [], "by": None},
    {"source": "chat", "page": 2.5, "tags": ["ben"], "by": {"name": "ben"}, "draft": True},
]


@pytest.fixture
def store(client) -> MemorySiteVectorStore:
    return MemorySiteVectorStore(client, collection=uuid4().hex)


def make_filled(client: MemoryClient) -> MemorySiteVectorStore:
    made = MemorySiteVectorStore(client, collection=uuid4().hex)
    made.add_texts([TEA, HARBOUR, BREAD], METADATAS, ids=["tea", "harbour", "bread"])
    return made


@pytest.fixture
def filled(client) -> MemorySiteVectorStore:
    return make_filled(client)


@pytest.fixture(scope="module")
def reader(client) -> MemorySiteVectorStore:
    """The same for tests that change nothing."""
    return make_filled(client)


def list_ids(documents: list[Document]) -> set[str | None]:
    return {document.id for document in documents}


class TestOfficialSuite(VectorStoreIntegrationTests):
    """All of it. The store is given no embeddings: the server embeds."""

    @pytest.fixture
    def vectorstore(self, store: VectorStore) -> VectorStore:
        return store


class TestOfficialSuiteInHybridMode(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client: MemoryClient) -> VectorStore:
        return MemorySiteVectorStore(client, collection=uuid4().hex, mode="hybrid")


# Write and read


def test_document_is_read_as_it_was_written(store):
    documents = [
        Document(id=f"id/{number} %é🙂", page_content=f"{text}\n", metadata=metadata)
        for number, (text, metadata) in enumerate(zip([TEA, HARBOUR, BREAD], METADATAS, strict=True))
    ]
    ids = store.add_documents(documents)
    assert ids == [document.id for document in documents]
    assert store.get_by_ids([*ids[::-1], "missing", ids[0]]) == documents[::-1]
    assert sorted(store.similarity_search("tea", k=9), key=lambda each: each.id) == documents


def test_documents_of_equal_content_are_two(store):
    ids = store.add_texts([TEA, TEA])
    assert len(set(ids)) == 2
    assert list_ids(store.similarity_search("tea")) == set(ids)


def test_last_of_texts_with_one_id_counts(store):
    assert store.add_texts([TEA, BREAD], [{"a": 1}, {"b": 2}], ids=["one", "one"]) == ["one", "one"]
    assert store.similarity_search("tea") == [Document(id="one", page_content=BREAD, metadata={"b": 2})]


def test_many_documents_are_found_at_once(store):
    ids = store.add_texts([f"Harbour number {number} opens at nine." for number in range(150)])
    assert len(store.get_by_ids(ids)) == 150
    assert len(store.similarity_search("harbours", k=100)) == 100
    store.delete(ids[:149])
    assert list_ids(store.similarity_search("harbours", k=100)) == {ids[149]}


def test_delete_without_ids_empties_the_collection_alone(client, filled):
    other = MemorySiteVectorStore(client, collection=uuid4().hex)
    other.add_texts([TEA])
    assert filled.delete() is True
    assert filled.similarity_search("tea") == []
    assert len(other.similarity_search("tea")) == 1


def test_collections_and_users_are_apart(client):
    name, user = uuid4().hex, f"ada-{uuid4().hex}"
    stores = [MemorySiteVectorStore(client, collection=name, user_id=each) for each in (None, user)]
    for store in stores:
        store.add_texts([TEA], [{"user": store.memories.user_id}], ids=["one"])
    for store in stores:
        [document] = store.similarity_search("tea")
        assert [document] == store.get_by_ids(["one"])
        assert document.metadata == {"user": store.memories.user_id}
    client.request("DELETE", f"/users/{user}")
    assert [len(store.similarity_search("tea")) for store in stores] == [1, 0]


def test_from_texts_and_documents(client):
    store = MemorySiteVectorStore.from_texts(
        [TEA], None, [{"a": 1}], ids=["one"], client=client, collection=uuid4().hex
    )
    assert store.get_by_ids(["one"]) == [Document(id="one", page_content=TEA, metadata={"a": 1})]
    documents = [Document(id="two", page_content=BREAD), Document(page_content=HARBOUR)]
    store = MemorySiteVectorStore.from_documents(documents, None, client=client, collection=uuid4().hex)
    assert "two" in list_ids(store.similarity_search("bread"))


def test_document_is_a_memory_like_any_other(client, filled):
    body = {"query": "tea", "filters": {"metadata": {"source": "chat"}, "source_system": "langchain"}}
    found = client.request("POST", "/memories/search", json=body)["results"]
    assert TEA in [hit["memory"]["content"] for hit in found]


# Search


def test_scores_are_cosines_and_relevance_is_from_0_to_1(reader):
    found = reader.similarity_search_with_score("Who drinks tea?", k=3)
    scores = [score for _, score in found]
    assert found[0][0].id == "tea" and scores == sorted(scores, reverse=True) and 0.3 < scores[0] <= 1
    relevant = reader.similarity_search_with_relevance_scores("Who drinks tea?", k=3)
    assert [document for document, _ in relevant] == [document for document, _ in found]
    assert all(0 <= score <= 1 for _, score in relevant)
    assert len(reader.similarity_search_with_relevance_scores("Who drinks tea?", k=3, score_threshold=scores[0])) == 1


def test_relevance_of_opposite_texts_is_0(reader):
    relevance = reader._select_relevance_score_fn()
    assert [relevance(score) for score in (-0.4, 0.0, 0.5, 1.0000001)] == [0, 0, 0.5, 1]


def test_hybrid_mode_finds_words(client, filled):
    hybrid = MemorySiteVectorStore(client, collection=filled.memories.collection, mode="hybrid")
    [(document, score)] = hybrid.similarity_search_with_score("harbour", k=1)
    assert (document.id, 0 < score <= 1) == ("harbour", True)


@pytest.mark.parametrize(
    "query", ["tea -green", 'tea "no such phrase"', "tea " * 3_000], ids=["dash", "phrase", "long"]
)
def test_query_is_a_text_without_operators(client, reader, query):
    hybrid = MemorySiteVectorStore(client, collection=reader.memories.collection, mode="hybrid")
    for store in (reader, hybrid):
        assert store.similarity_search(query, k=3)[0].id == "tea"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, {"tea", "harbour", "bread"}),
        ({}, {"tea", "harbour", "bread"}),
        ({"source": "chat"}, {"tea", "bread"}),
        ({"source": "cha"}, set()),
        ({"source": "chat", "page": 1}, {"tea"}),
        ({"page": {"$eq": 2.5}}, {"bread"}),
        ({"page": "1"}, set()),
        ({"draft": True}, {"bread"}),
        ({"by": None}, {"harbour"}),
        ({"by": {"name": "ada"}}, {"tea"}),
        ({"tags": ["ada"]}, {"tea"}),
        ({"page": {"$in": [1, 2]}}, {"tea", "harbour"}),
        ({"page": {"$in": [1, 2]}, "source": {"$in": ["handbook", "web"]}}, {"harbour"}),
        ({"source": {"$ne": "chat"}}, {"harbour"}),
        ({"draft": {"$ne": True}}, {"tea", "harbour"}),
        ({"page": {"$nin": [1, 2.5]}}, {"harbour"}),
        ({"source": {"$in": ["chat"], "$ne": "web"}, "page": {"$ne": 1}}, {"bread"}),
    ],
    ids=str,
)
def test_filter_finds_exactly_what_meets_it(reader, condition, expected):
    assert list_ids(reader.similarity_search("Ada", k=9, filter=condition)) == expected
    retriever = reader.as_retriever(search_kwargs={"k": 9, "filter": condition})
    assert list_ids(retriever.invoke("Ada")) == expected


def test_filter_is_no_afterthought(store):
    store.add_texts([f"Ada drinks tea number {number}." for number in range(60)], [{"rare": False}] * 60)
    store.add_texts([BREAD], [{"rare": True}], ids=["bread"])
    assert list_ids(store.similarity_search("Who drinks tea?", k=1, filter={"rare": True})) == {"bread"}


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"page": {"$gt": 1}}, r"filter\.page: unsupported operator \$gt"),
        ({"$or": [{"page": 1}, {"page": 2}]}, r"unsupported operator \$or"),
        ({"by": {"name": {"$like": "a"}}}, r"filter\.by\.name: unsupported operator \$like"),
        ({"page": {"$eq": 1, "$between": [1, 2]}}, r"\$between"),
        ({"page": {"$in": 1}}, r"filter\.page: \$in takes a list"),
        ({"page": {"$nin": []}}, r"filter\.page: \$nin takes a list"),
        ({"page": {"$in": list(range(101))}}, r"\$in may come to 100"),
        ({"langchain": {"collection": "other", "user": "bob"}}, r"filter\.langchain: is where the store keeps its own"),
    ],
    ids=ascii,
)
def test_filter_that_cannot_be_answered_is_refused_by_name(reader, condition, named):
    with pytest.raises(ValueError, match=named):
        reader.similarity_search("Ada", filter=condition)


def test_vector_of_the_model_finds_its_text(reader):
    """The server's embedder is not here, so a vector with one number stands for one of its model."""
    assert len(reader.similarity_search_by_vector([1.0, *[0.0] * 383], k=2)) == 2
    assert list_ids(reader.similarity_search_by_vector([1.0], filter={"page": 1})) == {"tea"}


async def test_async_twins(store):
    ids = await asyncio.gather(*[store.aadd_texts([text], ids=[text[:3]]) for text in (TEA, HARBOUR, BREAD)])
    assert ids == [["Ada"], ["The"], ["Ben"]]
    assert [each.id for each in await store.asimilarity_search("Who drinks tea?", k=1)] == ["Ada"]
    assert len(await store.asimilarity_search_with_relevance_scores("tea", k=2)) == 2
    assert list_ids(await store.as_retriever(search_kwargs={"k": 1}).ainvoke("Who drinks tea?")) == {"Ada"}


def test_more_documents_than_a_search_of_the_api_has(store, monkeypatch):
    texts = [f"tea number {number}" for number in range(105)]
    store.add_texts(texts, [{"even": number % 2 == 0} for number in range(105)], ids=texts)
    hits = store.similarity_search_with_score("tea number 7", k=200)
    assert {document.id for document, _ in hits} == set(texts) and len(hits) == 105
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    assert [each.id for each in store.similarity_search("tea number 7", k=100)] == [each.id for each, _ in hits[:100]]
    assert [each.id for each in store.similarity_search("tea number 7", k=104)] == [each.id for each, _ in hits[:104]]
    even = store.similarity_search("tea number 7", k=101, filter={"even": True})
    assert [each.id for each in even] == [each.id for each, _ in hits if each.metadata["even"]]
    monkeypatch.setattr(keyed, "MAX_SCANNED", 104)
    with pytest.raises(ValueError, match="More than 104"):
        store.similarity_search("tea number 7", k=101)


# What is refused, by name


def hybrid(store: MemorySiteVectorStore) -> MemorySiteVectorStore:
    memories = store.memories
    return MemorySiteVectorStore(memories.client, collection=memories.collection, mode="hybrid")


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda store: store.similarity_search("tea", fetch_k=3), TypeError, "fetch_k"),
        (lambda store: store.add_texts([TEA], namespace="a"), TypeError, "namespace"),
        (lambda store: store.delete(["a"], where={}), TypeError, "where"),
        (lambda store: store.add_texts([TEA], [{}, {}]), ValueError, "metadatas"),
        (lambda store: store.add_texts([TEA], ids=["a", "b"]), ValueError, "ids"),
        (lambda store: store.add_texts([TEA], [{"langchain": 1}]), ValueError, r"metadata\.langchain"),
        (lambda store: store.add_texts([TEA], [{"a": {1, 2}}]), ValueError, r"metadata\.a: set"),
        (lambda store: store.similarity_search_by_vector([0.5] * 769), ValueError, "embedding"),
        (lambda store: store.max_marginal_relevance_search("tea"), NotImplementedError, "mmr"),
        (lambda store: store.as_retriever(search_type="mmr").invoke("tea"), NotImplementedError, "mmr"),
        (lambda store: store.similarity_search("tea", k=0), InvalidInput, "limit"),
        (lambda store: hybrid(store).similarity_search("tea", k=101), InvalidInput, "limit"),
        (lambda store: store.similarity_search(" "), InvalidInput, "query"),
        (lambda store: store.add_texts([TEA, ""]), InvalidInput, r"memories\.1\.content"),
        (lambda store: store.similarity_search_by_vector([0.0]), InvalidInput, "vector"),
    ],
    ids=[
        *("search argument", "add argument", "delete argument", "metadatas", "ids", "our mark", "no JSON"),
        *("long vector", "mmr", "mmr retriever", "k 0", "hybrid k 101", "blank query", "empty text", "zero vector"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    store: MemorySiteVectorStore, call: Callable[[MemorySiteVectorStore], Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        call(store)
    assert store.similarity_search("tea") == []


def test_given_embeddings_are_refused(client):
    with pytest.raises(ValueError, match="embedding"):
        MemorySiteVectorStore.from_texts([TEA], DeterministicFakeEmbedding(size=6), client=client)
    with pytest.raises(ValueError, match="mode"):
        MemorySiteVectorStore(client, mode="text")


def test_example_runs(site):
    assert "oolong" in run_example("langchain_documents.py", site)
