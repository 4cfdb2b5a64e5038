"""Parsing marked insights out of a text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.insights.minhash import normalise_text
from memories.insights.parser import parse_insights

LESSON = "A queryset is lazy: nothing is read before somebody looks at it."
OTHER_LESSON = "Autovacuum needs a lower threshold on tables that only grow."
RULE_LINE = "─" * 45


@pytest.mark.parametrize(
    "text",
    [
        f"★ Insight {RULE_LINE}\n{LESSON}\n{RULE_LINE}",
        f"`★ Insight {RULE_LINE}`\n{LESSON}\n`{RULE_LINE}`",
        f"`★ Insight {RULE_LINE}`\n{LESSON}\n{RULE_LINE}",
        f"★ Insight {RULE_LINE}\n{LESSON}",
        f"`★ Insight {RULE_LINE}`\n{LESSON}",
        f"**★ Insight {RULE_LINE}**\n{LESSON}\n**{RULE_LINE}**",
        f"`★ Insight`\n★ Insight -----\n{LESSON}\n-----",
        f"★ Insight —————\n\n{LESSON}\n\n—————",
        f"★ Insight ─—-─—\r\n{LESSON}\r\n─────\r\n",
        f"★  Insight  ─────  \n{LESSON}\n───── ",
        f"Said before.\n\n    ★ Insight ─────\n    {LESSON}\n    ─────\nSaid after.",
        f"> ★ Insight ─────\n> {LESSON}\n> ─────\n> And more.",
        f">> ★ Insight ─────\n>> {LESSON}\n>>\n>> ─────",
        f"```\n★ Insight ─────\n{LESSON}\n─────\n```",
        f"★ Insight ─────\n\n\n   {LESSON}   \n\n\n─────",
        f"- ★ Insight ─────\n{LESSON}\n─────",
        f"1. ★ Insight ─────\n{LESSON}\n─────",
        f"[assistant] `★ Insight ─────`\n{LESSON}\n─────",
        f"**What I learned:** ★ Insight ─────\n{LESSON}\n─────",
        f"So it says:\n```text\n★ Insight ─────\n{LESSON}\n```\nAnd the weather is fine.",
        f"> ~~~\n> ★ Insight ─────\n> {LESSON}\n> ~~~\n> And the weather is fine.",
    ],
)
def test_every_form_of_the_marker_is_parsed(text):
    assert parse_insights(text) == [LESSON]


@pytest.mark.parametrize("nothing", ["\u200b", "\ufe0f", "\u2800", "\u3164"])
def test_invisible_text_is_no_insight(nothing):
    assert parse_insights(f"★ Insight ─────\n{nothing * 40}\n─────\nAnd a text.") == []


def test_code_fence_inside_an_insight_belongs_to_it():
    text = f"{LESSON}\n```\nlist(rows)\n```\nThat is all."
    assert parse_insights(f"Said.\n★ Insight ─────\n{text}\n─────") == [text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        LESSON,
        f"★ Insight ────\n{LESSON}\n─────",
        f"Insight ─────\n{LESSON}\n─────",
        f"★ Insights ─────\n{LESSON}\n─────",
        f"★ insight ─────\n{LESSON}\n─────",
        f"★ Insight ═════\n{LESSON}\n─────",
        f"★ Insight ───── {LESSON}",
        f"As in ★ Insight ─────\n{LESSON}\n─────",
        f"★ Insight ─────\n─────\n{LESSON}",
        "★ Insight ─────",
        "★ Insight ─────\n\n\n─────",
    ],
)
def test_unmarked_text_is_no_insight(text):
    assert parse_insights(text) == []


def test_marker_ends_the_previous_insight():
    text = f"★ Insight ─────\n{LESSON}\n★ Insight ─────\n{OTHER_LESSON}"
    assert parse_insights(text) == [LESSON, OTHER_LESSON]


def test_five_dashes_end_an_insight_and_four_do_not():
    text = f"★ Insight ─────\n{LESSON}\n----\n{OTHER_LESSON}\n-----\nNo more."
    assert parse_insights(text) == [f"{LESSON}\n----\n{OTHER_LESSON}"]


def test_code_keeps_its_indent():
    code = "def of(self):\n    return self.rows\n\n        # deeper still"
    assert parse_insights(f"★ Insight ─────\n{code}\n─────") == [code]
    quoted = "\n".join(f"> {line}".rstrip() for line in code.split("\n"))
    assert parse_insights(f"> ★ Insight ─────\n{quoted}\n> ─────") == [code]


@pytest.mark.parametrize(("length", "found"), [(29, 0), (30, 1), (10_000, 1), (10_001, 0)])
def test_insight_has_30_to_10000_characters(length, found):
    assert len(parse_insights(f"★ Insight ─────\n  {'x' * length}  \n─────")) == found


def test_a_text_has_at_most_ten_valid_insights():
    texts = ["too short", *(f"The lesson number {number} of very many lessons." for number in range(12))]
    found = parse_insights("\n".join(f"★ Insight ─────\n{text}\n─────" for text in texts))
    assert found == texts[1:11]


def test_repeated_insight_is_found_once():
    again = LESSON.upper().replace(" ", "\n")
    assert parse_insights(f"★ Insight ─────\n{LESSON}\n★ Insight -----\n{again}") == [LESSON]


@pytest.mark.parametrize(
    "piece",
    ["-", "─", "★ Insight ─────\n", "★ Insight ─", "★ Insight ─────", "─────\n", ">", "> ★ Insight -----\n", " ", "`\n"]
    + ["★ Insight ─────\n" + "x" * 30 + "\n", "★", "★ Insight \t", "*`_#> "],
)
def test_parsing_takes_linear_time(piece):
    text = f"{'>' * 1000}★ Insight ─────\n" + (piece * 100_000)[:100_000]
    started = time.thread_time()
    parse_insights(text)
    assert time.thread_time() - started < 1


text_parts = st.sampled_from(
    ["★ Insight ─────", "`★ Insight -----`", "─────", "`-----`", "> ", "\n", "\r\n", LESSON, OTHER_LESSON, ""]
)
marked_texts = st.lists(st.one_of(text_parts, st.text(max_size=40)), max_size=40).map("\n".join)


@given(marked_texts)
def test_insights_are_within_bounds_and_occur_in_the_text(text):
    found = parse_insights(text)
    assert len(found) <= 10
    assert len({normalise_text(each) for each in found}) == len(found)
    for each in found:
        assert 30 <= len(each) <= 10_000
        assert each == each.strip()
        assert all(line.strip() in text for line in each.split("\n"))


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=30, max_size=60), max_size=10), st.booleans())
def test_every_marked_insight_is_found(lessons, closed):
    marked = [f"★ Insight {RULE_LINE}\n{each}" + (f"\n{RULE_LINE}\nAnd so on." if closed else "") for each in lessons]
    expected = [each.strip() for each in lessons if len(each.strip()) >= 30 and "---" not in each]
    found = parse_insights("\n".join(marked))
    assert {normalise_text(each) for each in expected} <= {normalise_text(each) for each in found}
