"""A memory under the caller's own key: created, replaced, read and deleted by it; and with the caller's own id."""

from random import Random
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection

from memories import tasks
from memories.history.models import MemoryVersion
from memories.insights.models import Insight
from memories.models import DueEmbedding, Embedding, Memory
from tests.memories.insights.samples import LAZY_LESSON, mark_insights
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db
KEY, TEXT, NEW_TEXT = "style", "Ada prefers short answers.", "Ada prefers long answers."
LABELS = {"summary": "Style", "data": {"a": 1}, "metadata": {"b": 2}, "tags": ["x"], "agent_id": "planner"}
UNIT_VECTOR = [1.0] + [0.0] * 767


def put(api, name: str, content: str, query: str = "", **fields):
    return api.call("PUT", f"/memories/by-key/{name}{query}", {"content": content, **fields})


def get(api, key: str, query: str = ""):
    return api.get(f"/memories/by-key/{key}{query}")


def without(memory: dict, *names: str) -> dict:
    return {name: value for name, value in memory.items() if name not in names}


def test_put_creates_and_then_replaces(api):
    created = put(api, KEY, TEXT, "?user_id=ada", **LABELS, importance=5, created_at="2020-01-01T00:00:00Z")
    assert (created.status_code, created.json()["created"], created.json()["key"]) == (201, True, KEY)
    replaced = put(api, KEY, NEW_TEXT, "?user_id=ada", tags=["y"], created_at="2021-01-01T00:00:00Z")
    memory = replaced.json()
    assert (replaced.status_code, memory["created"]) == (200, False)
    assert (memory["id"], memory["created_at"]) == (created.json()["id"], "2020-01-01T00:00:00Z")
    expected = {"content": NEW_TEXT, "summary": None, "data": None, "metadata": {}, "tags": ["y"], "agent_id": None}
    assert {name: memory[name] for name in expected} == expected
    assert (memory["importance"], memory["confidence"], memory["user_id"]) == (3, 1.0, "ada")
    assert get(api, KEY, "?user_id=ada").json() == without(memory, "created")


@pytest.mark.parametrize("query", ["", "?user_id=ada"])
def test_put_is_one_statement(api, takes, query):
    for content in (TEXT, NEW_TEXT):
        with takes(1):
            put(api, KEY, content, query)
    with takes(1):
        get(api, KEY, query)


def test_key_belongs_to_one_user_and_namespace(api, outsider):
    of_ada, of_nobody = put(api, KEY, TEXT, "?user_id=ada").json(), put(api, KEY, TEXT).json()
    assert put(outsider, KEY, TEXT, "?user_id=ada").status_code == 201
    assert of_ada["id"] != of_nobody["id"]
    assert get(api, KEY, "?user_id=ada").json()["id"] == of_ada["id"]
    assert get(api, KEY).json()["id"] == of_nobody["id"]
    assert is_problem(get(api, KEY, "?user_id=bob"), 404)
    assert outsider.delete(f"/memories/by-key/{KEY}").status_code == 404


def test_the_same_content_is_never_merged(api):
    plain, keyed = api.add(TEXT), put(api, KEY, TEXT).json()
    other = put(api, "other", TEXT).json()
    assert len({each["id"] for each in (plain, keyed, other, api.add(TEXT))}) == 3
    assert api.add(TEXT)["id"] == plain["id"]


def test_delete_by_key(api):
    memory = put(api, KEY, TEXT).json()
    assert api.delete(f"/memories/by-key/{KEY}").status_code == 204
    assert is_problem(get(api, KEY), 404)
    assert is_problem(api.delete(f"/memories/by-key/{KEY}"), 404)
    assert [row["id"] for row in api.get("/trash").json()["results"]] == [memory["id"]]


HOSTILE_KEYS = [
    "a/b", "/memories/notes.md", "a//b", "a/", "//", ".", "..", "a/../b", "./x", "100%", "%2F", "a b", " ", "?q=1&x#y",
    "line\nbreak", "tab\t", "\x1f", "ß日本語🙂", "e\u0301", "history", "state", "x/history", "restore", "recall",
    "x" * 512, "🙂" * 512, "'; DROP TABLE--", "a\\b", "_", "{}", ";a=1", "\u202e",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
def test_every_key_works_in_the_address_and_in_a_body(api, key):
    address = quote(key, safe="")
    stored = put(api, address, TEXT)
    assert (stored.status_code, stored.json()["key"]) == (201, key)
    assert get(api, address).json()["id"] == stored.json()["id"]
    assert api.add(NEW_TEXT, key=key)["id"] == stored.json()["id"]
    assert [each["key"] for each in api.get(f"/memories?keys={address}").json()["results"]] == [key]
    assert api.delete(f"/memories/by-key/{address}").status_code == 204


@pytest.mark.parametrize("key", ["%00", "a%00b", "x" * 513, "%F0%9F%99%82" * 513])
def test_key_that_cannot_be_stored_is_refused(api, key):
    for method, body in (("PUT", {"content": TEXT}), ("GET", None), ("DELETE", None)):
        response = api.call(method, f"/memories/by-key/{key}", body)
        assert is_problem(response, 422)
        assert list_blamed_fields(response) == {"key"}


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0", 5, []])
def test_key_in_a_body_is_checked(api, key):
    response = api.post("/memories", {"content": TEXT, "key": key})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"key"}


