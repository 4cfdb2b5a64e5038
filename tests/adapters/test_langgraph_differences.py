"""Where LangGraph's own stores differ from each other, and which of them ours is like.

Each case is an action with what it comes to in `InMemoryStore`, `SqliteStore`, `PostgresStore` and ours. The reasons
are in docs/agents/adapters/langgraph.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.store.base import ListNamespacesOp, MatchCondition, PutOp, SearchOp

from tests.adapters.langgraph_stores import ASYNC, EVERY, INDEX, Stores, open_stores
from tests.adapters.test_langgraph import DOCS, FILLED

ERROR = "an error"
#: Not the same in every run.
UNDETERMINED = object()


@dataclass
class Case:
    act: Callable[[Any], Any]
    expected: dict[str, Any]
    index: bool


CASES: dict[str, Case] = {}


def comes_to(
    *, memory: Any, sqlite: Any, postgres: Any, ours: Any, index: bool = False
) -> Callable[[Callable[[Any], Any]], None]:
    """Decorate an action with its results in the four kinds of stores. `index`: LangGraph's have one of meanings."""

    def add(act: Callable[[Any], Any]) -> None:
        expected = {"memory": memory, "sqlite": sqlite, "postgres": postgres, "ours": ours}
        CASES[act.__name__] = Case(act, expected, index)

    return add


def list_keys(store: Any, **search: Any) -> list[str]:
    return [item.key for item in store.search(DOCS, **search)]


def find(condition: dict[str, Any]) -> Callable[[Any], list[str]]:
    """Return the action that finds the items of FILLED by a filter."""

    def act(store: Any) -> list[str]:
        store.batch(FILLED)
        return sorted(list_keys(store, filter=condition))

    return act


def add_filters(name: str, condition: dict[str, Any], **expected: Any) -> None:
    act = find(condition)
    act.__name__ = name
    comes_to(**expected)(act)


# Order and times


@comes_to(
    memory=["one", "two", "three"],
    sqlite=UNDETERMINED,  # within a second
    postgres=["three", "two", "one"],
    ours=["three", "two", "one"],
)
def order_without_a_query(store):
    for key in ("one", "two", "three"):
        store.put(DOCS, key, {"a": 1}, index=False)
    return list_keys(store)


@comes_to(memory=["one", "two"], sqlite=UNDETERMINED, postgres=["one", "two"], ours=["two", "one"])
def place_of_a_replaced_item(store):
    for key in ("one", "two", "one"):
        store.put(DOCS, key, {"a": 1}, index=False)
    return list_keys(store)


@comes_to(memory=False, sqlite=UNDETERMINED, postgres=True, ours=True)
def created_at_of_a_replaced_item_stays(store):
    store.put(DOCS, "one", {"a": 1})
    first = store.get(DOCS, "one").created_at
    store.put(DOCS, "one", {"a": 2})
    return store.get(DOCS, "one").created_at == first


@comes_to(memory=True, sqlite=False, postgres=True, ours=True)
def times_have_a_time_zone(store):
    store.put(DOCS, "one", {"a": 1})
    return store.get(DOCS, "one").created_at.tzinfo is not None


# Filters

ALL = ["one", "three", "two"]

add_filters("a_missing_field_differs", {"at": {"$ne": "x"}}, memory=ALL, sqlite=ALL[1:], postgres=ALL[1:], ours=ALL)
add_filters("a_missing_field_is_none", {"at": None}, memory=["one"], sqlite=["one"], postgres=[], ours=["one"])
add_filters("true_is_1", {"price": True}, memory=["one"], sqlite=["one"], postgres=[], ours=[])
add_filters("an_object", {"by": {"name": "ada"}}, memory=["one"], sqlite=ERROR, postgres=ERROR, ours=["one"])
add_filters(
    "an_operator_in_an_object",
    {"by": {"name": {"$ne": "ada"}, "age": None}},
    memory=["two"],
    sqlite=ERROR,
    postgres=ERROR,
    ours=["two"],
)
add_filters(
    "a_list_that_is_equal", {"tags": {"$eq": ["b", "a"]}}, memory=["two"], sqlite=[], postgres=["two"], ours=["two"]
)
add_filters(
    "a_list_that_is_not", {"tags": {"$ne": ["b", "a"]}}, memory=ALL[:2], sqlite=ALL, postgres=ALL[:2], ours=ALL[:2]
)
add_filters("a_path_as_a_name", {"by.name": "ada"}, memory=[], sqlite=["one"], postgres=[], ours=[])
add_filters("a_name_of_any_characters", {"it's": 1}, memory=[], sqlite=ERROR, postgres=[], ours=[])
add_filters(
    "numbers_of_more_digits", {"price": {"$lt": 10}}, memory=ALL, sqlite=ALL, postgres=["one"], ours=ALL
)  # PostgresStore compares them as texts
add_filters(
    "texts_in_their_order", {"at": {"$gt": "2026-02-15"}}, memory=ERROR, sqlite=["two"], postgres=["two"], ours=["two"]
)
add_filters("no_number_or_none", {"at": {"$gt": 1}}, memory=ERROR, sqlite=ALL[1:], postgres=ALL[1:], ours=[])
add_filters("text_beside_a_number", {"kind": {"$lt": 100}}, memory=ERROR, sqlite=ALL, postgres=[], ours=[])
add_filters(
    "a_number_beside_a_text", {"price": {"$gte": "2"}}, memory=ALL[1:], sqlite=[], postgres=ALL[1:], ours=ALL[1:]
)
add_filters(
    "an_operator_asked_for_a_list", {"tags": {"$gt": []}}, memory=ERROR, sqlite=[], postgres=UNDETERMINED, ours=ERROR
)


