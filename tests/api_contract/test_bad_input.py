"""No input causes a server error, and refused requests change nothing."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

import pytest
from django.db import transaction

from memory_site.core.http.fields import MAX_CONTENT_LENGTH
from tests.api_contract.hostile import HOSTILE_PATHS, UNREADABLE_BODIES, UNSTORABLE_VALUES, UNUSUAL_VALUES
from tests.conftest import Api
from tests.wire import (
    CHOSEN_NAMES,
    Operation,
    build_raw_body,
    build_sample,
    fingerprint_tables,
    is_problem,
    iter_fields,
    list_alternatives,
    list_blamed_fields,
    list_json_types,
    list_operations,
    list_refusals,
    transaction_is_broken,
)

pytestmark = pytest.mark.django_db


def number_cases(cases: Iterable, kind: Callable) -> Iterator[tuple]:
    """Each case, and how many of its kind came before it."""
    seen: Counter = Counter()
    for each in cases:
        yield each, seen[kind(each)]
        seen[kind(each)] += 1


BODY_FIELDS = [
    pytest.param(operation, place, schema, id=f"{operation} {'.'.join(map(str, place)) or 'body'}")
    for operation in list_operations()
    if operation.body
    for place, schema in [((), operation.body), *iter_fields(operation.body)]
]
# A field of the same name and schema is read by the same type: two operations that have it stand for all.
SAMPLED_FIELDS = [
    each
    for each, seen in number_cases(BODY_FIELDS, lambda each: (each.values[1][-1:], str(each.values[2])))
    if seen < 2
]
LONG_VALUE = "100,001 letters"
PAST_TIME, FUTURE_TIME = "2020-01-01T00:00:00Z", "2190-01-01T00:00:00Z"
EVERY_BODY = pytest.mark.parametrize("operation", [each for each in list_operations() if each.body], ids=str)
LEAF_FIELDS = [
    each for each in BODY_FIELDS if not any("properties" in kind for kind in list_alternatives(each.values[2]))
]
NEW_ID = "01980000-0000-7000-8000-00000000000f"
#: Fields for which a value has to fit the rows or the address, which the tests of keys show.
FITTING_FIELDS = {
    "PATCH /memories/{memory_id} key",  # the memory describes an entity
    *(f"PUT /memories/by-key/{{key}} {name}" for name in ("id", "key", "user_id")),
    *(f"PUT /memories/by-key/{{key}} {name}" for name in ("replaces", "replaces.0", "entity.system", "entity.id")),
    *(f"PUT /memories/by-key/{{key}} entity.{name}" for name in ("type", "name")),
}
QUERY_FIELDS = [
    pytest.param(operation, name, id=f"{operation} {name}")
    for operation in list_operations()
    for name in operation.query
]
PATH_PARAMETERS = [
    pytest.param(operation, name, id=f"{operation} {name}")
    for operation in list_operations()
    for name in operation.path_names
]


@pytest.fixture
def api(made, db) -> Api:
    return made[0]


@pytest.fixture(scope="module")
def seen() -> set[tuple[Operation, frozenset[str]]]:
    """The kinds of refusals that were asked for over HTTP."""
    return set()


@pytest.fixture(scope="module")
def before(made) -> dict[str, tuple]:
    return fingerprint_tables()


@pytest.fixture
def tried(api, ids, before):
    """Sends one request and undoes it when it was accepted: whether it was. In the end nothing may have changed."""
    sent = []

    def send(operation: Operation, url: str, body: bytes | None, what: str) -> bool:
        sent.append(what)
        save = transaction.savepoint()
        response = api.raw(operation.method, url, body)
        accepted = response.status_code < 400
        if accepted or transaction_is_broken():
            transaction.savepoint_rollback(save)
        else:
            transaction.savepoint_commit(save)
        description = f"{what}: {response.status_code} {response.content[:300]}"
        assert response.status_code < 500, description
        assert accepted or is_problem(response), description
        return accepted

    yield send
    assert not sent or fingerprint_tables() == before


@pytest.fixture
def checked(tried, seen):
    """Like `tried`, but asks the operation's schema first: of requests that it refuses in the same way one is sent."""

    def check(operation: Operation, url: str, body: bytes | None, what: str) -> bool:
        against = list_refusals(operation.method, url, body)
        if against and (operation, against) in seen:
            return False
        accepted = tried(operation, url, body, what)
        assert not (accepted and against), f"{what} was accepted though {against}."
        seen.add((operation, against))
        return accepted

    return check


def is_for_long_texts(schema: dict) -> bool:
    """Whether it is for whole documents, which may be longer than a memory."""
    return any(each.get("maxLength", 0) > MAX_CONTENT_LENGTH for each in list_alternatives(schema))


