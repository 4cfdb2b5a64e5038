"""What only our store for LangGraph does: requests, many hits, refusals by name, users and namespaces."""

from typing import Any
from uuid import uuid4

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from memory_client import InvalidInput, MemoryClient, keyed
from memory_client.keyed import build_key
from memory_client.langgraph import MemorySiteStore
from tests.adapters.examples import run_example
from tests.adapters.langgraph_stores import embed
from tests.adapters.test_langgraph import AWKWARD, DOCS, fill, keys


@pytest.fixture
def ours(client) -> MemorySiteStore:
    return MemorySiteStore(client, name=uuid4().hex)


# Requests


class Counting:
    """A client that notes its requests."""

    def __init__(self, client: MemoryClient) -> None:
        self.client, self.paths, self.consistencies = client, [], []

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        self.paths.append(f"{method} {path}")
        self.consistencies.append((arguments.get("headers") or {}).get("X-Consistency"))
        return self.client.request(method, path, **arguments)


def test_batch_takes_one_request_for_each_kind_of_operation(client):
    counting = Counting(client)
    store = MemorySiteStore(counting, name=uuid4().hex)
    fill(store, **{f"key {number}": {"number": number} for number in range(40)})
    store.batch([*[GetOp(DOCS, f"key {number}") for number in range(40)], SearchOp(DOCS, query="tea")])
    store.batch([PutOp(DOCS, f"key {number}", None) for number in range(40)])
    assert counting.paths == [
        *("POST /memories/bulk", "GET /memories", "POST /memories/search", "POST /memories/delete"),
    ]
    assert counting.consistencies == [None, "strong", "strong", None]  # what was written is read at once
    assert store.search(DOCS) == store.list_namespaces() == []
    assert counting.consistencies[-2:] == ["strong", "strong"]


# Many hits


def test_more_hits_than_a_search_of_the_api_has(ours):
    fill(ours, **{f"key {number}": {"text": f"tea number {number}", "number": number} for number in range(105)})
    hits = ours.search(DOCS, query="tea number 7", limit=200)
    assert len({hit.key for hit in hits}) == len(hits) == 105
    assert hits[0].key == "key 7"
    assert sorted(hits, key=lambda hit: hit.score, reverse=True) == hits
    assert [hit.key for hit in hits[:100]] == [hit.key for hit in ours.search(DOCS, query="tea number 7", limit=100)]
    assert ours.search(DOCS, query="tea number 7", limit=10, offset=98) == hits[98:]
    bounded = MemorySiteStore(ours.memories.client, name=ours.memories.collection, max_scanned=104)
    with pytest.raises(ValueError, match="More than 104 items"):
        bounded.search(DOCS, query="tea number 7", limit=101)
    few = ours.search(DOCS, query="tea number 7", filter={"number": {"$lt": 103}}, limit=102)
    assert [hit.key for hit in few] == [hit.key for hit in hits if hit.value["number"] < 103][:102]


def test_any_number_of_items_may_meet_a_filter(ours, monkeypatch):
    monkeypatch.setattr(keyed, "MAX_SEARCHED_IDS", 4)
    fill(ours, **{f"key {number}": {"text": f"tea number {number}", "number": number} for number in range(12)})
    hits = ours.search(DOCS, query="tea number 7", filter={"number": {"$gte": 2}}, limit=3)
    everything = ours.search(DOCS, query="tea number 7", limit=12)
    assert hits == [hit for hit in everything if hit.value["number"] >= 2][:3]


# Time to live


def test_reading_changes_nothing_but_the_expiry(ours):
    ours.put(DOCS, "one", {"a": 1}, ttl=5)
    first = ours.get(DOCS, "one")
    assert ours.get(DOCS, "one") == first
    [memory] = ours.memories.iterate(ours.memories.filters())
    versions = ours.memories.client.request("GET", f"/memories/{memory['id']}/history")
    assert versions["results"] == []


def test_put_without_ttl_ends_an_earlier_one(ours):
    ours.put(DOCS, "one", {"a": 1}, ttl=5)
    ours.put(DOCS, "one", {"a": 1})
    [memory] = ours.memories.iterate(ours.memories.filters())
    assert memory["expires_at"] is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_ttl_must_be_above_zero(ours, ttl):
    with pytest.raises(ValueError, match="ttl"):
        ours.put(DOCS, "one", {"a": 1}, ttl=ttl)


# What is refused, by name


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"index": {"dims": 3, "embed": embed}}, "dims, embed"),
        ({"ttl": {"omit_expired": False}}, "omit_expired"),
        ({"ttl": {"default": 5}}, "default"),
    ],
    ids=str,
)
def test_options_without_effect_are_refused(client, options, named):
    with pytest.raises(ValueError, match=named):
        MemorySiteStore(client, **options)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": {"b": [float("nan")]}}, r"value\.a\.b\[0\]"),
        ({"a": {1: 2}}, r"value\.a"),
        ({"a": {1, 2}}, r"value\.a: set"),
        ({"a": b"x"}, r"value\.a: bytes"),
    ],
    ids=str,
)
def test_value_that_would_not_be_read_as_written_is_refused(ours, value, named):
    with pytest.raises(ValueError, match=named):
        ours.put(DOCS, "one", value)
    assert ours.search(DOCS) == []


