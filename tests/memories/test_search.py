"""Searching memories by words, by meaning and by both."""

import numpy as np
import pytest
from django.db import connection

from memories import tasks
from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memories.search import execute, statement
from memories.search.execute import find_nearest_ids
from memories.search.filters import Filters
from memories.search.scope_size import COUNTED_SIZE_CTES, MAX_EXACT_ROWS, MIN_EXACT_ROWS
from memories.search.similar import find_similar
from memory_site.core.caches import Cache
from sessions_app.models import Namespace
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db
EVERY_MODE = pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
HARBOUR = "The harbour of Lowick opens at nine on weekdays."
LIGHTHOUSE = "The lighthouse keeper feeds two grey cats."
INVOICE = "Invoice INV-20391 was paid by the Lowick council."
CODE = "Call getUserName(user_id) before render_page to avoid the stale cache."


@pytest.fixture
def four_memories(api) -> dict[str, str]:
    """Four embedded memories: content to id."""
    found = {content: api.add(content)["id"] for content in (HARBOUR, LIGHTHOUSE, INVOICE, CODE)}
    tasks.embed_due()
    return found


def list_contents(answer: dict) -> list[str]:
    return [hit["memory"]["content"] for hit in answer["results"]]


def build_unit_vector(*numbers: float) -> list[float]:
    vector = np.zeros(768)
    vector[: len(numbers)] = numbers
    return (vector / np.linalg.norm(vector)).tolist()


def add_vectors(api, count: int, **fields: object) -> None:
    """Add memories whose vectors turn away from the first axis step by step; number 0 is nearest to it."""
    items = [
        {"content": f"step {n} {fields}", "vector": build_unit_vector(np.cos(n / count), np.sin(n / count)), **fields}
        for n in range(count)
    ]
    assert api.post("/memories/bulk", {"memories": items}).status_code == 201


def list_steps(answer: dict) -> list[int]:
    return [int(content.split()[1]) for content in list_contents(answer)]


# What comes back


@EVERY_MODE
def test_best_hit_comes_first(api, four_memories, mode):
    answer = api.search("when does the harbour of Lowick open", mode=mode)
    assert list_contents(answer)[0] == HARBOUR
    scores = [hit["score"] for hit in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert (answer["mode"], answer["degraded"]) == (mode, False)
    assert 0 < answer["took_ms"] < 60_000


def test_hybrid_is_the_default(api, four_memories):
    assert api.search("harbour")["mode"] == "hybrid"


def test_hit_has_every_field_of_the_memory(api, four_memories):
    [first, *_] = api.search("harbour")["results"]
    assert first["memory"] == api.get(f"/memories/{four_memories[HARBOUR]}").json()


def test_found_by_names_what_found_the_hit(api, four_memories):
    for hit in api.search("grey cats of the lighthouse")["results"]:
        assert hit["found_by"]
        assert ("words" in hit["found_by"]) == (hit["text_rank"] is not None)
        assert "meaning" not in hit["found_by"] or hit["similarity"] is not None
    assert api.search("cats", mode="text")["results"][0]["found_by"] == ["words"]
    assert api.search("cats", mode="vector")["results"][0]["found_by"] == ["meaning"]


def test_similarity_is_the_cosine(api, four_memories):
    query = "where do cats live"
    embedded = get_embedder().embed_query(query)
    for mode in ("vector", "hybrid"):
        for hit in api.search(query, mode=mode)["results"]:
            document = get_embedder().embed([hit["memory"]["content"]])[0]
            assert hit["similarity"] == pytest.approx(float(embedded @ document), abs=1e-3)


def test_memory_without_a_vector_is_found_by_words(api, four_memories):
    api.add("The harbour master is called Moira.")
    hits = {hit["memory"]["content"]: hit for hit in api.search("harbour master Moira")["results"]}
    fresh = hits["The harbour master is called Moira."]
    assert (fresh["found_by"], fresh["similarity"], fresh["memory"]["embedded"]) == (["words"], None, False)


def test_nothing_is_found_in_an_empty_namespace(api, outsider, four_memories):
    for mode in ("hybrid", "vector", "text"):
        assert outsider.search("harbour", mode=mode)["results"] == []


def test_explain_returns_the_scope_size(api, four_memories):
    [hit, *_] = api.search("harbour", explain=True)["results"]
    assert hit["explain"] == {"rows_in_scope": 4, "exact": True}
    assert "explain" not in api.search("harbour")["results"][0]


@EVERY_MODE
def test_search_changes_nothing(api, four_memories, mode):
    before = fingerprint_tables()
    api.search("harbour", mode=mode)
    assert fingerprint_tables() == before


@EVERY_MODE
def test_search_takes_one_statement_after_authentication(api, four_memories, takes, mode):
    with takes(1):
        assert list_contents(api.search("the harbour of Lowick", mode=mode))
    with takes(1):
        api.search("the harbour of Lowick", mode=mode, filters={"tags": ["none"], "metadata": {"a": 1}})


def test_noise_of_a_small_scope_is_that_of_the_model(api, namespace):
    """Unrelated texts have a similarity of 0.76 in this model, which would be a clear hit in others."""
    Namespace.objects.filter(pk=namespace.pk).update(embedding_model="multilingual-e5-small")
    for word, cosine in (("alpha", 0.76), ("beta", 0.77), ("gamma", 0.90)):
        api.add(word, vector=build_unit_vector(cosine, np.sqrt(1 - cosine**2)))
    best, *unrelated = api.search("a question", vector=build_unit_vector(1))["results"]
    assert best["memory"]["content"] == "gamma"
    assert best["score"] > 0.5
    assert [hit["score"] < 0.1 for hit in unrelated] == [True, True]


# Words


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("harbour", {HARBOUR}),
        ("harbours opening", {HARBOUR}),
        ("HARBOUR", {HARBOUR}),
        ('"grey cats"', {LIGHTHOUSE}),
        ('"cats grey"', set()),
        ("lowick", {HARBOUR, INVOICE}),
        ("lowick -council", {HARBOUR}),
        ("lowick -harbour -council", set()),
        ("lighthouse OR invoice", {LIGHTHOUSE, INVOICE}),
        ("the of and", set()),
        ("xylophone", set()),
        ("INV-20391", {INVOICE}),
        ("getUserName", {CODE}),
        ("render_page", {CODE}),
    ],
)
def test_web_search_syntax(api, four_memories, query, found):
    assert set(list_contents(api.search(query, mode="text"))) == found


