"""Texts that adapters store and search for are those that the server takes."""

import pytest
from pydantic import TypeAdapter, ValidationError

from memory_client import InvalidInput
from memory_client.keyed import build_key
from memory_client.texts import is_uuid, make_query, make_storable
from memory_site.core.http.fields import Content, QueryText

TEXTS = [
    "tea", " tea\n", "灯台", "。", "\U0001f5fc", "e\u0301", "te\0a\udfff",
    "", " \n\t", "\0", "\0\ud800", "\u2800", "\u3164\u115f", "\u200b\u00ad", "\u0301", "-", '"',
    "x" * 4_097, "x" * 100_001, "\n" * 100_000 + "tea", "\U0001f3f4" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize(("make", "kind"), [(make_storable, Content), (make_query, QueryText)])
def test_the_server_takes_what_is_left_of_a_text(text, make, kind):
    server = TypeAdapter(kind)
    if made := make(text):
        server.validate_python(made)
    else:
        with pytest.raises(ValidationError):
            server.validate_python(text.replace('"', ""))


@pytest.mark.parametrize("text", ["tea", " tea\n", "灯台", 'a -b "c"', "x" * 100_000])
def test_a_text_that_can_be_stored_stays_as_it_is(text):
    assert make_storable(text) == text


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('say "never mind" -please', "say  never mind  please"),
        ("“curly” «marks»", "curly   marks"),
        ("rm -rf / -- --force a-b - c", "rm rf / -- --force a-b - c"),
        ("-first", "first"),
    ],
)
def test_nothing_in_a_query_is_an_operator(text, query):
    assert make_query(text) == query


def test_ids_are_recognised():
    assert is_uuid("01980000-0000-7000-8000-000000000000")
    for other in ("", "1", None, 7, [], "../users", "01980000-0000-7000-8000-00000000000g"):
        assert not is_uuid(other)


@pytest.mark.parametrize("parts", [("a", "\ud800"), ("\ud800",), ("x" * 600, "\ud800")], ids=["key", "name", "long"])
def test_key_of_an_adapter_that_is_no_unicode_is_invalid_input(parts):
    with pytest.raises(InvalidInput) as error:
        build_key(*parts)
    assert error.value.field == "key"
