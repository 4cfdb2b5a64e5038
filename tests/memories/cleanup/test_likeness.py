"""Which of two memories may replace the other, on labelled pairs (pairs.txt)."""

import pytest

from memories.cleanup.likeness import Text, compare
from tests.memories.cleanup.pairs import OTHERS, Pair, load_pairs, measure


def is_found(pair: Pair) -> bool:
    return compare(Text.of(pair.one), Text.of(pair.other)) > 0


@pytest.mark.parametrize(
    ("kind", "least"), [("format", 0.95), ("typo", 0.75), ("longer", 1.0), ("reworded", 0.1)], ids=str
)
def test_duplicates_are_found(kind, least):
    """Rewordings have other words, and are found if only fillers differ."""
    assert measure(is_found, [pair for pair in load_pairs() if pair.kind == kind]).recall >= least


def test_almost_nothing_else_is_found():
    """A real word with one letter exchanged, a horse for a house, is the one that is."""
    wrong = [pair.other for pair in load_pairs() if pair.kind in OTHERS and is_found(pair)]
    assert wrong == ["The horse at the corner of Mill Street was sold to a dentist last summer."]


def test_corrections_are_never_found():
    assert not any(is_found(pair) for pair in load_pairs() if pair.kind == "correction")


def test_the_order_of_two_texts_does_not_matter():
    assert all(is_found(pair) == is_found(pair._replace(one=pair.other, other=pair.one)) for pair in load_pairs())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The gate is open. Bring the key.", "The gate is not open. Bring the key."),
        ("Bring the key and the map.", "Bring the key."),
        ("Call Ann before noon.", "Call Ann before noon or after six."),
        ("yes", "yes please"),
        ("", "The harbour closes at six."),
        ("Anna pays the rent of the flat.", "Anne pays the rent of the flat."),
        ("Set retries=3 in the file.", "Set retries=4 in the file."),
    ],
    ids=str,
)
def test_what_says_something_else_is_no_duplicate(one, other):
    assert compare(Text.of(one), Text.of(other)) == 0


def test_long_texts_are_compared_as_a_whole_only():
    """A word-by-word comparison of two books would take minutes."""
    words = [f"word{number}" for number in range(20_000)]
    book = " ".join(words)
    assert compare(Text.of(book), Text.of(book.upper())) == 1
    assert compare(Text.of(book), Text.of(" ".join([*words, "more"]))) == 0
