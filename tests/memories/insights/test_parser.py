"""How insights are taken out of a text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.insights.minhash import normalised
from memories.insights.parser import insights_in

LEARNED = "A queryset is lazy: nothing is read before somebody looks at it."
OTHER = "Autovacuum needs a lower threshold on tables that only grow."
LINE = "─" * 45


@pytest.mark.parametrize(
    "text",
    [
        f"★ Insight {LINE}\n{LEARNED}\n{LINE}",
        f"`★ Insight {LINE}`\n{LEARNED}\n`{LINE}`",
        f"`★ Insight {LINE}`\n{LEARNED}\n{LINE}",
        f"★ Insight {LINE}\n{LEARNED}",
        f"`★ Insight {LINE}`\n{LEARNED}",
        f"**★ Insight {LINE}**\n{LEARNED}\n**{LINE}**",
        f"`★ Insight`\n★ Insight -----\n{LEARNED}\n-----",
        f"★ Insight —————\n\n{LEARNED}\n\n—————",
        f"★ Insight ─—-─—\r\n{LEARNED}\r\n─────\r\n",
        f"★  Insight  ─────  \n{LEARNED}\n───── ",
        f"Said before.\n\n    ★ Insight ─────\n    {LEARNED}\n    ─────\nSaid after.",
        f"> ★ Insight ─────\n> {LEARNED}\n> ─────\n> And more.",
        f">> ★ Insight ─────\n>> {LEARNED}\n>>\n>> ─────",
        f"```\n★ Insight ─────\n{LEARNED}\n─────\n```",
        f"★ Insight ─────\n\n\n   {LEARNED}   \n\n\n─────",
        f"- ★ Insight ─────\n{LEARNED}\n─────",
        f"1. ★ Insight ─────\n{LEARNED}\n─────",
        f"[assistant] `★ Insight ─────`\n{LEARNED}\n─────",
        f"**What I learned:** ★ Insight ─────\n{LEARNED}\n─────",
        f"So it says:\n```text\n★ Insight ─────\n{LEARNED}\n```\nAnd the weather is fine.",
        f"> ~~~\n> ★ Insight ─────\n> {LEARNED}\n> ~~~\n> And the weather is fine.",
    ],
)
def test_every_form_of_the_marker_is_understood(text):
    assert insights_in(text) == [LEARNED]


@pytest.mark.parametrize("nothing", ["\u200b", "\ufe0f", "\u2800", "\u3164"])
def test_what_nobody_can_see_is_no_insight(nothing):
    assert insights_in(f"★ Insight ─────\n{nothing * 40}\n─────\nAnd a text.") == []


def test_a_fence_inside_an_insight_belongs_to_it():
    text = f"{LEARNED}\n```\nlist(rows)\n```\nThat is all."
    assert insights_in(f"Said.\n★ Insight ─────\n{text}\n─────") == [text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        LEARNED,
        f"★ Insight ────\n{LEARNED}\n─────",
        f"Insight ─────\n{LEARNED}\n─────",
        f"★ Insights ─────\n{LEARNED}\n─────",
        f"★ insight ─────\n{LEARNED}\n─────",
        f"★ Insight ═════\n{LEARNED}\n─────",
        f"★ Insight ───── {LEARNED}",
        f"As in ★ Insight ─────\n{LEARNED}\n─────",
        f"★ Insight ─────\n─────\n{LEARNED}",
        "★ Insight ─────",
        "★ Insight ─────\n\n\n─────",
    ],
)
def test_what_is_not_marked_is_no_insight(text):
    assert insights_in(text) == []


def test_a_marker_ends_the_insight_before_it():
    text = f"★ Insight ─────\n{LEARNED}\n★ Insight ─────\n{OTHER}"
    assert insights_in(text) == [LEARNED, OTHER]


def test_four_dashes_are_part_of_it_and_five_end_it():
    text = f"★ Insight ─────\n{LEARNED}\n----\n{OTHER}\n-----\nNo more."
    assert insights_in(text) == [f"{LEARNED}\n----\n{OTHER}"]


def test_code_in_it_keeps_its_indent():
    code = "def of(self):\n    return self.rows\n\n        # deeper still"
    assert insights_in(f"★ Insight ─────\n{code}\n─────") == [code]
    quoted = "\n".join(f"> {line}".rstrip() for line in code.split("\n"))
    assert insights_in(f"> ★ Insight ─────\n{quoted}\n> ─────") == [code]


@pytest.mark.parametrize(("length", "found"), [(29, 0), (30, 1), (10_000, 1), (10_001, 0)])
def test_it_has_30_to_10000_characters(length, found):
    assert len(insights_in(f"★ Insight ─────\n  {'x' * length}  \n─────")) == found


def test_a_text_gives_ten_at_most_and_what_is_none_does_not_count():
    texts = ["too short", *(f"The lesson number {number} of very many lessons." for number in range(12))]
    found = insights_in("\n".join(f"★ Insight ─────\n{text}\n─────" for text in texts))
    assert found == texts[1:11]


def test_the_same_one_twice_is_taken_once():
    again = LEARNED.upper().replace(" ", "\n")
    assert insights_in(f"★ Insight ─────\n{LEARNED}\n★ Insight -----\n{again}") == [LEARNED]


@pytest.mark.parametrize(
    "piece",
    ["-", "─", "★ Insight ─────\n", "★ Insight ─", "★ Insight ─────", "─────\n", ">", "> ★ Insight -----\n", " ", "`\n"]
    + ["★ Insight ─────\n" + "x" * 30 + "\n", "★", "★ Insight \t", "*`_#> "],
)
def test_the_time_grows_with_the_length_alone(piece):
    text = f"{'>' * 1000}★ Insight ─────\n" + (piece * 100_000)[:100_000]
    started = time.perf_counter()
    insights_in(text)
    assert time.perf_counter() - started < 1


parts = st.sampled_from(
    ["★ Insight ─────", "`★ Insight -----`", "─────", "`-----`", "> ", "\n", "\r\n", LEARNED, OTHER, ""]
)
texts = st.lists(st.one_of(parts, st.text(max_size=40)), max_size=40).map("\n".join)


@given(texts)
def test_whatever_is_found_has_the_right_size_and_stood_there(text):
    found = insights_in(text)
    assert len(found) <= 10
    assert len({normalised(each) for each in found}) == len(found)
    for each in found:
        assert 30 <= len(each) <= 10_000
        assert each == each.strip()
        assert all(line.strip() in text for line in each.split("\n"))


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=30, max_size=60), max_size=10), st.booleans())
def test_what_was_marked_is_found(lessons, closed):
    marked = [f"★ Insight {LINE}\n{each}" + (f"\n{LINE}\nAnd so on." if closed else "") for each in lessons]
    wanted = [each.strip() for each in lessons if len(each.strip()) >= 30 and "---" not in each]
    found = insights_in("\n".join(marked))
    assert {normalised(each) for each in wanted} <= {normalised(each) for each in found}
