"""A superseded memory: hidden from everything that finds memories, readable by id, and brought back."""

from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection

from memories import tasks
from memories.graph.models import Relationship
from memories.models import DueEmbedding, Embedding, Memory
from memories.users.statistics import refresh_statistics_view
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
OLD, NEW = "The harbour closes at six.", "The harbour closes at seven, says the harbour master."
LABELS = {"user_id": "ada", "tags": ["port"], "metadata": {"important": True}}


@pytest.fixture
def both(api) -> tuple[dict, dict]:
    """A superseded memory with its vector made before, and the one that replaced it."""
    old = api.add(OLD, **LABELS, repo_id="site")
    tasks.embed_due()
    new = api.add(NEW, user_id="ada", replaces=[old["id"]])
    tasks.embed_due()
    return old, new


def supersede(api, old: dict, new: dict):
    return api.post(f"/memories/{old['id']}/supersede", {"by": new["id"]})


def list_ids(api, query: str = "") -> list[str]:
    return [memory["id"] for memory in api.get(f"/memories{query}").json()["results"]]


def test_new_memory_is_active(api):
    memory = api.add(OLD)
    assert (memory["state"], memory["superseded_by"]) == ("active", None)


def test_superseded_memory_is_readable_by_id(api, both):
    old, new = both
    read = api.get(f"/memories/{old['id']}").json()
    assert (read["content"], read["state"], read["superseded_by"]) == (OLD, "superseded", new["id"])
    assert read["embedded"] is False


@pytest.mark.parametrize("query", ["", "?user_id=ada", "?tags=port", "?important=true", "?ids={id}", "?repo_id=site"])
def test_superseded_memory_is_listed_on_request(api, both, query):
    old, _ = both
    query = query.format(**old)
    assert old["id"] not in list_ids(api, query)
    joint = "&" if query else "?"
    assert list_ids(api, f"{query}{joint}states=superseded") == [old["id"]]
    assert old["id"] in list_ids(api, f"{query}{joint}states=superseded&states=active")


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize("filters", [None, {"user_id": "ada"}, {"tags": ["port"]}, {"ids": True}])
def test_superseded_memory_is_not_found(api, both, mode, filters):
    filters = {"ids": [both[0]["id"]]} if filters == {"ids": True} else filters
    for path in ("/memories/search", "/memories/recall"):
        hits = api.post(path, {"query": OLD, "mode": mode, "filters": filters}).json()["results"]
        assert both[0]["id"] not in [hit["memory"]["id"] for hit in hits]


def test_search_finds_superseded_memories_by_words_on_request(api, both):
    old, new = both
    found = api.search("harbour closes", filters={"states": ["superseded"]})["results"]
    assert [(hit["memory"]["id"], hit["found_by"]) for hit in found] == [(old["id"], ["words"])]
    found = api.search("harbour closes", filters={"states": ["superseded", "active"]})["results"]
    assert {hit["memory"]["id"] for hit in found} == {old["id"], new["id"]}


PLACES = {
    "retrieve": ("POST", "/users/ada/retrieve", {"query": OLD}),
    "unified": ("POST", "/search", {"query": OLD}),
    "context": ("POST", "/context", {"query": OLD, "user_id": "ada"}),
    "projects": ("POST", "/projects/search", {"query": OLD, "project": "site"}),
    "user": ("GET", "/users/ada/memories", None),
}


@pytest.mark.parametrize("place", PLACES)
def test_superseded_memory_appears_nowhere(api, both, place):
    """Neither its id nor its text; the other memory shows that the answer is not empty for another reason."""
    old, new = both
    api.add("The site is deployed from the main branch of the harbour.", repo_id="site")
    method, path, body = PLACES[place]
    text = api.call(method, path, body).content.decode()
    assert old["id"] not in text and OLD not in text
    assert new["id"] in text or "harbour" in text


def test_superseded_chunk_is_not_found_as_knowledge(api):
    old, new = (api.add(text, memory_type="rag", repo_id="site") for text in (OLD, NEW))
    supersede(api, old, new)
    hits = api.post("/knowledge/query", {"query": OLD, "repo_id": "site"}).json()["results"]
    assert [hit["memory"]["id"] for hit in hits] == [new["id"]]