def test_key_that_is_too_long_with_its_user_is_refused(api):
    """An entry of a PostgreSQL index takes at most 2,704 bytes."""
    chosen = Random(7)
    user, key = ("".join(chr(chosen.randrange(0x20000, 0x2A000)) for _ in range(length)) for length in (255, 512))
    assert is_problem(put(api, quote(key, safe=""), TEXT, f"?user_id={quote(user)}"), 422)


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"key": "other"}, "key"),
        ({"key": None}, "key"),
        ({"user_id": "bob"}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"entity": {"system": "crm", "id": "1"}}, "entity"),
    ],
)
def test_put_refuses_what_contradicts_the_address(api, fields, blamed):
    response = put(api, KEY, TEXT, "?user_id=ada", **fields)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {blamed}
    assert Memory.objects.count() == 0


def test_put_may_repeat_its_address(api):
    assert put(api, KEY, TEXT, "?user_id=ada", key=KEY, user_id="ada").status_code == 201


def test_an_entity_has_no_key(api):
    entity = {"system": "crm", "id": "1"}
    assert list_blamed_fields(api.post("/memories", {"content": TEXT, "key": KEY, "entity": entity})) == {"entity"}
    described, keyed = api.add(TEXT, entity=entity), api.add(TEXT, key=KEY)
    for response in (
        api.patch(f"/memories/{described['id']}", {"key": "other"}),
        api.patch(f"/memories/{keyed['id']}", {"entity": entity | {"id": "2"}}),
    ):
        assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"entity"}
    changed = api.patch(f"/memories/{keyed['id']}", {"entity": entity | {"id": "2"}, "key": None})
    assert (changed.status_code, changed.json()["key"]) == (200, None)


def test_post_with_a_key_does_the_same_as_put(api):
    memory = put(api, KEY, TEXT, "?user_id=ada", **LABELS).json()
    posted = api.post("/memories", {"content": NEW_TEXT, "key": KEY, "user_id": "ada"})
    assert (posted.status_code, posted.json()["id"]) == (200, memory["id"])
    assert (posted.json()["content"], posted.json()["tags"], posted.json()["metadata"]) == (NEW_TEXT, [], {})


def test_bulk_keeps_the_last_of_a_key(api, takes):
    first = put(api, "a", "Once.").json()
    memories = [
        {"content": "One.", "key": "a"},
        {"content": "Plain."},
        {"content": "Two.", "key": "b"},
        {"content": "Three.", "key": "a"},
        {"content": "Two of Bob.", "key": "b", "user_id": "bob"},
    ]
    with takes(4):  # two statements between BEGIN and COMMIT
        answer = api.post("/memories/bulk", {"memories": memories}).json()
    assert (answer["created"], answer["existing"]) == (3, 2)
    assert answer["ids"][0] == answer["ids"][3] == first["id"]
    assert {m.key: m.content for m in Memory.objects.filter(user_id=None)} == {
        "a": "Three.",
        "b": "Two.",
        None: "Plain.",
    }


def test_replaced_key_of_a_bulk_replaces_nothing(api):
    old = api.add("Old.")
    memories = [{"content": "One.", "key": "a", "replaces": [old["id"]]}, {"content": "Two.", "key": "a"}]
    assert api.post("/memories/bulk", {"memories": memories}).status_code == 201
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"


def test_only_new_content_is_queued(api):
    memory = put(api, KEY, TEXT).json()
    tasks.embed_due()
    assert get(api, KEY).json()["embedded"] is True
    assert put(api, KEY, TEXT, importance=5).json()["embedded"] is True
    assert DueEmbedding.objects.count() == 0
    assert put(api, KEY, NEW_TEXT).json()["embedded"] is False
    assert [str(row.memory_id) for row in DueEmbedding.objects.all()] == [memory["id"]]