@pytest.mark.parametrize(
    "question",
    [
        "Could you tell me at what time of the morning Lowick's harbour opens for visitors?",
        "who takes care of the animals of the lighthouse keeper",
        "has anybody paid the invoice 20391 already or is it still open",
    ],
)
def test_question_finds_its_answer_without_matching_every_word(api, four_memories, question):
    expected = {"harbour": HARBOUR, "lighthouse": LIGHTHOUSE, "invoice": INVOICE}
    best = next(content for word, content in expected.items() if word in question)
    assert list_contents(api.search(question, mode="text"))[0] == best
    assert list_contents(api.search(question))[0] == best


@pytest.mark.parametrize(("identifier", "content"), [("INV-20391", INVOICE), ("getUserName", CODE)])
def test_exact_identifier_is_found_among_similar_ones(api, four_memories, identifier, content):
    others = [{"content": f"Invoice INV-{number} was paid by the council, getUser({number})."} for number in range(40)]
    api.post("/memories/bulk", {"memories": others})
    tasks.embed_due()
    assert list_contents(api.search(identifier))[0] == content
    assert list_contents(api.search(identifier, mode="text"))[0] == content


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "'",
        '"unclosed',
        "-",
        "--",
        "OR",
        "or or",
        "()&|!:*<->",
        "\\",
        "a" * 4096,
        "%s %(query)s",
        "'; --",
        "🐈",
        "-a",
    ],
)
@EVERY_MODE
def test_odd_queries_do_not_fail(api, four_memories, query, mode):
    api.search(query, mode=mode)


@pytest.mark.parametrize("query", ["", " ", "\u200b", "x" * 4097, None, 1])
def test_a_query_is_1_to_4096_visible_characters(api, query):
    assert is_problem(api.post("/memories/search", {"query": query}), 422)


def test_query_or_vector_is_required(api):
    for body in (
        {},
        {"mode": "vector"},
        {"mode": "text"},
        {"mode": "text", "vector": build_unit_vector(1)},
        {"filters": {}},
    ):
        assert is_problem(api.post("/memories/search", body), 422)


# Meaning


def test_supplied_vector_needs_no_embedder(api, embedder):
    add_vectors(api, 10)
    embedder("Away")
    assert list_steps(api.search(None, vector=build_unit_vector(1), limit=3)) == [0, 1, 2]
    assert list_steps(api.search(None, vector=build_unit_vector(0, 1), mode="vector", limit=2)) == [9, 8]


