"""How insights are found."""

import pytest

from memories import tasks
from memories.insights.redaction import masked
from memories.models import Memory
from tests.memories.insights.lessons import LAZY, VACUUM
from tests.wire import blamed, fingerprint, is_problem

pytestmark = pytest.mark.django_db
ONE, TWO = [1.0] + [0.0] * 767, [0.0, 1.0] + [0.0] * 766


@pytest.fixture
def three(api) -> dict[str, str]:
    """Insights by what they are about; the last is the newest."""
    told = {
        "lazy": {"content": LAZY, "insight_type": "pattern", "projects": ["shop"], "quality": 0.9},
        "vacuum": {"content": VACUUM, "insight_type": "gotcha", "projects": ["shop", "secret-plans"], "quality": 0.5},
        "harbour": {
            "content": "The harbour master of the lazy town opens the gate at nine.",
            "collection": "global",
            "insight_type": "general",
            "quality": 0.1,
        },
    }
    ids = {name: api.post("/insights", said).json()["id"] for name, said in told.items()}
    tasks.embed_due()
    return ids


def found(api, query: str = "*", **fields: object) -> list[str]:
    return [hit["insight"]["content"] for hit in searched(api, query, **fields)["results"]]


def searched(api, query: str = "*", **fields: object) -> dict:
    response = api.post("/insights/search", {"query": query, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def names(three: dict[str, str], told: dict) -> list[str]:
    by_id = {pk: name for name, pk in three.items()}
    return [by_id[hit["insight"]["id"]] for hit in told["results"]]


def test_a_star_finds_all_newest_first(api, three):
    told = searched(api)
    assert names(three, told) == ["harbour", "vacuum", "lazy"]
    assert told["degraded"] is False
    for hit in told["results"]:
        assert (hit["score"], hit["similarity"], hit["text_rank"], hit["found_by"]) == (1.0, None, None, [])


def test_words_and_meaning_find_it_first(api, three):
    told = searched(api, "a queryset is lazy")
    assert names(three, told)[0] == "lazy"
    best = told["results"][0]
    assert best["found_by"] == ["meaning", "words"]
    assert best["similarity"] > told["results"][-1]["similarity"]
    assert best["insight"] == api.get(f"/insights/{three['lazy']}").json()


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_every_mode_finds(api, three, mode):
    assert names(three, searched(api, "when does the harbour open", mode=mode))[0] == "harbour"


def test_memories_that_are_no_insights_are_not_found(api, three):
    api.add(LAZY)
    api.add(f"{LAZY} {LAZY}")
    assert len(searched(api, LAZY)["results"]) <= 3
    assert len(searched(api)["results"]) == 3


@pytest.mark.parametrize("query", ["*", "the lazy gate grows"])
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"collection": "global"}, {"harbour"}),
        ({"collection": "project"}, {"lazy", "vacuum"}),
        ({"insight_type": "gotcha"}, {"vacuum"}),
        ({"project": "shop"}, {"lazy", "vacuum"}),
        ({"project": "secret-plans"}, {"vacuum"}),
        ({"project": masked("secret-plans")}, {"vacuum"}),
        ({"project": "elsewhere"}, set()),
        ({"min_quality": 0.5}, {"lazy", "vacuum"}),
        ({"min_quality": 0.51, "project": "shop"}, {"lazy"}),
    ],
)
def test_filters_narrow_whatever_is_asked(api, three, query, asked, wanted):
    assert set(names(three, searched(api, query, **asked))) == wanted


def test_filters_apply_before_the_limit(api, three):
    for number in range(12):
        api.post("/insights", {"content": f"{LAZY} {chr(0x4E00 + number) * 40}", "quality": 0.0})
    tasks.embed_due()
    assert names(three, searched(api, LAZY, limit=1, min_quality=0.4)) == ["lazy"]
    assert names(three, searched(api, limit=1, min_quality=0.6)) == ["lazy"]