def test_vector_of_the_caller_is_kept(api):
    put(api, KEY, TEXT)
    tasks.embed_due()
    memory = put(api, KEY, NEW_TEXT, vector=UNIT_VECTOR).json()
    assert memory["embedded"] is True
    assert Embedding.objects.get().vector[:2] == [1.0, 0.0]


def test_history_keeps_what_was_replaced(api):
    memory = put(api, KEY, TEXT, **LABELS).json()
    put(api, KEY, NEW_TEXT)
    put(api, KEY, NEW_TEXT)  # changes nothing
    [version] = api.get(f"/memories/{memory['id']}/history").json()["results"]
    assert (version["memory"]["content"], version["memory"]["tags"], version["memory"]["key"]) == (TEXT, ["x"], KEY)
    assert "revision" not in version["memory"]


def test_expired_memory_makes_way_for_a_new_one(api):
    expired = put(api, KEY, TEXT, ttl_seconds=60).json()
    put(api, KEY, TEXT, ttl_seconds=50)
    Memory.objects.filter(pk=expired["id"]).update(expires_at="2020-01-01T00:00:00Z")
    created = put(api, KEY, NEW_TEXT)
    assert (created.status_code, created.json()["created"]) == (201, True)
    assert created.json()["id"] != expired["id"]
    assert MemoryVersion.objects.count() == 0  # nothing is left of what has expired


def test_put_brings_a_superseded_memory_back_and_leaves_a_quarantined_one(api):
    memory = put(api, KEY, TEXT, "?user_id=ada").json()
    other = api.add("Another.", user_id="ada", replaces=[memory["id"]])
    assert get(api, KEY, "?user_id=ada").json()["superseded_by"] == other["id"]
    back = put(api, KEY, NEW_TEXT, "?user_id=ada").json()
    assert (back["id"], back["state"], back["superseded_by"]) == (memory["id"], "active", None)
    Memory.objects.filter(pk=memory["id"]).update(state="quarantined")
    assert put(api, KEY, TEXT, "?user_id=ada").json()["state"] == "quarantined"


def test_put_replaces_others_and_marks_insights(api):
    old = api.add("Old.")
    memory = put(api, KEY, mark_insights(LAZY_LESSON), replaces=[old["id"]]).json()
    assert api.get(f"/memories/{old['id']}").json()["superseded_by"] == memory["id"]
    assert len(memory["insights"]) == 1


def test_insight_with_a_key_is_one_of_its_own(api):
    text = "Retries need a limit, or a server that is away takes all workers with it."
    plain = api.add(text, memory_type="insight")
    keyed = put(api, KEY, text, memory_type="insight").json()
    assert keyed["id"] != plain["id"]
    assert Insight.objects.count() == 2
    put(api, KEY, text)  # an agent's memory from now on
    assert [str(row.pk) for row in Insight.objects.all()] == [plain["id"]]
    put(api, KEY, text, memory_type="insight")
    assert Insight.objects.count() == 2


def test_patch_sets_and_clears_a_key(api):
    memory, other = api.add(TEXT), api.add("Other.", key="taken")
    path = f"/memories/{memory['id']}"
    assert api.patch(path, {"key": KEY}).json()["key"] == KEY
    assert get(api, KEY).json()["id"] == memory["id"]
    clash = api.patch(path, {"key": "taken"})
    assert is_problem(clash, 409)
    assert clash.json()["detail"] == "Another memory of this user has the same key."
    assert api.patch(path, {"key": None}).json()["key"] is None
    assert is_problem(get(api, KEY), 404)
    assert api.patch(f"/memories/{other['id']}", {"content": TEXT}).status_code == 200  # it has a key
    assert is_problem(api.patch(f"/memories/{other['id']}", {"key": None}), 409)  # and is the same without


def test_expired_key_is_no_obstacle_to_a_patch(api):
    put(api, KEY, TEXT, ttl_seconds=60)
    Memory.objects.update(expires_at="2020-01-01T00:00:00Z")
    memory = api.add(NEW_TEXT)
    assert api.patch(f"/memories/{memory['id']}", {"key": KEY}).status_code == 200


