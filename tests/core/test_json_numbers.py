"""Floats of stored JSON that PostgreSQL writes as integers."""

import json

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from memory_site.core.http.json_numbers import mark_floats, restore_floats

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def list_types(value: object) -> object:
    if isinstance(value, dict):
        return {name: list_types(each) for name, each in value.items()}
    return [list_types(each) for each in value] if isinstance(value, list) else type(value)


@pytest.mark.django_db
@given(JSON_VALUES)
def test_stored_floats_stay_floats(value):
    given_json = json.dumps({"value": value})
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [given_json])
        stored = cursor.fetchone()[0]
    read = json.loads(mark_floats(stored.encode()))
    assert read == json.loads(given_json)
    assert list_types(read) == list_types(json.loads(given_json))
    assert list_types(restore_floats(json.loads(stored))) == list_types(read)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"x:12345678901234567890,","b":0.12345678901234567,"c":[9007199254740991]}',
        b'{"say \\":12345678901234567890,\\"":1,"d":1.12345678901234567}',
        b'{"12345678901234567890":"12345678901234567890"}',
    ],
)
def test_texts_and_exact_numbers_are_left_alone(body):
    assert mark_floats(body) == body
