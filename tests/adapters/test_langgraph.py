"""LangGraph's store side by side with the framework's own: `InMemoryStore`, `SqliteStore` and `PostgresStore`.

What is here holds for all of them, by their synchronous and their asynchronous methods. Where they differ from each
other is in test_langgraph_differences.py, and what only ours does in test_langgraph_ours.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from tests.adapters.langgraph_stores import EVERY, INDEX, Stores, open_stores

DOCS = ("docs",)
#: Labels and keys that a separator, a pattern of SQL, a path or an address would confuse.
AWKWARD = [
    *("a/b", "a%2Fb", "a b", "a_b", "axb", "%", "100%", "_", "*", "\\", "a\\b", "it's", 'a"b', "{a}", "[0]", "$"),
    *("a,b", "~", "~a", "?", "[a-z]", "^a", "a|b", "(a)", "a+", "%s"),
    *("x", "x\n", " x", "x ", "x\t", "X", "münchen", "munchen", "東京", "🙂", "null", "0", "None", "e\u0301", "é"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stores(site, tmp_path_factory) -> Iterator[Stores]:
    with open_stores(site, tmp_path_factory.mktemp("stores")) as stores:
        yield stores


@pytest.fixture(params=EVERY)
def store(request, stores):
    """Without an index, which the reference stores do not need: with one, `InMemoryStore` refuses a batch in which two
    items have the same text."""
    return stores.make(request.param)


@pytest.fixture(params=EVERY)
def searching(request, stores):
    return stores.make(request.param, index=INDEX)


def fill(store, **values: dict[str, Any]) -> None:
    store.batch([PutOp(DOCS, key, value) for key, value in values.items()])


def keys(items: list) -> set[str]:
    return {item.key for item in items}


# Put, get, delete


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": None, "b": [], "c": {}, "d": ""},
        {"n": [0, -1, 1.5, 2**53 - 1, -(2**53) + 1, 1e-9, 0.1 + 0.2, 1.0], "b": [True, False]},
        {"text": "Zoë said \"it's 5 o'clock\"\n\tin 東京 🙂", "é": "e\u0301"},
        {"a": {"b": {"c": [{"d": [[1], [2, {"e": None}]]}]}}},
        {"role": "user", "important": True, "langgraph": {"key": "x"}, "ttl_seconds": 1},
    ],
    ids=["empty", "nothing", "numbers", "texts", "nested", "our own words"],
)
def test_value_is_read_as_it_was_written(store, value):
    store.put(DOCS, "one", value)
    item = store.get(DOCS, "one")
    assert (item.value, item.key, item.namespace) == (value, "one", DOCS)
    assert json.dumps(item.value, sort_keys=True) == json.dumps(value, sort_keys=True)  # 1.0 is not 1, nor is True
    [found] = store.search(DOCS)
    assert (found.value, found.key, found.namespace, found.score) == (value, "one", DOCS, None)
    assert isinstance(item.created_at, datetime) and isinstance(item.updated_at, datetime)


def test_what_is_not_there_is_none(store):
    assert store.get(DOCS, "one") is None
    assert store.search(DOCS) == []
    store.put(DOCS, "one", {"a": 1})
    assert store.get(DOCS, "on") is None
    assert store.get(("docs", "one"), "one") is None


def test_put_replaces_the_whole_value(store):
    store.put(DOCS, "one", {"a": 1, "b": {"c": 1}})
    first = store.get(DOCS, "one")
    store.put(DOCS, "one", {"b": {"d": 2}})
    second = store.get(DOCS, "one")
    assert second.value == {"b": {"d": 2}}
    assert second.updated_at >= first.updated_at
    assert len(store.search(DOCS)) == 1


def test_equal_values_are_items_of_their_own(store):
    fill(store, one={"a": 1}, two={"a": 1})
    store.delete(DOCS, "one")
    assert keys(store.search(DOCS)) == {"two"}


def test_delete_leaves_everything_else(store):
    fill(store, one={"a": 1}, two={"a": 2})
    store.put(("docs", "one"), "one", {"a": 3})
    store.delete(DOCS, "one")
    store.delete(DOCS, "one")
    store.delete(("nowhere",), "one")
    assert store.get(DOCS, "one") is None
    assert sorted(item.value["a"] for item in store.search(DOCS)) == [2, 3]


# Names


NAMES = dict.fromkeys([*product(AWKWARD, ("a", "x")), *product(("a", "x"), AWKWARD)])
NAMED = [PutOp(("names", label), key, {"is": [label, key]}, index=False) for label, key in NAMES]


@pytest.fixture(params=EVERY)
def named(request, stores):
    return stores.make_filled(request.param, "names", NAMED)


def test_no_two_names_are_one(named):
    read = named.batch([GetOp(op.namespace, op.key) for op in NAMED])
    assert [item.value["is"] for item in read] == [[op.namespace[1], op.key] for op in NAMED]
    assert [(item.namespace, item.key) for item in read] == [(op.namespace, op.key) for op in NAMED]


def test_where_a_namespace_ends_is_part_of_the_name(store):
    places = [(("a",), "b/c"), (("a", "b"), "c"), (("a/b",), "c"), (("a", "b", "c"), "d"), (("a", "b/c"), "d")]
    store.batch([PutOp(namespace, key, {"is": place}) for place, (namespace, key) in enumerate(places)])
    read = store.batch([GetOp(namespace, key) for namespace, key in places])
    assert [item.value["is"] for item in read] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "key", ["", ".", "..", "a.b", "/", "a/", "//", "a/../b", "%2E", "x" * 512, "é" * 300], ids=ascii
)
def test_any_key_is_a_key(store, key):
    store.put(DOCS, key, {"a": 1}, index=False)
    assert store.get(DOCS, key).key == key
    assert keys(store.search(DOCS)) == {key}
    store.delete(DOCS, key)
    assert store.get(DOCS, key) is None


def test_long_names_that_begin_alike_are_two(store):
    long = "x" * 700
    names = [((long, "a"), long), ((long, "b"), long), ((long, "a"), long + "y"), ((long,), "a/" + long)]
    store.batch([PutOp(namespace, key, {"is": place}) for place, (namespace, key) in enumerate(names)])
    assert [store.get(*name).value["is"] for name in names] == [0, 1, 2, 3]
    assert {item.value["is"] for item in store.search((long, "a"))} == {0, 2}


PLACES = [place for label in AWKWARD for place in ((label,), (label, "more"), (label + "s",), ("s", label))]
PLACED = [PutOp(place, "one", {"a": 1}, index=False) for place in dict.fromkeys(PLACES)]


@pytest.fixture(params=EVERY)
def placed(request, stores):
    return stores.make_filled(request.param, "places", PLACED)


def test_prefix_is_compared_label_by_label(placed):
    assert {item.namespace for item in placed.search((), limit=1000)} == set(PLACES)
    for label in AWKWARD:
        expected = {place for place in PLACES if place[0] == label}
        assert {item.namespace for item in placed.search((label,), limit=1000)} == expected
    for label in set(AWKWARD) - {"*"}:
        assert placed.list_namespaces(prefix=("s", label)) == [("s", label)]
    for label in ("a_b", "%", "\\", "a|b", "x", "é"):
        assert set(placed.list_namespaces(suffix=(label,))) == {place for place in PLACES if place[-1] == label}


@pytest.mark.parametrize("namespace", [(), ("a.b",), ("",), ("a", ""), ("langgraph", "a"), (1,), ("a\0",)], ids=ascii)
def test_invalid_namespace_is_refused(store, namespace):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "one", {"a": 1})


# Search


VALUES = {
    "one": {"kind": "note", "price": 1, "tags": ["a", "b"], "by": {"name": "ada", "age": 36}, "done": True},
    "two": {"kind": "note", "price": 2.5, "tags": ["b", "a"], "by": {"name": "ben"}, "done": False, "at": "2026-03-01"},
    "three": {"kind": "letter", "price": 9, "tags": [], "by": None, "done": True, "at": "2026-02-01T10:00"},
}
FILTERS: list[tuple[dict, set[str]]] = [
    ({}, {"one", "two", "three"}),
    ({"kind": "note"}, {"one", "two"}),
    ({"kind": "not"}, set()),
    ({"kind": {"$eq": "letter"}}, {"three"}),
    ({"kind": {"$ne": "letter"}}, {"one", "two"}),
    ({"missing": "letter"}, set()),
    ({"kind": "note", "price": 1}, {"one"}),
    ({"price": 1.0}, {"one"}),
    ({"price": "1"}, set()),
    ({"price": {"$eq": 2.5}}, {"two"}),
    ({"price": {"$gt": 1}}, {"two", "three"}),
    ({"price": {"$gte": 2.5}}, {"two", "three"}),
    ({"price": {"$lt": 2.5}}, {"one"}),
    ({"price": {"$lte": 2.5, "$gt": 1}}, {"two"}),
    ({"price": {"$gt": 1}, "kind": "note"}, {"two"}),
    ({"price": {"$ne": 1.0}}, {"two", "three"}),
    ({"kind": {"$ne": "letter", "$eq": "note"}, "price": {"$ne": 1}}, {"two"}),
    ({"done": True}, {"one", "three"}),
    ({"done": {"$ne": True}}, {"two"}),
    ({"kind": {"$ne": None}}, {"one", "two", "three"}),
    ({"by": None}, {"three"}),
    ({"tags": ["a", "b"]}, {"one"}),
    ({"tags": []}, {"three"}),
]
FILLED = [PutOp(DOCS, key, value) for key, value in VALUES.items()]


@pytest.fixture(params=EVERY)
def filled(request, stores):
    return stores.make_filled(request.param, "values", FILLED)


@pytest.mark.parametrize(
    ("condition", "expected"), FILTERS, ids=lambda value: ascii(value)[:60] * isinstance(value, dict)
)
def test_filter_finds_exactly_what_meets_it(filled, condition, expected):
    assert keys(filled.search(DOCS, filter=condition)) == expected
    assert keys(filled.search(DOCS, filter=condition, query="a note of Ada")) == expected


def test_unknown_operator_is_refused_by_name(filled):
    with pytest.raises(ValueError, match=r"\$in"):
        filled.search(DOCS, filter={"kind": {"$in": ["note"]}})


def test_pages_hold_every_item_once(store):
    fill(store, **{f"key {number}": {"number": number, "even": number % 2 == 0} for number in range(25)})
    pages = [store.search(DOCS, limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert {item.value["number"] for page in pages for item in page} == set(range(25))
    even = [store.search(DOCS, filter={"even": {"$ne": False}}, limit=5, offset=offset) for offset in (0, 5, 10, 15)]
    assert sorted(item.value["number"] for page in even for item in page) == list(range(0, 25, 2))
    assert store.search(DOCS, limit=0) == []
    assert len(store.search(DOCS)) == 10


def test_more_items_than_a_page_of_the_api(store):
    fill(store, **{f"key {number}": {"number": number} for number in range(105)})
    assert len(store.search(DOCS, limit=1000)) == 105
    read = store.batch([GetOp(DOCS, f"key {number}") for number in range(105)])
    assert [item.value["number"] for item in read] == list(range(105))
    assert len(store.search(DOCS, filter={"number": {"$ne": 102}}, limit=1000)) == 104


# Meaning


def test_query_orders_by_meaning_with_scores(searching):
    fill(searching, tea={"text": "Ada drinks tea, green tea"}, harbour={"text": "The harbour opens at nine"})
    hits = searching.search(DOCS, query="Which tea?")
    assert [hit.key for hit in hits] == ["tea", "harbour"]
    assert 1 >= hits[0].score > hits[1].score >= -1
    assert [hit.key for hit in searching.search(DOCS, query="Which tea?", limit=1, offset=1)] == ["harbour"]
    assert searching.search(DOCS, query="Which tea?", offset=2) == []
    assert searching.search(("do",), query="Which tea?") == []


def test_replaced_text_is_found_by_its_new_meaning_at_once(searching):
    fill(searching, one={"text": "tea"}, two={"text": "coffee"})
    fill(searching, one={"text": "The harbour opens at nine"})
    assert searching.search(DOCS, query="When does the harbour open? nine")[0].key == "one"
    assert searching.search(DOCS, query="tea")[0].score < 0.9


def test_only_indexed_fields_are_searched(searching):
    put = {"title": "The harbour opens at nine", "secret": "tea", "parts": [{"text": "bread"}, {"text": "coffee"}]}
    searching.put(DOCS, "all", put)
    searching.put(DOCS, "title", put, index=["title"])
    searching.put(DOCS, "parts", put, index=["parts[*].text", "missing"])
    scores = {hit.key: hit.score for hit in searching.search(DOCS, query="The harbour opens at nine")}
    assert scores["title"] > scores["all"] > scores["parts"]


def test_item_without_index_is_read_and_listed(searching):
    searching.put(DOCS, "one", {"text": "The harbour opens at nine"}, index=False)
    assert searching.get(DOCS, "one").value == {"text": "The harbour opens at nine"}
    assert keys(searching.search(DOCS)) == keys(searching.search(DOCS, filter={"text": {"$ne": ""}})) == {"one"}


@pytest.mark.parametrize(
    "query", ["-tea", '"no such phrase" tea', "tea " * 3_000, "tea\0"], ids=["dash", "phrase", "long", "NUL"]
)
def test_query_is_a_text_without_operators(searching, query):
    fill(searching, one={"text": "Ada drinks tea"}, two={"text": "The harbour opens at nine"})
    assert [hit.key for hit in searching.search(DOCS, query=query)] == ["one", "two"]


def test_text_of_nothing_that_is_seen_is_stored(searching):
    searching.put(DOCS, "one", {"text": "\u200b"}, index=["text"])
    assert searching.get(DOCS, "one").value == {"text": "\u200b"}


def test_empty_query_is_no_query(searching):
    fill(searching, one={"text": "tea"})
    assert [hit.score for hit in searching.search(DOCS, query="")] == [None]


# Namespaces


SPREAD = [
    PutOp(tuple(place), key, {"a": 1}, index=False)
    for place in ("abc", "abde", "abdi", "abf", "acf")
    for key in ("one", "two")
]
SPREAD.append(PutOp(("ab",), "one", {"a": 1}, index=False))


@pytest.fixture(params=EVERY)
def spread(request, stores):
    return stores.make_filled(request.param, "spread", SPREAD)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f"), ("ab",)]),
        ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]),
        ({"prefix": ("a",), "max_depth": 1}, [("a",)]),
        ({"suffix": ("f",)}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"prefix": ("a", "*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"prefix": ("*", "c")}, [("a", "c", "f")]),
        ({"suffix": ("d", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
        ({"prefix": ("a", "b"), "suffix": ("f",)}, [("a", "b", "f")]),
        ({"prefix": ("a", "b", "c", "d")}, []),
        ({"limit": 2, "offset": 1}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
        ({"max_depth": 2, "limit": 1, "offset": 1}, [("a", "c")]),
        ({"offset": 6}, []),
        ({"suffix": ("a", "b", "c", "d", "e")}, []),
        ({"prefix": ("*", "*", "*", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
        ({"max_depth": 9, "limit": 1}, [("a", "b", "c")]),
    ],
    ids=lambda value: str(value) * isinstance(value, dict),
)
def test_namespaces_are_listed(spread, arguments, expected):
    assert spread.list_namespaces(**arguments) == expected


def test_two_conditions_of_one_kind(store):
    for place in ("abc", "abd", "acd"):
        store.put(tuple(place), "one", {"a": 1})
    both = (MatchCondition("prefix", ("a", "*", "d")), MatchCondition("prefix", ("*", "b")))
    assert store.batch([ListNamespacesOp(match_conditions=both)]) == [[("a", "b", "d")]]


# Batches


def test_reads_of_a_batch_see_nothing_of_its_writes(store):
    fill(store, one={"a": 1}, gone={"a": 1})
    answers = store.batch(
        [
            PutOp(DOCS, "one", {"a": 2}),
            GetOp(DOCS, "one"),
            PutOp(DOCS, "gone", None),
            PutOp(DOCS, "new", {"a": 3}),
            SearchOp(DOCS),
            GetOp(DOCS, "new"),
            PutOp(DOCS, "one", {"a": 4}),
            ListNamespacesOp(),
        ]
    )
    assert [answers[place] for place in (0, 2, 3, 5, 6)] == [None] * 5
    assert answers[1].value == {"a": 1}
    assert keys(answers[4]) == {"one", "gone"}
    assert answers[7] == [DOCS]
    assert {item.key: item.value["a"] for item in store.search(DOCS)} == {"one": 4, "new": 3}


def test_last_write_of_a_key_counts(store):
    store.batch(
        [PutOp(DOCS, "a", {"n": 1}), PutOp(DOCS, "a", None), PutOp(DOCS, "b", None), PutOp(DOCS, "b", {"n": 2})]
    )
    assert {item.key: item.value["n"] for item in store.search(DOCS)} == {"b": 2}
    store.batch([PutOp(DOCS, "b", {"n": 3}), PutOp(DOCS, "b", None)])
    assert store.search(DOCS) == []


def test_empty_batch(store):
    assert store.batch([]) == []


def test_writes_at_once_are_all_there(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(DOCS, str(number), {"number": number}, index=False), range(16)))
    assert {item.value["number"] for item in store.search(DOCS, limit=100)} == set(range(16))


def test_one_key_from_many_threads_is_one_item(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(DOCS, "one", {"number": number}), range(16)))
    [item] = store.search(DOCS)
    assert item.value["number"] in range(16)


# Time to live, which `InMemoryStore` does not have


LASTING = [name for name in EVERY if not name.endswith("memory")]
READS: dict[str, Callable[..., Any]] = {
    "get": lambda store, **options: store.get(DOCS, "one", **options),
    "list": lambda store, **options: store.search(DOCS, **options),
    "filter": lambda store, **options: store.search(DOCS, filter={"text": "tea"}, **options),
    "query": lambda store, **options: store.search(DOCS, query="tea", **options),
}


@pytest.mark.parametrize("name", LASTING)
def test_ttl_is_that_of_the_call_or_of_the_store(stores, name):
    store = stores.make(name, ttl={"default_ttl": 10, "refresh_on_read": False})
    for key, options in {"default": {}, "own": {"ttl": 60}, "short": {"ttl": 1.5}, "none": {"ttl": None}}.items():
        store.put(DOCS, key, {"text": "tea"}, index=False, **options)
    left = stores.read_seconds_left(name, store)
    assert left.pop("none") is None
    for key, seconds in {"default": 600, "own": 3600, "short": 90}.items():
        assert seconds - 80 < left[key] <= seconds + 1  # since it was put
    store.put(DOCS, "own", {"text": "tea"}, index=False, ttl=None)
    assert stores.read_seconds_left(name, store)["own"] is None


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("name", LASTING)
def test_reading_lets_live_on_from_now(stores, name, read):
    store = stores.make(name, ttl={"default_ttl": 10, "refresh_on_read": True}, index=INDEX)
    store.put(DOCS, "one", {"text": "tea"})
    store.put(("others",), "two", {"text": "tea"})
    stores.set_seconds_left(name, store, 60)
    assert READS[read](store, refresh_ttl=False)
    assert all(seconds < 70 for seconds in stores.read_seconds_left(name, store).values())
    assert READS[read](store)
    left = stores.read_seconds_left(name, store)
    assert left["two"] < 70 and 500 < left["one"] <= 601


@pytest.mark.parametrize("name", LASTING)
def test_store_may_leave_the_time_to_live_alone(stores, name):
    store = stores.make(name, ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(DOCS, "one", {"text": "tea"})
    stores.set_seconds_left(name, store, 60)
    assert store.get(DOCS, "one") and store.search(DOCS)
    assert stores.read_seconds_left(name, store)["one"] < 70


@pytest.mark.parametrize("name", LASTING)
def test_expired_items_are_gone_from_everything(stores, name):
    """From the reference stores after a sweep, from ours at once."""
    store = stores.make(name, ttl={"refresh_on_read": False}, index=INDEX)
    store.put(("gone",), "gone", {"text": "tea"}, ttl=1 / 60)
    if name.endswith("ours"):
        time.sleep(1.1)
    else:
        stores.set_seconds_left(name, store, -2)
    store.put(("kept",), "kept", {"text": "tea"}, ttl=60)
    if not name.endswith("ours"):
        assert store.sweep_ttl() == 1
    assert store.get(("gone",), "gone") is None
    assert keys(store.search(())) == keys(store.search((), query="tea")) == {"kept"}
    assert store.list_namespaces() == [("kept",)]
    store.put(("gone",), "gone", {"text": "coffee"})
    assert store.get(("gone",), "gone").value == {"text": "coffee"}