def test_filters_by_key(api):
    keys = ["notes/a", "notes/b", "notes_/a", "noted", "n%", "Notes/a"]
    for key in keys:
        put(api, quote(key, safe=""), f"A kumquat for {key}.", "?user_id=ada")
    api.add("Without a key.")

    def listed(query: str) -> set[str]:
        return {memory["key"] for memory in api.get(f"/memories?{query}").json()["results"]}

    assert listed("key_prefix=notes/") == {"notes/a", "notes/b"}
    assert listed("key_prefix=notes_") == {"notes_/a"}
    assert listed("key_prefix=n%25") == {"n%"}
    assert listed("key_prefix=note") == {"notes/a", "notes/b", "notes_/a", "noted"}
    assert listed("keys=noted&keys=n%25") == {"noted", "n%"}
    assert listed("keys=noted&user_id=bob") == set()
    found = api.search("kumquat", filters={"key_prefix": "notes/", "user_id": "ada"}, mode="text")["results"]
    assert {hit["memory"]["key"] for hit in found} == {"notes/a", "notes/b"}
    gone = api.post("/memories/delete", {"filters": {"keys": ["noted"]}}).json()
    assert gone == {"matched": 1, "deleted": 1}


def test_the_index_finds_keys_and_their_beginnings(api, namespace):
    rows = [
        Memory(namespace=namespace, content=f"{n}.", source_system="t", user_id="ada", key=f"k/{n}")
        for n in range(2000)
    ]
    Memory.objects.bulk_create(rows)
    mine = Memory.objects.in_namespace(namespace.pk).filter(user_id="ada")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_memory")
    for found in (mine.filter(key__startswith="k/19_"), mine.filter(key__startswith="k/199"), mine.filter(key="k/7")):
        plan = found.explain()
        assert "memory_has_its_key" in plan, plan
        assert "Index Cond" in plan and "key" in plan.partition("Index Cond")[2].partition("\n")[0], plan


# The caller's own id


def test_memory_gets_the_id_of_its_caller(api):
    own = str(uuid4())
    memory = api.post("/memories", {"content": TEXT, "id": own})
    assert (memory.status_code, memory.json()["id"]) == (201, own)
    again = api.post("/memories", {"content": TEXT, "id": own})
    assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, own)


def test_replay_with_id_and_key_is_harmless(api):
    own = str(uuid4())
    for status in (201, 200, 200):
        response = put(api, KEY, TEXT, id=own)
        assert (response.status_code, response.json()["id"]) == (status, own)
    assert is_problem(put(api, KEY, TEXT, id=str(uuid4())), 409)  # the memory with this key keeps its id


@pytest.mark.parametrize("fields", [{}, {"key": "other"}, {"entity": {"system": "crm", "id": "1"}}])
def test_taken_id_is_a_conflict(api, fields):
    taken = api.add(TEXT, key=KEY)
    response = api.post("/memories", {"content": NEW_TEXT, "id": taken["id"], **fields})
    assert is_problem(response, 409)
    assert response.json()["detail"] == "A memory with its id is there already."
    assert api.get(f"/memories/{taken['id']}").json()["content"] == TEXT
    assert Memory.objects.count() == 1


def test_same_content_under_another_id_is_a_conflict(api):
    stored = api.add(TEXT)
    response = api.post("/memories", {"content": TEXT, "id": str(uuid4()), "tags": ["new"]})
    assert is_problem(response, 409)
    assert stored["id"] in response.json()["detail"]
    assert api.get(f"/memories/{stored['id']}").json() == without(stored, "created")
    bulk = api.post("/memories/bulk", {"memories": [{"content": "New."}, {"content": TEXT, "id": str(uuid4())}]})
    assert is_problem(bulk, 409)
    assert Memory.objects.count() == 1


def test_id_of_another_namespace_is_free(api, outsider):
    own = str(uuid4())
    for caller in (api, outsider):
        assert caller.post("/memories", {"content": TEXT, "id": own}).status_code == 201
    assert outsider.patch(f"/memories/{own}", {"content": NEW_TEXT}).status_code == 200
    assert api.get(f"/memories/{own}").json()["content"] == TEXT


def test_id_of_an_expired_memory_is_free(api):
    own = str(uuid4())
    api.post("/memories", {"content": TEXT, "id": own, "ttl_seconds": 60})
    Memory.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert api.post("/memories", {"content": NEW_TEXT, "id": own}).status_code == 201


def test_bulk_with_ids_of_the_caller(api):
    memories = [{"content": f"{n}.", "id": str(uuid4())} for n in range(3)]
    for created in (3, 0):
        answer = api.post("/memories/bulk", {"memories": memories}).json()
        assert (answer["created"], answer["ids"]) == (created, [each["id"] for each in memories])


@pytest.mark.parametrize("value", ["x", 5, "00000000"])
def test_id_must_be_a_uuid(api, value):
    assert list_blamed_fields(api.post("/memories", {"content": TEXT, "id": value})) == {"id"}
