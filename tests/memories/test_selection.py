"""Which memories a selection means, and what it dumps to and loads from."""

import json

import pytest

from memories.models import Memory
from memories.search.filters import Filters
from memories.search.selection import Selection

pytestmark = pytest.mark.django_db


def contents(selection: Selection) -> list[str]:
    return sorted(selection.queryset().values_list("content", flat=True))


@pytest.fixture
def stored(api):
    api.add("invoice ZX-9912-QQ71 is due", user_id="ada")
    api.add("a summary only", summary="about zx-9912")
    api.add("data only", data={"track": 'say "ZX-9912"', "lines": "one\ntwo"})
    api.add("metadata only", metadata={"code": "ZX-9912"})
    api.add("another 9,912 [x] 50% a_b", user_id="ada")


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("zx-9912", "literal", ["a summary only", "data only", "invoice", "metadata only"]),
        ("9912-qq", "literal", ["invoice"]),
        ('"ZX-9912"', "literal", ["data only"]),
        ("one\ntwo", "literal", ["data only"]),
        ("[x] 50% a_b", "literal", ["another"]),
        ("9.912", "literal", []),
        ("9.912", "pattern", ["another"]),
        (r"^invoice .*\d{4}", "pattern", ["invoice"]),
        (r"zx-\d+$", "pattern", ["a summary only"]),
    ],
)
def test_text_is_found_in_content_summary_data_and_metadata(stored, namespace, text, mode, expected):
    found = contents(Selection(namespace.pk, text=text, mode=mode))
    assert len(found) == len(expected) and all(map(str.startswith, found, expected)), found


def test_filters_and_namespace_narrow_the_text(stored, outsider, namespace):
    outsider.add("theirs: zx-9912", user_id="ada")
    assert len(contents(Selection(namespace.pk, Filters(user_id="ada"), "9"))) == 2
    assert len(contents(Selection(None, Filters(user_id="ada"), "9"))) == 3


def test_what_is_dumped_loads_as_the_same_selection(namespace):
    selection = Selection(
        namespace.pk, Filters(user_id="ada", tags=["x"], min_importance=3), "a(b", "literal", "waiting"
    )
    assert Selection.load(json.loads(json.dumps(selection.dump()))) == selection
    assert Selection(namespace.pk).dump() == {"namespace_id": namespace.pk, "mode": "literal"}


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"namespace_id": 1, "mode": "pattern", "text": "a(b"}, "pattern: parentheses () not balanced"),
        ({"namespace_id": 1, "text": "a\0b"}, "text: "),
        ({"namespace_id": 1, "mode": "smart"}, "mode: "),
        ({"namespace_id": 1, "embedding": "lost"}, "embedding: "),
        ({"namespace_id": 1, "filters": {"who": "ada"}}, "who: "),
        ({"namespace_id": 1, "rows": 3}, "rows: "),
        ({"namespace_id": "1"}, "namespace_id: "),
        ({"namespace_id": 1, "text": ["a"]}, "text: "),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(stored, reason):
    with pytest.raises(ValueError) as refused:
        Selection.load(stored)
    assert str(refused.value).startswith(reason)


def test_a_pattern_that_is_refused_leaves_the_transaction_usable(namespace):
    with pytest.raises(ValueError, match="pattern"):
        Selection(namespace.pk, text="[", mode="pattern").checked()
    assert Memory.objects.count() == 0


def test_a_selection_is_told_in_words(namespace):
    selection = Selection(namespace.pk, Filters(user_id="ada", memory_types=["insight"]), "due", "pattern")
    assert selection.describe() == f"in “{namespace.name}”, user id “ada”, memory types “insight”, matching “due”"
