"""What an insight is worth and what it is about, by the rules."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.insights import scoring


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Beware of this pitfall.", "gotcha"),
        ("You should always close it.", "best_practice"),
        ("The module is a layer of its own.", "architecture"),
        ("A factory is the usual pattern.", "pattern"),
        ("Water is wet.", "general"),
        ("", "general"),
        ("It fails. Always prefer the other.", "best_practice"),  # two signs against one
        ("It fails always.", "gotcha"),  # one against one: what bites comes first
        ("Always always always, a trap and a caveat.", "gotcha"),  # the same sign counts once
        ("patternless, alwaysness", "general"),
    ],
)
def test_the_type_is_that_for_which_the_most_words_speak(text, kind):
    assert scoring.classify_type(text) == kind


def test_topics_are_what_is_named_and_then_what_is_frequent():
    text = "Use `select_for_update` in PostgreSQL; SessionStore locks. Writers wait, writers queue. The writers' locks."
    assert scoring.extract_topics(text) == ["select_for_update", "postgresql", "sessionstore", "writers", "locks"]


def test_everyday_words_and_short_ones_are_no_topics():
    assert scoring.extract_topics("There there, because because it sits it sits.") == []


def test_topics_are_eight_at_most_each_once():
    assert scoring.extract_topics(" ".join(f"`name{n}` `NAME{n}`" for n in range(20))) == [f"name{n}" for n in range(8)]


@pytest.mark.parametrize("secret", ["sk-abcdef123456", "AKIAIOSFODNN7EXAMPLE", "my_secret_key"])
def test_a_secret_is_no_topic(secret):
    assert scoring.extract_topics(f"Never print `{secret}` in python.") == ["python"]


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("It is so.", 0.7),
        ("It is so, as measured.", 0.85),
        ("It is `so`.", 0.8),
        ("It might be so.", 0.4),
        ("We measured `it`.", 0.95),
        ("I think we measured `it`.", 0.65),
    ],
)
def test_confidence_is_more_with_evidence_and_less_with_hedges(text, confidence):
    assert scoring.estimate_confidence(text) == confidence


@pytest.mark.parametrize(
    ("text", "quality"),
    [
        ("x" * 59, 0.25),
        ("x" * 60, 0.375),
        ("x" * 99, 0.375),
        ("x" * 100, 0.5),
        ("x" * 2_000, 0.5),
        ("x" * 2_001, 0.375),
        ("x" * 5_000, 0.375),
        ("x" * 5_001, 0.25),
        ("Because.", 0.4),
        ("`x`", 0.4),
        ("    code", 0.4),
        ("Seven is 7.", 0.35),
        ("- one\n- two", 0.35),
        ("One.\n\nTwo.", 0.35),
        ("- `x` 7, because " + "x" * 100, 1.0),
    ],
)
def test_quality_is_made_of_length_reason_code_figures_and_form(text, quality):
    assert scoring.estimate_quality(text) == quality


@given(st.text(max_size=300))
def test_every_text_has_a_judgement_within_bounds(text):
    judgement = scoring.score_insight(text)
    assert 0 <= judgement.confidence <= 1
    assert 0 <= judgement.quality <= 1
    assert judgement.insight_type in scoring.TYPE_WORDS or judgement.insight_type == "general"
    assert len(judgement.topics) <= 8
    assert all(2 <= len(topic) <= 64 for topic in judgement.topics)
    assert scoring.score_insight(text) == judgement


@pytest.mark.parametrize(
    "piece", ["a", "a_", "aB", "a.b", "`", "`a\n", "\n", " ", "\n ", "1", "A", "key ", "9a", "- ", "=", "Aa"]
)
def test_the_time_grows_with_the_length_alone(piece):
    started = time.perf_counter()
    scoring.score_insight((piece * 100_000)[:100_000])
    assert time.perf_counter() - started < 1.5
