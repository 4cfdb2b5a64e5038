"""Searching and listing insights."""

import pytest

from memories import tasks
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, VACUUM_LESSON
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db
FIRST_AXIS, SECOND_AXIS = [1.0] + [0.0] * 767, [0.0, 1.0] + [0.0] * 766


@pytest.fixture
def three(api) -> dict[str, str]:
    """Return the ids of three insights by name; the last is the newest."""
    result = {
        "lazy": {"content": LAZY_LESSON, "insight_type": "pattern", "projects": ["shop"], "quality": 0.9},
        "vacuum": {
            "content": VACUUM_LESSON,
            "insight_type": "gotcha",
            "projects": ["shop", "secret-plans"],
            "quality": 0.5,
        },
        "harbour": {
            "content": "The harbour master of the lazy town opens the gate at nine.",
            "collection": "global",
            "insight_type": "general",
            "quality": 0.1,
        },
    }
    ids = {name: api.post("/insights", given).json()["id"] for name, given in result.items()}
    tasks.embed_due()
    return ids


def search_contents(api, query: str = "*", **fields: object) -> list[str]:
    return [hit["insight"]["content"] for hit in search_insights(api, query, **fields)["results"]]


def search_insights(api, query: str = "*", **fields: object) -> dict:
    """The whole ranking, also below the floor."""
    response = api.post("/insights/search", {"query": query, "floor": 0, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def list_found_names(three: dict[str, str], result: dict) -> list[str]:
    by_id = {pk: name for name, pk in three.items()}
    return [by_id[hit["insight"]["id"]] for hit in result["results"]]


def test_star_query_finds_all_newest_first(api, three):
    result = search_insights(api)
    assert list_found_names(three, result) == ["harbour", "vacuum", "lazy"]
    assert result["degraded"] is False
    for hit in result["results"]:
        assert (hit["score"], hit["similarity"], hit["text_rank"], hit["found_by"]) == (1.0, None, None, [])


def test_hybrid_search_ranks_the_match_first(api, three):
    result = search_insights(api, "a queryset is lazy")
    assert list_found_names(three, result)[0] == "lazy"
    best = result["results"][0]
    assert best["found_by"] == ["meaning", "words"]
    assert best["similarity"] > result["results"][-1]["similarity"]
    assert best["insight"] == api.get(f"/insights/{three['lazy']}").json()


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_every_mode_finds(api, three, mode):
    assert list_found_names(three, search_insights(api, "when does the harbour open", mode=mode))[0] == "harbour"


def test_memories_of_other_types_are_not_found(api, three):
    api.add(LAZY_LESSON)
    api.add(f"{LAZY_LESSON} {LAZY_LESSON}")
    assert len(search_insights(api, LAZY_LESSON)["results"]) <= 3
    assert len(search_insights(api)["results"]) == 3


@pytest.mark.parametrize("query", ["*", "the lazy gate grows"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"collection": "global"}, {"harbour"}),
        ({"collection": "project"}, {"lazy", "vacuum"}),
        ({"insight_type": "gotcha"}, {"vacuum"}),
        ({"project": "shop"}, {"lazy", "vacuum"}),
        ({"project": "secret-plans"}, {"vacuum"}),
        ({"project": redact_project_name("secret-plans")}, {"vacuum"}),
        ({"project": "elsewhere"}, set()),
        ({"min_quality": 0.5}, {"lazy", "vacuum"}),
        ({"min_quality": 0.51, "project": "shop"}, {"lazy"}),
    ],
)
def test_filters_narrow_every_query(api, three, query, filters, expected):
    assert set(list_found_names(three, search_insights(api, query, **filters))) == expected


def test_filters_apply_before_the_limit(api, three):
    for number in range(12):
        api.post("/insights", {"content": f"{LAZY_LESSON} {chr(0x4E00 + number) * 40}", "quality": 0.0})
    tasks.embed_due()
    assert list_found_names(three, search_insights(api, LAZY_LESSON, limit=1, min_quality=0.4)) == ["lazy"]
    assert list_found_names(three, search_insights(api, limit=1, min_quality=0.6)) == ["lazy"]