def test_query_and_vector_can_be_combined(api, four_memories, embedder):
    embedder("Away")
    answer = api.search("harbour", vector=build_unit_vector(1), mode="hybrid")
    assert answer["degraded"] is False
    assert list_contents(answer)[0] == HARBOUR


def test_threshold_excludes_less_similar_hits(api):
    add_vectors(api, 10)
    limit = np.cos(0.45)
    assert list_steps(api.search(None, vector=build_unit_vector(1), mode="vector", threshold=limit)) == [0, 1, 2, 3, 4]
    assert api.search(None, vector=build_unit_vector(-1), mode="vector", threshold=0.5)["results"] == []
    assert len(api.search(None, vector=build_unit_vector(-1), mode="vector", threshold=-1)["results"]) == 10


def test_threshold_does_not_apply_to_word_matches(api, four_memories):
    answer = api.search("harbour", threshold=1)
    assert list_contents(answer) == [HARBOUR]


@pytest.mark.parametrize("threshold", [1.01, -1.01, "0.5", True])
def test_threshold_must_be_a_cosine(api, threshold):
    assert is_problem(api.post("/memories/search", {"query": "a", "threshold": threshold}), 422)


def test_vectors_of_another_model_are_not_searched(api, four_memories, embedder):
    Namespace.objects.update(embedding_model=embedder("Constant", model="another").model)
    assert api.search("harbour", mode="vector")["results"] == []
    answer = api.search("harbour")
    assert [(hit["similarity"], hit["found_by"]) for hit in answer["results"]] == [(None, ["words"])]


# Limit


@EVERY_MODE
@pytest.mark.parametrize("limit", [1, 7, 20, 100])
def test_search_respects_the_limit(api, mode, limit):
    api.post("/memories/bulk", {"memories": [{"content": f"harbour number {number}"} for number in range(120)]})
    tasks.embed_due()
    assert len(api.search("harbour", mode=mode, limit=limit)["results"]) == limit


def test_ten_are_returned_by_default(api):
    add_vectors(api, 12)
    assert len(api.search(None, vector=build_unit_vector(1))["results"]) == 10


@pytest.mark.parametrize("limit", [0, 101, -1, 1.5, "10", None])
def test_the_limit_lies_between_1_and_100(api, limit):
    assert is_problem(api.post("/memories/search", {"query": "a", "limit": limit}), 422)


@EVERY_MODE
def test_no_memory_is_returned_twice(api, four_memories, mode):
    ids = [hit["memory"]["id"] for hit in api.search("the harbour keeper of Lowick", mode=mode)["results"]]
    assert len(ids) == len(set(ids))


# Filters

FILTER_CASES = [
    ({"user_id": "ada"}, {"user_id": "ada"}),
    ({"agent_id": "ada"}, {"agent_id": "ada"}),
    ({"workflow_id": "w"}, {"workflow_id": "w"}),
    ({"repo_id": "r"}, {"repo_id": "r"}),
    ({"session_id": "s"}, {"session_id": "s"}),
    ({"source_system": "agno"}, {"source_system": "agno"}),
    ({"entity_system": "jira"}, {"entity": {"system": "jira", "id": "A-1"}}),
    ({"memory_types": ["rag", "insight"]}, {"memory_type": "rag"}),
    ({"tags": ["a", "b"]}, {"tags": ["a", "b", "c"]}),
    ({"any_tags": ["a", "z"]}, {"tags": ["z"]}),
    ({"min_importance": 4}, {"importance": 5}),
    ({"min_confidence": 0.999}, {"confidence": 1}),
    ({"created_before": "2020-01-01T00:00:00Z"}, {"created_at": "2019-06-01T00:00:00Z"}),
    ({"metadata": {"a": {"b": [1]}}}, {"metadata": {"a": {"b": [1, 2], "c": 3}}}),
    ({"any_metadata": [{"a": 1}, {"b": {"c": 2}}]}, {"metadata": {"b": {"c": 2}}}),
    ({"without_metadata": [{"noise": True}, {"b": 1}]}, {"metadata": {"noise": False}}),
    ({"important": True}, {"metadata": {"important": True}}),
    ({"user_id": "ada", "memory_types": ["rag"]}, {"user_id": "ada", "memory_type": "rag"}),
    ({"user_id": "ada", "tags": ["a"]}, {"user_id": "ada", "tags": ["a"]}),
]


