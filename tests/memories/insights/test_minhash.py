"""Comparing texts: normalised digests and MinHash."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.insights.deduplication import TextFingerprint
from memories.insights.minhash import compute_bands, compute_shingles, digest, jaccard_similarity, normalise_text

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=2 + n % 8)) for n in range(3_000)]


def edit_random_words(seed: int, words: int, changes: int) -> tuple[str, str]:
    """Return a text of random words and the same text with some words replaced."""
    chance = random.Random(seed)
    one = chance.choices(WORDS, k=words)
    other = list(one)
    for place in chance.sample(range(words), changes):
        other[place] = chance.choice(WORDS)
    return " ".join(one), " ".join(other)


def compare(one: str, other: str) -> float:
    return jaccard_similarity(compute_shingles(normalise_text(one)), compute_shingles(normalise_text(other)))


@pytest.mark.parametrize(
    "other",
    [
        "a queryset is lazy",
        "A  QUERYSET\nis lazy.",
        "“A queryset” is — lazy!",
        "`A queryset` *is* lazy",
        "A\tqueryset_is/lazy",
    ]
    + ["Ａ ｑｕｅｒｙｓｅｔ is lazy"],
)
def test_normalising_ignores_case_space_and_punctuation(other):
    assert normalise_text(other) == "a queryset is lazy"


@pytest.mark.parametrize("other", ["x < y", "x > y", "x y", "x = y", "x + y"])
def test_normalising_keeps_symbols(other):
    assert [
        each for each in ("x < y", "x > y", "x y", "x = y", "x + y") if normalise_text(each) == normalise_text(other)
    ] == [other]


def test_texts_of_only_punctuation_differ():
    assert digest(normalise_text("…!?")) != digest(normalise_text("—"))


@given(st.text())
def test_normalising_is_idempotent(text):
    assert normalise_text(normalise_text(text)) == normalise_text(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_similarity_is_the_jaccard_index_of_shingles(one, other):
    sets = [
        {text[n : n + 3] for n in range(len(text) - 2)}
        for text in (normalise_text(each).ljust(3) for each in (one, other))
    ]
    assert compare(one, other) == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
    assert compare(one, other) == compare(other, one)
    assert compare(one, one) == 1


def test_bands_are_stable_across_releases():
    """Bands are stored, so a later release must compute the same."""
    assert compute_bands(compute_shingles("a queryset is lazy"))[:3] == EXPECTED_BANDS


EXPECTED_BANDS = [-3609915616842527514, 4773753544113344841, -6075077375321953302]


@pytest.mark.parametrize(("least", "most", "found"), [(0.85, 1.0, 1.0), (0.0, 0.3, 0.02)])
def test_near_duplicates_share_a_band_and_others_rarely_do(least, most, found):
    pairs = [
        edit_random_words(seed, 60, changes) for seed in range(60) for changes in ((1, 2, 3) if least else (30, 60))
    ]
    pairs = [
        (TextFingerprint.of(one), TextFingerprint.of(other))
        for one, other in pairs
        if least <= compare(one, other) <= most
    ]
    assert len(pairs) >= 50
    sharing = sum(not set(one.bands).isdisjoint(other.bands) for one, other in pairs) / len(pairs)
    assert sharing == 1 if found == 1 else sharing <= found


@pytest.mark.parametrize("text", ["", "x", "xy", "\U0010ffff" * 9, "日本語のテキスト"])
def test_every_text_has_bands(text):
    assert len(TextFingerprint.of(text).bands) == 20
    assert all(-(2**63) <= band < 2**63 for band in TextFingerprint.of(text).bands)