# Meanings


@comes_to(memory=["tea", "hidden"], sqlite=["tea"], postgres=["tea"], ours=["tea"], index=True)
def item_without_an_index(store):
    store.put(DOCS, "tea", {"text": "tea"})
    store.put(DOCS, "hidden", {"text": "tea"}, index=False)
    return list_keys(store, query="tea")


@comes_to(memory=["one"], sqlite=["one"], postgres=["one"], ours=[], index=True)
def item_whose_index_was_taken_away(store):
    store.put(DOCS, "one", {"text": "tea"})
    store.put(DOCS, "one", {"text": "bread"}, index=False)
    return list_keys(store, query="tea")


@comes_to(memory="each", sqlite="each", postgres="each", ours="together", index=True)
def several_indexed_fields(store):
    """A vector each, of which the best counts, or one text."""
    store.put(DOCS, "one", {"title": "The harbour opens at nine", "text": "bread"}, index=["title", "text"])
    return "each" if store.search(DOCS, query="The harbour opens at nine")[0].score > 0.99 else "together"


@comes_to(memory=ERROR, sqlite=2, postgres=2, ours=2, index=True)
def same_texts_in_a_batch(store):
    store.batch([PutOp(DOCS, key, {"a": 1}) for key in ("one", "two")])
    return len(list_keys(store))


@comes_to(memory=1, sqlite=0, postgres=0, ours=1, index=True)
def page_far_behind(store):
    """SqliteStore and PostgresStore select as many candidates as a page or two have, and skip among these."""
    store.batch([PutOp(DOCS, str(number), {"text": "tea", "number": number}) for number in range(9)])
    return len(list_keys(store, query="tea", limit=1, offset=8))


# Namespaces


@comes_to(memory=[DOCS], sqlite=[], postgres=[], ours=[])
def emptied_namespaces(store):
    store.put(DOCS, "one", {"a": 1})
    store.delete(DOCS, "one")
    return store.list_namespaces()


@comes_to(memory=1, sqlite=ERROR, postgres=ERROR, ours=ERROR)
def label_with_a_period_in_a_batch(store):
    return len(store.batch([PutOp(("a.b",), "one", {"a": 1})]))


@comes_to(memory=1, sqlite=1, postgres=1, ours=ERROR)
def no_labels_in_a_batch(store):
    return len(store.batch([PutOp((), "one", {"a": 1})]))


@comes_to(memory=[DOCS], sqlite=[DOCS], postgres=[DOCS], ours=[DOCS])
def empty_path(store):
    store.put(DOCS, "one", {"a": 1})
    return store.batch([ListNamespacesOp(match_conditions=(MatchCondition("prefix", ()),))])[0]


@comes_to(memory=ERROR, sqlite=[DOCS], postgres=[DOCS], ours=ERROR)
def unknown_kind_of_condition(store):
    store.put(DOCS, "one", {"a": 1})
    return store.batch([ListNamespacesOp(match_conditions=(MatchCondition("middle", ("x",)),))])[0]


# Batches and pages


@comes_to(memory=ERROR, sqlite=[None], postgres=[None], ours=ERROR)
def unknown_operation(store):
    return store.batch([7])


@comes_to(memory=["one"], sqlite=["one", "two"], postgres=ERROR, ours=ERROR)
def negative_limit(store):
    store.batch([PutOp(DOCS, key, {"a": 1}) for key in ("one", "two")])
    return sorted(item.key for item in store.batch([SearchOp(DOCS, limit=-1)])[0])