def test_superseded_insight_is_in_no_search_and_no_statistics(api):
    old = api.post("/insights", {"content": "Always close the harbour gate before the tide turns at six."}).json()
    new = api.post(
        "/insights", {"content": "Leave the market by the northern road, it is the shorter way home."}
    ).json()
    assert supersede(api, old, new).status_code == 200
    for query in ("*", "harbour gate tide"):
        hits = api.post("/insights/search", {"query": query}).json()["results"]
        assert old["id"] not in [hit["insight"]["id"] for hit in hits]
    assert api.get("/insights/statistics").json()["total"] == 1
    assert is_problem(api.post(f"/insights/{old['id']}/use"), 404)


def test_stored_again_superseded_insight_is_active(api):
    text = "Always close the harbour gate before the tide turns at six."
    old = api.post("/insights", {"content": text}).json()
    supersede(api, old, api.add("No gate."))
    again = api.post("/insights", {"content": text.upper()}).json()
    assert again["id"] == old["id"]
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"


def test_superseded_memory_counts_for_nobody(api, both):
    assert api.get("/users/ada").json()["memories"] == 1
    assert api.get("/summary").json()["by_user"] == {"ada": 1}
    refresh_statistics_view()
    with connection.cursor() as cursor:
        cursor.execute("SELECT memories FROM graph_userstatistics")
        assert cursor.fetchall() == [(1,)]


def test_relationships_are_hidden_and_come_back(api):
    old, new, third = (api.add(text, user_id="ada") for text in (OLD, NEW, "The tide turns."))
    api.post(f"/memories/{third['id']}/relationships", {"to_id": old["id"], "type": "relates_to"})
    api.post(f"/memories/{new['id']}/relationships", {"to_id": third["id"], "type": "relates_to"})
    before = api.get("/users/ada/graph").json()
    assert (before["memories"], before["relationships"]) == (3, 2)
    supersede(api, old, new)
    graph = api.get("/users/ada/graph").json()
    assert (graph["memories"], graph["relationships"]) == (2, 1)
    assert len(api.get(f"/memories/{third['id']}/relationships").json()["results"]) == 1
    related = api.get(f"/memories/{third['id']}/related").json()["results"]
    assert [each["memory"]["id"] for each in related] == [new["id"]]
    api.post(f"/memories/{old['id']}/state", {"state": "active"})
    assert api.get("/users/ada/graph").json()["relationships"] == 2
    assert Relationship.objects.count() == 2


def test_superseded_memory_has_no_vector_until_it_is_restored(api, both):
    old, new = both
    assert [str(pk) for pk in Embedding.objects.values_list("memory_id", flat=True)] == [new["id"]]
    restored = api.post(f"/memories/{old['id']}/state", {"state": "active"}).json()
    assert (restored["state"], restored["superseded_by"], restored["embedded"]) == ("active", None, False)
    assert api.search(OLD, mode="text")["results"][0]["memory"]["id"] == old["id"]
    tasks.embed_due()
    assert api.search(OLD, mode="vector")["results"][0]["memory"]["id"] == old["id"]


def test_worker_stores_no_vector_of_a_memory_that_was_superseded_meanwhile(api):
    old, new = api.add(OLD), api.add(NEW)
    tasks.embed_due()
    stored = Embedding.objects.get(memory=old["id"])
    supersede(api, old, new)
    made = (stored.memory_id, bytes(stored.content_hash), stored.vector)
    assert Embedding.objects.write(stored.namespace_id, stored.model, [made]) == 0


def test_superseded_memory_is_not_queued_by_an_edit(api, both):
    old, _ = both
    assert api.patch(f"/memories/{old['id']}", {"content": "The harbour closed at six."}).status_code == 200
    assert not DueEmbedding.objects.exists()
    api.post(f"/memories/{old['id']}/state", {"state": "active"})
    assert [str(pk) for pk in DueEmbedding.objects.values_list("pk", flat=True)] == [old["id"]]