def test_the_limit_is_kept(api, three):
    assert len(searched(api, limit=2)["results"]) == 2
    assert len(searched(api, "the lazy gate grows", limit=2)["results"]) == 2


# Least similarity


@pytest.fixture
def two(api) -> None:
    """Two that have the same word, one of them with the meaning of ONE."""
    api.add("A lesson about harbours, told at length to whoever came.", memory_type="insight", vector=ONE)
    api.add("Nothing is alike to this, harbours or whatever there is.", memory_type="insight", vector=TWO)


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
def test_a_least_similarity_binds_every_hit_that_has_a_vector(api, two, mode):
    assert len(found(api, "harbours", vector=ONE, mode=mode)) == 2
    assert len(found(api, "harbours", vector=ONE, mode=mode, min_similarity=0.5)) == 1


def test_what_has_no_vector_yet_is_found_by_its_words(api, two):
    api.post("/insights", {"content": "The newest of all the harbours has no vector as yet."})
    assert len(found(api, "harbours", vector=ONE, min_similarity=0.5)) == 2


def test_by_words_alone_similarity_is_of_no_account(api, two):
    assert len(found(api, "harbours", mode="text", min_similarity=0.5)) == 2


def test_without_an_embedder_words_must_do(api, three, embedder):
    embedder("Away")
    told = searched(api, "queryset", min_similarity=0.9)
    assert (told["degraded"], names(three, told)) == (True, ["lazy"])
    assert searched(api)["degraded"] is False
    assert is_problem(api.post("/insights/search", {"query": "queryset", "mode": "vector"}), 503)


@pytest.mark.parametrize(
    "asked",
    [{"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 101}, {"query": "x", "min_quality": 2}]
    + [{"query": "x", "min_similarity": 1.5}, {"query": "x", "project": ""}, {"query": "x", "collection": "ours"}],
)
def test_what_is_out_of_bounds_is_refused(api, asked):
    response = api.post("/insights/search", asked)
    assert is_problem(response, 422)
    assert len(blamed(response)) == 1


def test_a_query_is_required(api):
    assert blamed(api.post("/insights/search", {"limit": 1})) == {"query"}


def test_expired_ones_and_others_are_not_found(api, outsider, three):
    assert searched(outsider)["results"] == searched(outsider, "queryset")["results"] == []
    Memory.objects.filter(pk=three["lazy"]).update(expires_at="2020-01-01T00:00:00Z")
    assert names(three, searched(api)) == ["harbour", "vacuum"]
    assert "lazy" not in names(three, searched(api, "queryset"))


def test_a_reader_may_search_and_searching_changes_nothing(reader, three):
    before = fingerprint()
    assert names(three, searched(reader, "queryset"))[0] == "lazy"
    assert fingerprint() == before


@pytest.mark.parametrize("query", ["*", "queryset"])
def test_it_takes_one_statement(api, three, takes, query):
    searched(api, query)  # after which the vector of the query is known
    with takes(1):
        searched(api, query, project="shop", min_quality=0.1, min_similarity=-1)


# Lists


def test_they_are_listed_newest_first_page_by_page(api, three):
    first = api.get("/insights?limit=2").json()
    assert [row["id"] for row in first["results"]] == [three["harbour"], three["vacuum"]]
    second = api.get(f"/insights?limit=2&cursor={first['next']}").json()
    assert [row["id"] for row in second["results"]] == [three["lazy"]]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("collection=global", ["harbour"]),
        ("insight_type=gotcha", ["vacuum"]),
        ("project=secret-plans", ["vacuum"]),
        ("min_quality=0.5", ["vacuum", "lazy"]),
    ],
)
def test_lists_are_narrowed_by_the_same_filters(api, three, asked, wanted):
    assert [row["id"] for row in api.get(f"/insights?{asked}").json()["results"]] == [three[name] for name in wanted]


def test_a_list_takes_one_statement(api, three, takes):
    with takes(1):
        api.get("/insights?project=shop")