# Values and keys


@comes_to(memory=(1, 2), sqlite=[1, 2], postgres=[1, 2], ours=[1, 2])
def tuple_in_a_value(store):
    store.put(DOCS, "one", {"a": (1, 2)}, index=False)
    return store.get(DOCS, "one").value["a"]


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@comes_to(memory=MOMENT, sqlite="2026-01-01T00:00:00+00:00", postgres=ERROR, ours=ERROR)
def time_in_a_value(store):
    store.put(DOCS, "one", {"a": MOMENT}, index=False)
    return store.get(DOCS, "one").value["a"]


@comes_to(memory={1: 2}, sqlite=ERROR, postgres={"1": 2}, ours=ERROR)
def number_as_a_name(store):
    store.put(DOCS, "one", {"a": {1: 2}}, index=False)
    return store.get(DOCS, "one").value["a"]


@comes_to(memory="nan", sqlite="None", postgres=ERROR, ours=ERROR)
def no_finite_number(store):
    store.put(DOCS, "one", {"a": float("nan")}, index=False)
    return str(store.get(DOCS, "one").value["a"])


@comes_to(memory="\0", sqlite="\0", postgres=ERROR, ours=ERROR)
def zero_character_in_a_value(store):
    store.put(DOCS, "one", {"a": "\0"}, index=False)
    return store.get(DOCS, "one").value["a"]


@comes_to(memory=2**60, sqlite=2**60, postgres=2**60, ours=ERROR)
def large_number(store):
    store.put(DOCS, "one", {"a": 2**60}, index=False)
    return store.get(DOCS, "one").value["a"]


@comes_to(memory=["b", "a"], sqlite=["b", "a"], postgres=["a", "b"], ours=["a", "b"])
def order_of_names(store):
    store.put(DOCS, "one", {"b": 1, "a": 1}, index=False)
    return list(store.get(DOCS, "one").value)


@comes_to(memory=1, sqlite=ERROR, postgres=ERROR, ours=ERROR)
def key_with_a_lone_surrogate(store):
    store.put(DOCS, "\ud800", {"a": 1}, index=False)
    return len(list_keys(store))


@comes_to(memory=1, sqlite=1, postgres=ERROR, ours=ERROR)
def key_with_a_zero_character(store):
    store.put(DOCS, "a\0", {"a": 1}, index=False)
    return len(list_keys(store))


# Time to live


@comes_to(memory=ERROR, sqlite=["one"], postgres=["one"], ours=ERROR)
def ttl_that_is_over(store):
    """It is read until a sweep."""
    store.put(DOCS, "one", {"a": 1}, ttl=-1, index=False)
    return list_keys(store)


#: Which seconds are left of a minute's remainder when an item with a TTL is read: a store's configuration, the TTL in
#: minutes, what the call asks for.
REFRESHED: list[tuple[Any, float, bool | None, dict[str, int]]] = [
    (None, 10, None, {"sqlite": 60, "postgres": 600, "ours": 600}),
    ({"refresh_on_read": False}, 10, True, {"sqlite": 60, "postgres": 600, "ours": 600}),
    ({"refresh_on_read": True}, 10.45, None, {"sqlite": 627, "postgres": 600, "ours": 627}),  # Postgres: whole minutes
]


@pytest.fixture(scope="module")
def stores(site, tmp_path_factory) -> Iterator[Stores]:
    with open_stores(site, tmp_path_factory.mktemp("stores")) as stores:
        yield stores


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("case", CASES)
def test_difference(stores, case, name):
    action = CASES[case]
    expected = action.expected[name.removeprefix(ASYNC)]
    if expected is not UNDETERMINED:
        assert observe(action.act, stores.make(name, index=INDEX if action.index else None)) == expected


def observe(act: Callable[[Any], Any], store: Any) -> Any:
    try:
        return act(store)
    except Exception:  # of whatever library
        return ERROR


@pytest.mark.parametrize("name", [name for name in EVERY if not name.endswith("memory")])
@pytest.mark.parametrize(("ttl", "minutes", "asked", "expected"), REFRESHED, ids=["no default", "call", "fraction"])
def test_what_reading_refreshes_differs(stores, name, ttl, minutes, asked, expected):
    store = stores.make(name, ttl=ttl)
    store.put(DOCS, "one", {"a": 1}, ttl=minutes, index=False)
    stores.set_seconds_left(name, store, 60)
    store.get(DOCS, "one", refresh_ttl=asked)
    left = stores.read_seconds_left(name, store)["one"]
    assert -25 < left - expected[name.removeprefix(ASYNC)] <= 1