@EVERY_MODE
@pytest.mark.parametrize(("filters", "fields"), FILTER_CASES, ids=str)
def test_filters_apply_before_the_limit(api, mode, filters, fields):
    """Sixty better matches that the filter excludes do not displace the only one left."""
    usual = {"confidence": 0.5, "metadata": {"noise": True}}
    noise = [usual | {"content": f"the harbour, number {number}"} for number in range(60)]
    api.post("/memories/bulk", {"memories": noise})
    wanted = api.add("far away there is a harbour of sorts, in another tale", **fields)
    tasks.embed_due()
    answer = api.search("the harbour number", mode=mode, limit=5, filters=filters)
    assert [hit["memory"]["id"] for hit in answer["results"]] == [wanted["id"]]


@EVERY_MODE
def test_ids_filter_selects_these_memories(api, four_memories, mode):
    answer = api.search("harbour lighthouse Lowick", mode=mode, filters={"ids": [four_memories[LIGHTHOUSE]]})
    assert list_contents(answer) == [LIGHTHOUSE]


@EVERY_MODE
def test_empty_filters_filter_nothing(api, four_memories, mode):
    assert api.search("lowick", mode=mode, filters={})["results"] == api.search("lowick", mode=mode)["results"]


# Without the embedder


@pytest.fixture
def embedder_unavailable(settings) -> None:
    settings.EMBEDDINGS = {
        "default": {
            "BACKEND": "memories.embeddings.ollama.OllamaEmbedder",
            "MODEL": "hashing-1",
            "OPTIONS": {"base_url": "http://127.0.0.1:9"},
        }
    }


def test_hybrid_search_uses_words_when_the_embedder_is_unavailable(api, four_memories, embedder_unavailable):
    answer = api.search("when does the harbour open")
    assert answer["degraded"] is True
    assert list_contents(answer)[0] == HARBOUR
    assert answer["results"][0]["found_by"] == ["words"]
    assert answer["results"][0]["similarity"] is None


def test_vector_search_fails_when_the_embedder_is_unavailable(api, four_memories, embedder_unavailable):
    response = api.post("/memories/search", {"query": "harbour", "mode": "vector"})
    assert is_problem(response, 503)
    assert int(response["Retry-After"]) > 0


def test_text_search_needs_no_embedder(api, four_memories, embedder_unavailable):
    answer = api.search("harbour", mode="text")
    assert (answer["degraded"], list_contents(answer)) == (False, [HARBOUR])


def test_refused_query_is_searched_by_words(api, four_memories, embedder):
    embedder("Refusing")
    api.add("poison in the well")
    answer = api.search("poison")
    assert (answer["degraded"], list_contents(answer)) == (True, ["poison in the well"])
    assert is_problem(api.post("/memories/search", {"query": "poison", "mode": "vector"}), 422)


def test_query_vectors_are_cached(api, four_memories, embedder):
    watched = embedder("Watched")
    for query in ("harbour  cats", "harbour cats", " harbour cats"):
        api.search(query)
    assert watched.texts == ["harbour cats"]


# Exact or by the index