def test_limit_is_respected(api, three):
    assert len(search_insights(api, limit=2)["results"]) == 2
    assert len(search_insights(api, "the lazy gate grows", limit=2)["results"]) == 2


# Minimum similarity


@pytest.fixture
def two(api) -> None:
    """Add two insights with the same word and orthogonal vectors."""
    api.add("A lesson about harbours, told at length to whoever came.", memory_type="insight", vector=FIRST_AXIS)
    api.add("Nothing is alike to this, harbours or whatever there is.", memory_type="insight", vector=SECOND_AXIS)


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
def test_min_similarity_applies_to_every_hit_with_a_vector(api, two, mode):
    assert len(search_contents(api, "harbours", vector=FIRST_AXIS, mode=mode)) == 2
    assert len(search_contents(api, "harbours", vector=FIRST_AXIS, mode=mode, min_similarity=0.5)) == 1


def test_hits_without_a_vector_are_found_by_words(api, two):
    api.post("/insights", {"content": "The newest of all the harbours has no vector as yet."})
    assert len(search_contents(api, "harbours", vector=FIRST_AXIS, min_similarity=0.5)) == 2


def test_min_similarity_is_ignored_in_text_mode(api, two):
    assert len(search_contents(api, "harbours", mode="text", min_similarity=0.5)) == 2


def test_search_degrades_to_words_without_an_embedder(api, three, embedder):
    embedder("Away")
    result = search_insights(api, "queryset", min_similarity=0.9)
    assert (result["degraded"], list_found_names(three, result)) == (True, ["lazy"])
    assert search_insights(api)["degraded"] is False
    assert is_problem(api.post("/insights/search", {"query": "queryset", "mode": "vector"}), 503)


@pytest.mark.parametrize(
    "body",
    [{"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 101}, {"query": "x", "min_quality": 2}]
    + [{"query": "x", "min_similarity": 1.5}, {"query": "x", "project": ""}, {"query": "x", "collection": "ours"}],
)
def test_invalid_values_are_refused(api, body):
    response = api.post("/insights/search", body)
    assert is_problem(response, 422)
    assert len(list_blamed_fields(response)) == 1


def test_a_query_is_required(api):
    assert list_blamed_fields(api.post("/insights/search", {"limit": 1})) == {"query"}


def test_expired_insights_and_other_namespaces_are_not_found(api, outsider, three):
    assert search_insights(outsider)["results"] == search_insights(outsider, "queryset")["results"] == []
    Memory.objects.filter(pk=three["lazy"]).update(expires_at="2020-01-01T00:00:00Z")
    assert list_found_names(three, search_insights(api)) == ["harbour", "vacuum"]
    assert "lazy" not in list_found_names(three, search_insights(api, "queryset"))


def test_readers_may_search_and_nothing_changes(reader, three):
    before = fingerprint_tables()
    assert list_found_names(three, search_insights(reader, "queryset"))[0] == "lazy"
    assert fingerprint_tables() == before


@pytest.mark.parametrize("query", ["*", "queryset"])
def test_search_takes_one_statement(api, three, takes, query):
    search_insights(api, query)  # caches the vector of the query
    with takes(1):
        search_insights(api, query, project="shop", min_quality=0.1, min_similarity=-1)


# Lists


def test_list_is_paged_newest_first(api, three):
    first = api.get("/insights?limit=2").json()
    assert [row["id"] for row in first["results"]] == [three["harbour"], three["vacuum"]]
    second = api.get(f"/insights?limit=2&cursor={first['next']}").json()
    assert [row["id"] for row in second["results"]] == [three["lazy"]]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("collection=global", ["harbour"]),
        ("insight_type=gotcha", ["vacuum"]),
        ("project=secret-plans", ["vacuum"]),
        ("min_quality=0.5", ["vacuum", "lazy"]),
    ],
)
def test_list_has_the_same_filters(api, three, query, expected):
    assert [row["id"] for row in api.get(f"/insights?{query}").json()["results"]] == [three[name] for name in expected]


def test_list_takes_one_statement(api, three, takes):
    with takes(1):
        api.get("/insights?project=shop")