def is_for_long_lists(schema: dict) -> bool:
    return any(each.get("maxItems", 0) > 768 for each in list_alternatives(schema))


ROOM_FOR_VALUE = {LONG_VALUE: is_for_long_texts, "768 texts": is_for_long_lists}


def permits_type(schema: dict, raw: str) -> bool:
    """Whether the value is of a JSON type that the schema names."""
    value, permitted = json.loads(raw), list_json_types(schema)
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    name = names.get(type(value), "null")
    return not permitted or name in permitted or (name == "integer" and "number" in permitted)


@pytest.mark.parametrize(("operation", "place", "schema"), SAMPLED_FIELDS)
def test_no_value_in_a_body_causes_a_server_error(checked, ids, operation, place, schema):
    url = operation.url(ids)
    for what, raw in (UNSTORABLE_VALUES | UNUSUAL_VALUES).items():
        if checked(operation, url, build_raw_body(operation, place, raw), what):
            assert what not in UNSTORABLE_VALUES or (what in ROOM_FOR_VALUE and ROOM_FOR_VALUE[what](schema)), (
                f"{what} was accepted."
            )
            assert permits_type(schema, raw), f"{what} was accepted for {list_alternatives(schema)}."


@pytest.mark.parametrize(
    ("operation", "place", "schema"), [each for each in LEAF_FIELDS if each.id not in FITTING_FIELDS]
)
def test_the_smallest_value_that_the_schema_allows_is_accepted(tried, ids, operation, place, schema):
    url = operation.url(ids)
    moments = (
        (PAST_TIME, FUTURE_TIME) if any(each.get("format") == "date-time" for each in list_alternatives(schema)) else ()
    )
    values = moments or [NEW_ID if is_new_id(place) else build_sample(schema)]
    assert any(
        tried(
            operation, url, name_our_user(place, build_raw_body(operation, place, json.dumps(value)), ids), "smallest"
        )
        for value in values
    )


def is_new_id(place: tuple) -> bool:
    """Whether the field is the id of a memory to store, and not that of one that is there."""
    return place in (("id",), ("memories", 0, "id"))


def name_our_user(place: tuple, body: bytes, ids: dict[str, str]) -> bytes:
    """A memory replaces those of its own user, and the user of the example is another one."""
    return body.replace(b'"ada"', json.dumps(ids["user_id"]).encode()) if "replaces" in place else body


@EVERY_BODY
def test_invalid_json_is_refused_anywhere_in_a_body(checked, ids, operation):
    url = operation.url(ids)
    for place in [(), *[place for place, _ in iter_fields(operation.body)][:3]]:
        for what, raw in UNREADABLE_BODIES.items():
            assert not checked(operation, url, build_raw_body(operation, place, raw), what)


@EVERY_BODY
def test_unknown_field_is_refused_anywhere_in_a_body(api, ids, operation):
    objects = [
        place
        for place, schema in iter_fields(operation.body)
        if any("properties" in each for each in list_alternatives(schema))
    ]
    for place in [(), *objects]:
        body = build_raw_body(operation, (*place, "content__startswith"), "1")
        response = api.raw(operation.method, operation.url(ids), body)
        assert is_problem(response, 422)
        assert {field.rpartition(".")[2] for field in list_blamed_fields(response)} == {"content__startswith"}


@pytest.mark.parametrize(("operation", "name"), QUERY_FIELDS)
def test_no_query_parameter_causes_a_server_error(checked, ids, operation, name):
    body = json.dumps(operation.example()).encode() if operation.body else None
    for what, text in HOSTILE_PATHS.items():
        checked(operation, f"{operation.url(ids)}?{name}={text}", body, what)


@pytest.mark.parametrize(("operation", "name"), QUERY_FIELDS)
def test_repeated_query_parameter_is_refused(tried, ids, operation, name):
    body = json.dumps(operation.example()).encode() if operation.body else None
    value = build_sample(operation.query[name])
    text = quote(str(value[0] if isinstance(value, list) else value))
    twice = tried(operation, f"{operation.url(ids)}?{name}={text}&{name}={text}", body, "twice")
    assert twice == isinstance(value, list)


@pytest.mark.parametrize(("operation", "name"), PATH_PARAMETERS)
def test_no_id_in_an_address_causes_a_server_error(checked, ids, operation, name):
    body = json.dumps(operation.example()).encode() if operation.body else None
    for what, text in HOSTILE_PATHS.items():
        accepted = checked(operation, operation.url(ids | {name: text}), body, what)
        assert not accepted or text == "" or name in CHOSEN_NAMES