@pytest.fixture
def fresh_index(db) -> None:
    """An index without the dead vectors of earlier tests, rolled back or not yet vacuumed: they lower its recall."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE memories_embedding")


@pytest.fixture
def everything_is_large(monkeypatch, fresh_index) -> None:
    """Use the index for more than ten rows."""
    ten = COUNTED_SIZE_CTES.replace(f"{MIN_EXACT_ROWS},", "10,").replace(f"{MAX_EXACT_ROWS})", "10)")
    assert ten.count("10") == 2
    monkeypatch.setattr(statement, "COUNTED_SIZE_CTES", ten)


def used_index(answer: dict) -> bool:
    return not answer["results"][0]["explain"]["exact"]


def test_small_scope_is_scanned(api, everything_is_large):
    add_vectors(api, 10)
    assert not used_index(api.search(None, vector=build_unit_vector(1), explain=True))


@pytest.mark.parametrize("query", [None, "step"])
def test_index_search_of_a_large_scope_fills_the_limit(api, everything_is_large, query):
    add_vectors(api, 150)
    first, second = (api.search(query, vector=build_unit_vector(1), limit=100, explain=True) for _ in range(2))
    assert used_index(first)
    assert used_index(second)
    assert len(first["results"]) == len(second["results"]) == 100
    if query is None:
        assert list_steps(first) == list_steps(second) == list(range(100))


def test_scope_size_is_cached(api, everything_is_large, takes, monkeypatch):
    monkeypatch.setattr(execute, "scope_sizes", Cache(10))  # for as long as the test takes
    add_vectors(api, 50)
    texts = []
    for _ in range(2):
        with takes(1) as captured:
            api.search(None, vector=build_unit_vector(1))
        texts.append(captured.captured_queries[0]["sql"])
    assert "memories_namespacesize" in texts[0]
    assert "memories_namespacesize" not in texts[1]


@pytest.mark.parametrize(
    "filters", [None, {"user_id": "ada"}, {"tags": ["t"]}, {"min_importance": 4}, {"user_id": "ada", "tags": ["t"]}]
)
def test_scan_and_index_agree(api, namespace, fresh_index, filters):
    add_vectors(api, 150, user_id="ada", tags=["t"], importance=5)
    add_vectors(api, 150, user_id="ben")
    filters = filters and Filters(**filters)
    found = [
        find_nearest_ids(namespace.pk, filters, build_unit_vector(1, 0.2), "hashing-1", 20, exact=exact)
        for exact in (True, False)
    ]
    assert list(found[0]) == list(found[1])
    assert list(found[0].values()) == pytest.approx(list(found[1].values()), abs=1e-6)
    assert len(found[0]) == 20


def test_selective_filter_loses_no_hits(api, everything_is_large):
    add_vectors(api, 300)
    add_vectors(api, 15, tags=["rare"], user_id="ada", created_at="2020-01-01T00:00:00Z")
    for filters in ({"tags": ["rare"]}, {"user_id": "ada"}, {"created_before": "2021-01-01T00:00:00Z"}):
        for _ in range(2):
            answer = api.search(None, vector=build_unit_vector(-1), limit=15, filters=filters, explain=True)
            assert used_index(answer)
            assert list_steps(answer) == list(range(14, -1, -1))


def test_scan_follows_when_the_index_falls_short(api, everything_is_large, takes):
    add_vectors(api, 50)
    Embedding.objects.exclude(memory__content__startswith="step 4 ").delete()
    with takes(2):
        answer = api.search(None, vector=build_unit_vector(1), limit=10)
    assert list_steps(answer) == [4]


def test_similar_memories_are_complete_when_the_index_falls_short(api, fresh_index):
    add_vectors(api, 50)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.iterative_scan = off")
        cursor.execute("SET LOCAL hnsw.ef_search = 1")
        cursor.execute("SET LOCAL enable_sort = off")
    first = Embedding.objects.get(memory__content__startswith="step 0 ")
    assert [each.beginning.split()[1] for each in find_similar(first)] == [str(n) for n in range(1, 11)]


def test_shrunk_scope_is_searched(api, everything_is_large):
    add_vectors(api, 50)
    api.search(None, vector=build_unit_vector(1))
    Memory.objects.exclude(content__startswith="step 7 ").delete()
    assert list_steps(api.search(None, vector=build_unit_vector(1))) == [7]


def test_repeated_searches_return_the_same_hits(api, everything_is_large):
    add_vectors(api, 200)
    answers = [list_steps(api.search(None, vector=build_unit_vector(1, 0.3), limit=20)) for _ in range(60)]
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 20


def test_unknown_word_does_not_hide_a_common_one(api):
    """Above 2,000 rows only the rarest words are looked up, and an unknown word is the rarest of all."""
    notes = [
        {"content": f"note {number} about {'the ferry' if number % 3 else 'the harbour'}"} for number in range(2400)
    ]
    for start in range(0, len(notes), 800):
        assert api.post("/memories/bulk", {"memories": notes[start : start + 800]}).status_code == 201
    for query in ("ferry", "quagmire ferry", "ferry harbour quagmire"):
        assert len(api.search(query, mode="text", limit=20)["results"]) == 20


def test_phrase_with_or_inside_is_required(api):
    api.add("a cat, dead or alive")
    wanted = api.add("a cat, alive or dead")
    hits = api.search('"alive or dead" cat', mode="text")["results"]
    assert [hit["memory"]["id"] for hit in hits] == [wanted["id"]]


def test_no_break_space_separates_words(api):
    memory = api.add("kitten\u00a0alone")
    assert api.search("kitten", mode="text")["results"][0]["memory"]["id"] == memory["id"]


def test_score_is_at_most_one(api):
    for number in range(30):
        vector = [((number * 31 + place * 17) % 101) / 50 - 1 for place in range(768)]
        api.add(f"vector {number}", vector=vector)
        best = api.search(None, vector=vector, mode="vector", limit=1)["results"][0]
        assert 0.999 < best["score"] <= 1 and best["similarity"] <= 1
