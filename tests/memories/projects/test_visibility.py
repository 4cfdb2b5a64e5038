"""What a project sees: its own memories, those of its dependencies and groups, and nothing else."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from memories import tasks
from memories.insights.models import ProjectGroup
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from memories.projects.visibility import VISIBLE_PROJECTS_SQL
from tests.memories.projects.helpers import (
    add_dependency,
    add_group,
    add_in_each_project,
    insert_insight,
    search_from_project,
)
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db
HARBOUR_TEXT = "Retry with backoff when the harbour answers slowly."
SECRET_PROJECT = "payments-secret-keys"


def map_relations(hits: list[dict]) -> dict[str, str]:
    """Return the relation of each hit by project."""
    return {hit["project"]: hit["relation"] for hit in hits}


@pytest.fixture
def neighbours(api) -> None:
    """web uses api, mail extends web, web and shop are one group; api's dependency far is two steps away."""
    add_dependency(api, "web", "api")
    add_dependency(api, "mail", "web", "extends")
    add_dependency(api, "api", "far")
    add_group(api, "shop", "web", "shop")


def test_project_sees_itself_its_dependencies_and_its_groups(api, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api", "mail", "shop", "far", "strange")
    api.add(HARBOUR_TEXT)
    hits = search_from_project(api, "web", "harbour")
    assert map_relations(hits) == {"web": "current", "api": "dependency", "mail": "dependency", "shop": "group"}
    assert {hit["memory"]["repo_id"] for hit in hits} == set(map_relations(hits))


def test_global_insight_is_visible_to_all_at_a_lower_weight(api, neighbours):
    body = {"content": HARBOUR_TEXT, "projects": ["strange"], "collection": "global"}
    assert api.post("/insights", body).status_code == 201
    add_in_each_project(api, HARBOUR_TEXT, "shop")
    hits = search_from_project(api, "web", "harbour")
    assert [(hit["project"], hit["relation"]) for hit in hits] == [("shop", "group"), ("strange", "global")]
    assert hits[1]["score"] / hits[0]["score"] == pytest.approx(0.7 / 0.8)
    assert api.get("/projects/patterns").status_code == 200


def test_hits_are_ranked_by_relation(api, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "shop", "mail", "api", "web")
    hits = search_from_project(api, "web", "harbour")
    assert [hit["relation"] for hit in hits] == ["current", "dependency", "dependency", "group"]
    assert [hit["is_current_project"] for hit in hits] == [True, False, False, False]
    scores = [hit["score"] / hits[0]["score"] for hit in hits]
    assert scores == pytest.approx([1, 0.9, 0.9, 0.8])
    assert {hit["text_rank"] for hit in hits} == {hits[0]["text_rank"]}


def test_much_better_hit_of_a_group_ranks_first(api, neighbours):
    add_in_each_project(api, "The harbour is blue.", "web")
    add_in_each_project(api, "Retry with backoff when the harbour master is away.", "shop")
    hits = search_from_project(api, "web", "retry backoff harbour master")
    assert [hit["project"] for hit in hits] == ["shop", "web"]


def test_closest_of_several_relations_counts(api):
    add_group(api, "shop", "web", "api")
    add_dependency(api, "api", "web")
    add_dependency(api, "api", "web", "extends")
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    hits = search_from_project(api, "web", "harbour")
    assert [(hit["project"], hit["relation"]) for hit in hits] == [("web", "current"), ("api", "dependency")]


def test_insight_is_visible_to_its_projects_and_their_dependencies(api, namespace, neighbours):
    pk = insert_insight(namespace, HARBOUR_TEXT, "strange", "api")
    for project, relation in (("api", "current"), ("strange", "current"), ("web", "dependency"), ("far", "dependency")):
        [hit] = search_from_project(api, project, "harbour")
        assert (hit["memory"]["id"], hit["relation"]) == (pk, relation)
        assert hit["project"] == ("strange" if project == "strange" else "api")
    assert search_from_project(api, "mail", "harbour") == []


def test_hit_shows_the_nearest_project_of_an_insight(api, namespace, neighbours):
    insert_insight(namespace, HARBOUR_TEXT, "shop", "mail", "unknown", "web")
    assert map_relations(search_from_project(api, "web", "harbour")) == {"web": "current"}


def test_insight_without_projects_is_invisible(api, namespace, neighbours):
    insert_insight(namespace, HARBOUR_TEXT)
    assert search_from_project(api, "web", "harbour") == []


def test_unknown_project_sees_only_itself(api, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    assert search_from_project(api, "new", "harbour") == []
    add_in_each_project(api, HARBOUR_TEXT, "new")
    assert map_relations(search_from_project(api, "new", "harbour")) == {"new": "current"}


@pytest.mark.parametrize("name", [SECRET_PROJECT, redact_project_name(SECRET_PROJECT)])
def test_project_with_a_secret_name_sees_its_insights(api, namespace, name):
    assert redact_project_name(SECRET_PROJECT) != SECRET_PROJECT
    pk = insert_insight(namespace, HARBOUR_TEXT, SECRET_PROJECT)
    [hit] = search_from_project(api, name, "harbour")
    assert (hit["memory"]["id"], hit["project"], hit["is_current_project"]) == (
        pk,
        redact_project_name(SECRET_PROJECT),
        True,
    )


def test_secret_name_matches_memories_and_insights(api, namespace):
    insert_insight(namespace, "The harbour opens at nine on weekdays only.", SECRET_PROJECT)
    add_in_each_project(api, HARBOUR_TEXT, SECRET_PROJECT, "web")
    add_dependency(api, "web", SECRET_PROJECT)
    assert map_relations(search_from_project(api, "web", "harbour")) == {
        "web": "current", redact_project_name(SECRET_PROJECT): "dependency", SECRET_PROJECT: "dependency"
    }  # fmt: skip
    assert map_relations(search_from_project(api, SECRET_PROJECT, "harbour")) == {
        "web": "dependency", redact_project_name(SECRET_PROJECT): "current", SECRET_PROJECT: "current"
    }  # fmt: skip


def test_secret_name_matches_groups_also_after_a_change(api, namespace):
    insert_insight(namespace, HARBOUR_TEXT, SECRET_PROJECT)
    made = add_group(api, "shop", "web")
    assert search_from_project(api, "web", "harbour") == []
    api.patch(f"/projects/groups/{made['id']}", {"projects": ["web", SECRET_PROJECT]})
    assert map_relations(search_from_project(api, "web", "harbour")) == {redact_project_name(SECRET_PROJECT): "group"}
    api.patch(f"/projects/groups/{made['id']}", {"description": "Shop."})
    assert map_relations(search_from_project(api, "web", "harbour")) == {redact_project_name(SECRET_PROJECT): "group"}
    add_group(api, "shop", "web")
    assert search_from_project(api, "web", "harbour") == []


def test_invisible_memories_take_no_place_of_hits_by_words(api, neighbours):
    for n in range(60):
        api.add("Retry with backoff when the harbour answers slowly.", user_id=f"user {n}", repo_id="strange")
    for n in range(12):
        api.add(f"The harbour, among many other words of no use to anybody, number {n}.", repo_id="api")
    hits = search_from_project(api, "web", "retry with backoff at the harbour", limit=10)
    assert len(hits) == 10
    assert map_relations(hits) == {"api": "dependency"}


def test_invisible_memories_take_no_place_of_hits_by_meaning(api, neighbours):
    for n in range(60):
        api.add(HARBOUR_TEXT, user_id=f"user {n}", repo_id="strange")
    for n in range(12):
        api.add(f"Something else altogether, number {n}.", repo_id="shop")
    tasks.embed_due()
    hits = search_from_project(api, "web", HARBOUR_TEXT, limit=10, mode="vector")
    assert len(hits) == 10
    assert map_relations(hits) == {"shop": "group"}


def test_expired_memories_are_invisible(api, namespace, neighbours):
    [pk] = add_in_each_project(api, HARBOUR_TEXT, "web")
    insight = insert_insight(namespace, "The harbour opens at nine on weekdays only.", "web")
    assert len(search_from_project(api, "web", "harbour")) == 2
    Memory.objects.filter(pk__in=[pk, insight]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert search_from_project(api, "web", "harbour") == []


def test_search_is_filtered_by_type(api, namespace, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "web")
    insert_insight(namespace, "The harbour opens at nine on weekdays only.", "web")
    for kind in ("agent", "insight"):
        [hit] = search_from_project(api, "web", "harbour", memory_types=[kind])
        assert hit["memory"]["memory_type"] == kind
    assert search_from_project(api, "web", "harbour", memory_types=["rag"]) == []


def test_min_similarity_leaves_hits_found_by_words(api):
    add_in_each_project(api, HARBOUR_TEXT, "web")
    add_in_each_project(api, "Cats sleep.", "web")
    tasks.embed_due()
    assert len(search_from_project(api, "web", "backoff", min_similarity=-1)) == 2
    [hit] = search_from_project(api, "web", "backoff", min_similarity=0.999)
    assert hit["found_by"] != ["meaning"]
    assert search_from_project(api, "web", "backoff", min_similarity=0.999, mode="vector") == []


def test_hit_is_the_whole_memory_with_its_scores(api):
    [pk] = add_in_each_project(api, HARBOUR_TEXT, "web")
    tasks.embed_due()
    [hit] = search_from_project(api, "web", HARBOUR_TEXT)
    assert hit["memory"] == api.get(f"/memories/{pk}").json()
    assert hit["found_by"] == ["meaning", "words"]
    assert hit["similarity"] == pytest.approx(1, abs=1e-3)
    assert 0 < hit["score"] <= 1


def test_groups_and_dependencies_of_another_namespace_do_not_count(api, outsider):
    add_dependency(outsider, "web", "api")
    add_group(outsider, "shop", "web", "shop")
    add_in_each_project(outsider, HARBOUR_TEXT, "web", "api")
    add_in_each_project(api, HARBOUR_TEXT, "api", "shop")
    assert search_from_project(api, "web", "harbour") == []
    assert map_relations(search_from_project(outsider, "web", "harbour")) == {"web": "current", "api": "dependency"}


def test_search_degrades_to_words_without_an_embedder(api, embedder):
    add_in_each_project(api, HARBOUR_TEXT, "web")
    embedder("Away")
    body = {"query": "harbour", "project": "web"}
    answer = api.post("/projects/search", body).json()
    assert answer["degraded"] is True
    assert [hit["found_by"] for hit in answer["results"]] == [["words"]]
    assert is_problem(api.post("/projects/search", body | {"mode": "vector"}), 503)


def test_search_takes_one_statement(api, takes, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "web", "api")
    tasks.embed_due()
    with takes(1):
        search_from_project(api, "web", "harbour")


def test_readers_may_search_and_nothing_changes(api, reader, namespace, neighbours):
    add_in_each_project(api, HARBOUR_TEXT, "web")
    before = fingerprint_tables(namespace.pk)
    assert search_from_project(reader, "web", "harbour")
    assert fingerprint_tables(namespace.pk) == before


@pytest.mark.parametrize(
    "wrong", [{"project": None}, {"project": ""}, {"query": ""}, {"limit": 101}, {"min_similarity": 2}, {"repo": "a"}],
    ids=str,
)  # fmt: skip
def test_invalid_searches_are_refused(api, wrong):
    assert is_problem(api.post("/projects/search", {"query": "harbour", "project": "web"} | wrong), 422)


def test_visible_projects_come_from_indexes(namespace):
    group = {"namespace": namespace, "metadata": {}}
    ProjectGroup.objects.bulk_create([ProjectGroup(name=f"g{n}", projects=[f"p{n}"], **group) for n in range(2000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE insights_projectgroup")
        cursor.execute("EXPLAIN " + VISIBLE_PROJECTS_SQL, {"namespace": namespace.pk, "names": ["p7", "p8"]})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "project_group_projects" in plan
