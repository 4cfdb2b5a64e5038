"""Differences of texts: nothing is lost, only what differs is marked, and the cost is bounded."""

import random
import time

import pytest

from memory_site.core.admin.text_diff import ADDED, MAX_COMPARISONS, REMOVED, SAME, diff_texts

PAIRS = [
    ("the harbour opens at nine", "the harbour opens at eight"),
    ("one\ntwo\nthree", "one\nthree"),
    ("one", "one\ntwo"),
    ("", "new"),
    ("old", ""),
    ("a\n" * 30 + "b", "a\n" * 30 + "c"),
    ("Kraków — ja", "Kraków – ja"),
    ("x y z", "z y x"),
]


def read_side(lines, side: str) -> str:
    """Return one of the texts; of pairs that have no lines left out."""
    texts = ["".join(part.text for part in getattr(line, side)) for line in lines if getattr(line, side)]
    return "\n".join(texts)


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=range(len(PAIRS)))
def test_both_texts_can_be_read_from_the_difference(before, after):
    lines = diff_texts(before, after)
    if not any(line.left_out for line in lines):
        assert (read_side(lines, "before"), read_side(lines, "after")) == (before, after)
    assert any(line.is_changed for line in lines)


def test_only_the_changed_word_is_marked():
    [line] = diff_texts("the harbour opens at nine sharp", "the harbour opens at eight sharp")
    assert list(line.parts) == [
        (SAME, "the harbour opens at "), (REMOVED, "nine"), (ADDED, "eight"), (SAME, " sharp"),
    ]  # fmt: skip


def test_unchanged_lines_far_from_a_change_are_counted():
    before = [f"line {number}" for number in range(100)]
    after = [*before[:50], "new", *before[51:]]
    lines = diff_texts("\n".join(before), "\n".join(after))
    assert [line.left_out for line in lines if line.left_out] == [47, 46]
    assert len(lines) == 2 + 7


def test_equal_texts_have_no_changed_line():
    assert not any(line.is_changed for line in diff_texts("a\nb", "a\nb"))


@pytest.mark.parametrize("unit", ["word ", "line\n", "ab\nba\n", "x"])
def test_long_texts_cost_a_bounded_time(unit):
    shuffled = random.Random(7)
    words = (unit * (100_000 // len(unit))).split(" ") if " " in unit else [unit] * (100_000 // len(unit))
    other = [f"{word}{shuffled.randrange(99)}{unit[-1]}" for word in words]
    started = time.process_time()
    lines = diff_texts("".join(words), "".join(other)[:100_000])
    assert time.process_time() - started < 3
    assert sum(len(line.parts) for line in lines) < MAX_COMPARISONS


def test_difference_of_a_long_line_shows_its_surroundings_only():
    text = "harbour " * 10_000
    lines = diff_texts(f"{text}nine {text}", f"{text}eight {text}")
    assert sum(len(part.text) for line in lines for part in line.parts) < 1_000
