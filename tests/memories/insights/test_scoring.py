"""Rules for type, topics, confidence and quality of an insight."""

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
        ("It fails. Always prefer the other.", "best_practice"),  # two words against one
        ("It fails always.", "gotcha"),  # one against one: a warning wins
        ("Always always always, a trap and a caveat.", "gotcha"),  # the same word counts once
        ("patternless, alwaysness", "general"),
    ],
)
def test_type_is_the_one_with_the_most_indicating_words(text, kind):
    assert scoring.classify_type(text) == kind


def test_topics_are_names_first_then_frequent_words():
    text = "Use `select_for_update` in PostgreSQL; SessionStore locks. Writers wait, writers queue. The writers' locks."
    assert scoring.extract_topics(text) == ["select_for_update", "postgresql", "sessionstore", "writers", "locks"]


def test_common_and_short_words_are_no_topics():
    assert scoring.extract_topics("There there, because because it sits it sits.") == []


def test_topics_are_at_most_eight_distinct_ones():
    assert scoring.extract_topics(" ".join(f"`name{n}` `NAME{n}`" for n in range(20))) == [f"name{n}" for n in range(8)]


@pytest.mark.parametrize("secret", ["sk-abcdef123456", "AKIAIOSFODNN7EXAMPLE", "my_secret_key"])
def test_secrets_are_no_topics(secret):
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
def test_evidence_raises_confidence_and_hedges_lower_it(text, confidence):
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
def test_quality_adds_up_length_reason_code_figures_and_structure(text, quality):
    assert scoring.estimate_quality(text) == quality


@given(st.text(max_size=300))
def test_every_score_is_within_bounds(text):
    score = scoring.score_insight(text)
    assert 0 <= score.confidence <= 1
    assert 0 <= score.quality <= 1
    assert score.insight_type in scoring.TYPE_WORDS or score.insight_type == "general"
    assert len(score.topics) <= 8
    assert all(2 <= len(topic) <= 64 for topic in score.topics)
    assert scoring.score_insight(text) == score


@pytest.mark.parametrize(
    "piece", ["a", "a_", "aB", "a.b", "`", "`a\n", "\n", " ", "\n ", "1", "A", "key ", "9a", "- ", "=", "Aa"]
)
def test_scoring_takes_linear_time(piece):
    started = time.thread_time()
    scoring.score_insight((piece * 100_000)[:100_000])
    assert time.thread_time() - started < 1.5