@pytest.mark.parametrize(
    "value",
    [{"a": "x" * 70_000}, {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}, {"a": 2**53}, {"a": "\0"}],
    ids=["too large", "nine levels", "large number", "NUL"],
)
def test_limits_of_the_server_are_named(ours, value):
    if isinstance(value["a"], dict):
        value = {"a": value}
    with pytest.raises(InvalidInput) as caught:
        ours.batch([PutOp(DOCS, "fine", {"a": 1}), PutOp(DOCS, "one", value)])
    assert any("memories.1" in error.field for error in caught.value.errors)
    assert ours.search(DOCS) == []


@pytest.mark.parametrize("search", [{"limit": -1}, {"offset": -1}, {"query": "tea", "limit": -1}], ids=str)
def test_pages_that_cannot_be_answered_are_refused(ours, search):
    with pytest.raises(ValueError, match="limit"):
        ours.search(DOCS, **search)


@pytest.mark.parametrize("operand", [None, ["ada"], {"a": 1}], ids=str)
def test_filter_that_compares_neither_numbers_nor_texts_is_refused(ours, operand):
    with pytest.raises(ValueError, match=r"filter\.by\.name: \$gt compares numbers or texts"):
        ours.search(DOCS, filter={"by": {"name": {"$gt": operand}}})


def test_unknown_operator_in_an_object_is_refused_by_name(ours):
    with pytest.raises(ValueError, match=r"filter\.by\.name: unsupported operator \$regex"):
        ours.search(DOCS, filter={"by": {"name": {"$regex": "a"}}})


@pytest.mark.parametrize("place", [(DOCS, "a\ud800"), (("a\udfff",), "one"), (DOCS, "a\0")], ids=ascii)
def test_names_that_are_no_text_are_refused(ours, place):
    with pytest.raises(InvalidInput, match="key|metadata"):
        ours.put(*place, {"a": 1})
    with pytest.raises(InvalidInput):
        ours.search(("\ud800",))


def test_no_more_than_a_bounded_number_of_items_is_read(client):
    store = MemorySiteStore(client, name=uuid4().hex, max_scanned=20)
    fill(store, **{f"key {number}": {"number": number} for number in range(21)})
    assert len(store.search(DOCS, limit=20)) == 20
    for read in (
        lambda: store.search(DOCS, filter={"number": {"$lt": 0}}),
        lambda: store.search(DOCS, query="tea", filter={"number": {"$gt": 0}}),
    ):
        with pytest.raises(ValueError, match="More than 20 items"):
            read()
    assert keys(store.search(DOCS, filter={"number": 3})) == {"key 3"}
    assert len(store.search(DOCS, query="number", limit=101)) == 21  # one search has them all
    assert store.list_namespaces() == [DOCS]


def test_namespaces_are_all_or_none(ours, monkeypatch):
    ours.batch([PutOp(("many", str(number)), "one", {"a": 1}, index=False) for number in range(120)])
    assert len(ours.list_namespaces(limit=1_000)) == 120
    monkeypatch.setattr(keyed, "MAX_VALUES", 119)
    with pytest.raises(ValueError, match="More than 119"):
        ours.list_namespaces(limit=10)


# In one namespace


def test_stores_and_users_are_apart(client):
    name, other = uuid4().hex, uuid4().hex
    stores = [MemorySiteStore(client, name=a, user_id=b) for a in (name, other) for b in (None, f"ada-{name}", "ben")]
    for number, store in enumerate(stores):
        store.put(DOCS, "one", {"text": "tea", "number": number})
    for number, store in enumerate(stores):
        assert store.get(DOCS, "one").value["number"] == number
        assert [hit.value["number"] for hit in store.search(DOCS, query="tea")] == [number]
        assert [item.value["number"] for item in store.search(())] == [number]
    stores[0].delete(DOCS, "one")
    assert [bool(store.get(DOCS, "one")) for store in stores] == [False, True, True, True, True, True]
    client.request("DELETE", f"/users/ada-{name}")
    assert [bool(store.get(DOCS, "one")) for store in stores] == [False, False, True, True, False, True]


def test_other_memories_are_not_in_the_store(client, ours):
    client.request("POST", "/memories", params={"wait": True}, json={"content": "Ada drinks tea."})
    assert ours.search((), query="tea") == ours.search(()) == ours.list_namespaces() == []


def test_item_is_a_memory_like_any_other(client, ours):
    ours.put(("users", "ada"), "drink", {"text": "Ada drinks oolong."}, index=["text"])
    body = {
        "query": "oolong",
        "filters": {"metadata": {"langgraph": {"key": "drink", "collection": ours.memories.collection}}},
    }
    [hit] = client.request("POST", "/memories/search", json=body)["results"]
    memory = hit["memory"]
    assert (memory["content"], memory["data"]) == ("Ada drinks oolong.", {"text": "Ada drinks oolong."})
    assert memory["source_system"] == "langgraph"
    assert memory["key"].endswith("/users/ada/drink")


def test_keys_are_never_too_long_and_never_the_same():
    parts = [*AWKWARD, "", ".", "..", "x" * 600, "x" * 601]
    made = [build_key("langgraph", "default", *each) for a in parts for b in parts for each in ((a, b), (a + "/" + b,))]
    assert max(map(len, made)) <= 512
    different = {each for a in parts for b in parts for each in ((a, b), (a + "/" + b,))}
    assert len(set(made)) == len(different)


# A graph


def test_example_runs(site):
    printed = run_example("langgraph_store.py", site)
    assert "oolong" in printed.splitlines()[-1]