def test_stored_again_it_is_active(api, both):
    old, new = both
    again = api.add(OLD, user_id="ada")
    assert (again["id"], again["created"], again["state"], again["superseded_by"]) == (old["id"], False, "active", None)
    assert again["embedded"] is False
    assert {old["id"], new["id"]} <= set(list_ids(api))
    tasks.embed_due()
    assert api.add(OLD, user_id="ada")["embedded"] is True


def test_stored_again_in_a_bulk_it_is_active(api, both):
    old, _ = both
    answer = api.post("/memories/bulk", {"memories": [{"content": OLD, "user_id": "ada"}, {"content": "New."}]}).json()
    assert (answer["created"], answer["ids"][0]) == (1, old["id"])
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"


def test_superseded_entity_that_is_stored_again_is_active(api):
    entity = {"system": "jira", "id": "OPS-1"}
    old = api.add("The first account.", entity=entity)
    supersede(api, old, api.add("Another account."))
    again = api.add("The second account.", entity=entity)
    assert (again["id"], again["state"], again["content"]) == (old["id"], "active", "The second account.")


def test_what_is_held_back_stays_so_when_stored_again(api):
    memory = api.add(OLD)
    Memory.objects.update(state="quarantined")
    again = api.add(OLD)
    assert (again["id"], again["state"], again["embedded"]) == (memory["id"], "quarantined", False)
    assert is_problem(api.post(f"/memories/{memory['id']}/state", {"state": "active"}), 409)


def test_bulk_replaces_in_the_order_of_the_request(api):
    first = api.add("one")
    second, third = ({"content": content} for content in ("two", "three"))
    ids = api.post("/memories/bulk", {"memories": [second | {"replaces": [first["id"]]}, third]}).json()["ids"]
    last = api.post("/memories/bulk", {"memories": [{"content": "four", "replaces": ids}]}).json()["ids"]
    assert list_ids(api) == last
    assert api.get(f"/memories/{first['id']}").json()["superseded_by"] == ids[0]
    assert api.get(f"/memories/{ids[0]}").json()["superseded_by"] == last[0]


def test_replacing_again_by_the_same_changes_nothing(api, both):
    old, new = both
    before = Memory.objects.get(pk=old["id"])
    assert supersede(api, old, new).status_code == 200
    again = api.add(NEW, user_id="ada", replaces=[old["id"]])
    assert (again["id"], again["created"]) == (new["id"], False)
    assert Memory.objects.get(pk=old["id"]).updated_at == before.updated_at


@pytest.mark.parametrize("way", ["replaces", "bulk", "supersede"])
class TestRefusals:
    """Nothing is stored and nothing hidden."""

    def attempt(self, api, way: str, old_id: str, new: dict):
        if way == "supersede":
            return api.post(f"/memories/{old_id}/supersede", {"by": new["id"]})
        body = {"content": NEW, "user_id": "ada", "replaces": [old_id]}
        path = "/memories" if way == "replaces" else "/memories/bulk"
        return api.post(path, body if way == "replaces" else {"memories": [body]})

    def check(self, api, response, status: int) -> None:
        assert is_problem(response, status), response.content
        assert not Memory.objects.filter(state="superseded").exclude(content="done").exists()

    def test_itself(self, api, way):
        new = api.add(NEW, user_id="ada")
        self.check(api, self.attempt(api, way, new["id"], new), 422)

    def test_memory_of_another_user(self, api, way):
        new, other = api.add(NEW, user_id="ada"), api.add(OLD, user_id="bob")
        self.check(api, self.attempt(api, way, other["id"], new), 422)

    def test_memory_of_another_namespace(self, api, outsider, way):
        new, foreign = api.add(NEW, user_id="ada"), outsider.add(OLD, user_id="ada")
        self.check(api, self.attempt(api, way, foreign["id"], new), 404 if way == "supersede" else 422)
        if way == "supersede":
            self.check(api, self.attempt(api, way, new["id"], foreign), 422)

    def test_memory_that_is_not_there(self, api, way):
        new = api.add(NEW, user_id="ada")
        self.check(api, self.attempt(api, way, str(uuid4()), new), 404 if way == "supersede" else 422)

    def test_memory_that_another_one_replaced(self, api, way):
        done, by, new = (api.add(text, user_id="ada") for text in ("done", "by", NEW))
        supersede(api, done, by)
        response = self.attempt(api, way, done["id"], new)
        self.check(api, response, 409)
        assert by["id"] in response.json()["detail"]


