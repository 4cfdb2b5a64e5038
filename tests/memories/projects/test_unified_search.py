"""The search over everything that a namespace has stored."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories import tasks
from memories.models import Memory
from tests.memories.projects.helpers import add_dependency, add_group, add_in_each_project, insert_insight
from tests.memories.test_search import (  # noqa: F401
    add_vectors,
    build_unit_vector,
    everything_is_large,
    fresh_index,
    list_steps,
)
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db
HARBOUR_TEXT = "Retry with backoff when the harbour answers slowly."
OTHER_TEXT = "The harbour opens at nine on weekdays only."


def search_everything(api, query: str, **fields: object) -> list[dict]:
    """The whole ranking, also below the floor."""
    response = api.post("/search", {"query": query, "floor": 0, **fields})
    assert response.status_code == 200, response.content
    return response.json()["results"]


def list_contents(hits: list[dict]) -> list[str]:
    return [hit["memory"]["content"] for hit in hits]


# Hits


def test_hits_of_every_type_are_found_and_labelled(api, namespace):
    api.add("The harbour of the chat.", memory_type="conversation", source_system="agno", user_id="ada")
    api.add("The harbour of the handbook.", memory_type="rag", source_system="ingestion", repo_id="web")
    insert_insight(namespace, OTHER_TEXT, "web", "api")
    hits = search_everything(api, "harbour")
    labels = {(hit["source"], hit["memory"]["memory_type"], hit["project"]) for hit in hits}
    assert labels == {("agno", "conversation", None), ("ingestion", "rag", "web"), ("insights", "insight", "web")}
    assert {(hit["relation"], hit["is_current_project"]) for hit in hits} == {(None, False)}


def test_hit_is_the_whole_memory_with_a_comparable_score(api, namespace):
    pk = api.add(HARBOUR_TEXT)["id"]
    insert_insight(namespace, OTHER_TEXT, "web")
    tasks.embed_due()
    hits = search_everything(api, HARBOUR_TEXT)
    assert hits[0]["memory"] == api.get(f"/memories/{pk}").json()
    assert hits[0]["found_by"] == ["meaning", "words"]
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-3)
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_results_equal_those_of_a_plain_search(api, namespace):
    for n in range(8):
        api.add(f"The harbour number {n} {'harbour ' * n}", repo_id=f"project {n % 3}")
    insert_insight(namespace, OTHER_TEXT, "web")
    tasks.embed_due()
    for fields in ({}, {"mode": "vector"}, {"mode": "text"}, {"threshold": 0.3}, {"explain": True}):
        plain = api.search("harbour number 3", limit=5, **fields)["results"]
        unified = search_everything(api, "harbour number 3", limit=5, **fields)
        assert [{name: hit[name] for name in plain[0]} for hit in unified] == plain


def test_filters_apply_inside_the_search(api):
    for n in range(60):
        api.add(f"{HARBOUR_TEXT} {n}", user_id="ada", memory_type="rag", tags=["old"])
    saved = api.add("Once there was a harbour, far away and long ago.", user_id="bob", tags=["new"])["id"]
    conditions = (
        {"user_id": "bob"}, {"memory_types": ["agent"]}, {"filters": {"tags": ["new"]}},
        {"filters": {"user_id": "bob"}},
        {"user_id": "bob", "filters": {"tags": ["new"]}},
    )  # fmt: skip
    for condition in conditions:
        assert [hit["memory"]["id"] for hit in search_everything(api, "retry harbour", **condition)] == [saved]
    assert search_everything(api, "retry harbour", user_id="bob", filters={"tags": ["old"]}) == []


def test_expired_memories_are_not_found(api):
    pk = api.add(HARBOUR_TEXT)["id"]
    Memory.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert search_everything(api, "harbour") == []


def test_other_namespaces_are_not_found(api, outsider, namespace):
    insert_insight(namespace, HARBOUR_TEXT, "web")
    assert search_everything(outsider, "harbour", project="web") == []


# Projects


def test_hits_are_ranked_by_relation(api):
    add_dependency(api, "api", "web")
    add_group(api, "shop", "web", "shop")
    for project in ("strange", "shop", "api", "web"):
        api.add(f"The harbour is open: {project}.", repo_id=project)
    api.add("The harbour is open: nobody.")
    hits = search_everything(api, "harbour open", project="web")
    assert [hit["project"] for hit in hits[:3]] == ["web", "api", "shop"]
    assert {hit["project"] for hit in hits[3:]} == {"strange", None}
    assert [hit["relation"] for hit in hits] == ["current", "dependency", "group", None, None]
    assert [hit["is_current_project"] for hit in hits] == [True, False, False, False, False]
    weights = [hit["score"] / hits[0]["score"] for hit in hits]
    assert weights == pytest.approx([1, 0.9, 0.8, 0.7, 0.7])


def test_insight_shows_its_nearest_project(api, namespace):
    add_dependency(api, "web", "api")
    insert_insight(namespace, OTHER_TEXT, "strange", "api")
    insert_insight(namespace, "Harbour masters like tea at five.", "unknown", "strange")
    first, second = search_everything(api, "harbour", project="web")
    assert (first["project"], first["relation"]) == ("api", "dependency")
    assert (second["project"], second["relation"]) == ("unknown", None)


def test_much_better_hit_of_another_project_ranks_first(api):
    api.add("The harbour is blue.", repo_id="web")
    api.add("Retry with backoff when the harbour master is away.", repo_id="strange")
    hits = search_everything(api, "retry backoff harbour master", project="web")
    assert [hit["project"] for hit in hits] == ["strange", "web"]


# Deduplication by content


def test_the_same_content_is_one_hit(api, namespace):
    add_in_each_project(api, OTHER_TEXT, "web", "api")
    api.add(OTHER_TEXT, memory_type="rag")
    insert_insight(namespace, OTHER_TEXT, "shop")
    api.add(HARBOUR_TEXT)
    tasks.embed_due()
    assert Memory.objects.filter(content=OTHER_TEXT).count() == 4
    for fields in ({}, {"mode": "vector"}, {"mode": "text"}, {"project": "web"}, {"limit": 2}):
        assert sorted(list_contents(search_everything(api, "harbour", **fields))) == sorted([OTHER_TEXT, HARBOUR_TEXT])


def test_best_scored_of_the_same_content_is_shown(api, namespace):
    add_dependency(api, "web", "api")
    add_in_each_project(api, OTHER_TEXT, "strange", "api", "else")
    insert_insight(namespace, OTHER_TEXT, "far")
    [hit] = search_everything(api, "harbour", project="web")
    assert (hit["project"], hit["relation"]) == ("api", "dependency")
    insert_insight(namespace, OTHER_TEXT, "web")  # merged into the insight
    [hit] = search_everything(api, "harbour", project="web")
    assert (hit["source"], hit["project"], hit["relation"]) == ("insights", "web", "current")


def test_shown_hit_matches_the_filters(api):
    add_in_each_project(api, OTHER_TEXT, "web", "api")
    [hit] = search_everything(api, "harbour", user_id="user of api")
    assert hit["project"] == "api"


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_same_content_takes_no_place_of_other_hits(api, mode):
    """Even when it fills all candidates of the first statement."""
    add_in_each_project(api, HARBOUR_TEXT, *(f"project {n}" for n in range(70)))
    others = {api.add(f"Somewhere there is a harbour, number {n}, and much else of no use.")["id"] for n in range(12)}
    tasks.embed_due()
    hits = search_everything(api, "retry with backoff when the harbour answers slowly", limit=10, mode=mode)
    assert len(hits) == 10
    assert list_contents(hits)[0] == HARBOUR_TEXT
    assert {hit["memory"]["id"] for hit in hits[1:]} < others


def test_same_content_takes_no_place_with_the_vector_index(api, everything_is_large):  # noqa: F811
    same = [{"content": "step 0 the same", "vector": build_unit_vector(1), "user_id": f"user {n}"} for n in range(70)]
    assert api.post("/memories/bulk", {"memories": same}).status_code == 201
    add_vectors(api, 12)
    hits = search_everything(
        api, "nothing of the kind", vector=build_unit_vector(1), mode="vector", limit=10, explain=True
    )
    assert not any(hit["explain"]["exact"] for hit in hits)
    assert sorted(list_steps({"results": hits})) == [0, *range(9)]


# Statement counts, errors


def test_search_takes_one_statement(api, takes, namespace):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    insert_insight(namespace, OTHER_TEXT, "web")
    tasks.embed_due()
    with takes(1):
        search_everything(api, "harbour")
    with takes(1):
        search_everything(api, "harbour", project="web")


def test_search_takes_a_second_statement_if_duplicates_filled_it(api, takes):
    add_in_each_project(api, HARBOUR_TEXT, *(f"project {n}" for n in range(60)))
    api.add(OTHER_TEXT)
    tasks.embed_due()
    with takes(2):
        assert len(search_everything(api, "harbour", limit=10)) == 2


def test_a_plain_search_still_shows_every_memory_in_one_statement(api, takes):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    with takes(1), CaptureQueriesContext(connection) as queries:
        assert len(api.search("harbour")["results"]) == 2
    assert "DISTINCT ON" not in queries[-1]["sql"]


def test_query_is_embedded_once(api, embedder):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    watched = embedder("Watched")
    search_everything(api, "harbour", project="web")
    assert watched.texts == ["harbour"]


def test_search_degrades_to_words_without_an_embedder(api, embedder):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    embedder("Away")
    answer = api.post("/search", {"query": "harbour"}).json()
    assert (answer["degraded"], list_contents(answer["results"])) == (True, [HARBOUR_TEXT])
    given = api.post("/search", {"query": "harbour", "vector": build_unit_vector(1)}).json()
    assert (given["degraded"], list_contents(given["results"])) == (False, [HARBOUR_TEXT])


def test_readers_may_search_and_nothing_changes(api, reader, namespace):
    insert_insight(namespace, HARBOUR_TEXT, "web")
    before = fingerprint_tables(namespace.pk)
    assert search_everything(reader, "harbour", project="web")
    assert fingerprint_tables(namespace.pk) == before


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"query": ""}, "query"), ({"query": None}, "query"), ({"limit": 101}, "limit"), ({"project": ""}, "project"),
        ({"memory_types": []}, "memory_types"), ({"memory_types": ["joke"]}, "memory_types.0"),
        ({"filters": {"colour": "red"}}, "filters.colour"), ({"repo_id": "web"}, "repo_id"),
        ({"threshold": 2}, "threshold"), ({"user_id": "a", "filters": {"user_id": "a"}}, "filters.user_id"),
    ],
)  # fmt: skip
def test_invalid_searches_are_refused(api, wrong, field):
    response = api.post("/search", {"query": "harbour"} | wrong)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}


def test_star_is_an_ordinary_query(api):
    api.add(HARBOUR_TEXT)
    assert search_everything(api, "*") == []