def test_circle_is_refused(api, both):
    old, new = both
    assert is_problem(supersede(api, new, old), 409)
    assert api.get(f"/memories/{new['id']}").json()["state"] == "active"


def test_replaced_memory_cannot_replace(api, both):
    old, _ = both
    assert is_problem(supersede(api, api.add("Another.", user_id="ada"), old), 409)


@pytest.mark.parametrize("state", ["superseded", "pending", "quarantined", "nonsense", None])
def test_state_can_only_become_active(api, both, state):
    assert is_problem(api.post(f"/memories/{both[1]['id']}/state", {"state": state}), 422)


def test_reader_changes_no_state(api, reader, both):
    assert is_problem(supersede(reader, both[1], both[0]), 403)
    assert is_problem(reader.post(f"/memories/{both[0]['id']}/state", {"state": "active"}), 403)


def test_outsider_changes_no_state(both, outsider):
    assert is_problem(supersede(outsider, both[1], both[0]), 404)
    assert is_problem(outsider.post(f"/memories/{both[0]['id']}/state", {"state": "active"}), 404)


def test_deleting_by_filter_takes_the_active_ones_unless_asked(api, both):
    _, new = both

    def count(**filters):
        return api.post("/memories/delete", {"filters": filters, "dry_run": True}).json()["matched"]

    assert count(user_id="ada") == 1
    assert count(user_id="ada", states=["superseded", "active"]) == 2
    assert count(states=["superseded"]) == 1
    refused = api.post("/memories/delete", {"filters": {"states": ["active", "superseded"]}})
    assert is_problem(refused, 422)
    assert api.post("/memories/delete", {"filters": {"states": ["superseded"]}}).json()["deleted"] == 1
    assert list_ids(api) == [new["id"]]


def test_superseded_memory_can_be_deleted_by_id(api, both):
    assert api.delete(f"/memories/{both[0]['id']}").status_code == 204


def test_link_survives_that_the_successor_is_deleted(api, both):
    old, new = both
    api.delete(f"/memories/{new['id']}")
    read = api.get(f"/memories/{old['id']}").json()
    assert (read["state"], read["superseded_by"]) == ("superseded", new["id"])


def test_user_is_erased_with_superseded_memories(api, both):
    assert api.delete("/users/ada").status_code == 200
    assert not Memory.objects.exists()


def test_superseded_memories_expire(api, both):
    Memory.objects.update(expires_at="2026-01-01T00:00Z")
    assert is_problem(api.get(f"/memories/{both[0]['id']}"), 404)
    assert tasks.delete_expired() == 2


def test_export_and_import_keep_the_link(api, both, namespace, elsewhere, tmp_path):
    old, new = both
    api.post(f"/memories/{old['id']}/relationships", {"to_id": new["id"], "type": "relates_to"})
    file = tmp_path / "export.jsonl"
    call_command("export_memories", str(file), "--namespace", namespace.name)
    call_command("import_memories", str(file), "--namespace", elsewhere.name)
    copied = {memory.content: memory for memory in Memory.objects.filter(namespace=elsewhere)}
    assert copied[OLD].state == "superseded"
    assert copied[OLD].superseded_by == copied[NEW].pk
    assert str(copied[NEW].pk) != new["id"]
    assert not DueEmbedding.objects.filter(memory_id=copied[OLD].pk).exists()


def test_rows_of_the_api_that_postgresql_formats_have_the_state(api, both):
    memories = api.get("/users/ada/memories").json()["memories"]
    assert [(each["state"], each["superseded_by"], each["embedded"]) for each in memories] == [("active", None, True)]
