"""Decide whether one of two memories may replace the other: whether nothing that one says is missing in the longer one.

Both texts are compared word by word, after case, punctuation and white space are taken away. They are near duplicates
if all that differs is

filler      articles and politeness: "please note that", "the"
spelling    one slip in a word of five letters or more, two in one of nine: a letter more, less, other, or two swapped
joints      back-off and backoff
sentences   whole ones, before or behind all that the shorter text says

and if both claim the same numbers, negations and opposites in the same order (memories/insights/claims.py). A word that
either text writes with a capital letter may be a name, which is never taken for a slip: Hansen is not Jansen. Synonyms
are not known, so that most rewordings are not found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from memories.insights.claims import WORD_OR_SYMBOLS, differ_by_prefix, extract_claims
from memories.insights.minhash import compute_shingles, jaccard_similarity, normalise_text

#: The Jaccard similarity of two texts' shingles from which they are compared word by word. The bands of MinHash find
#: hardly any pair below it.
MIN_SIMILARITY = 0.5
#: Comparing words takes time that grows with the product of both lengths. Longer texts must be the same.
MAX_COMPARED_WORDS = 1_000
#: Of a shorter text one word more or less is much.
MIN_COMPARED_WORDS = 4
FILLER_WORDS = """
a an the and that this also just really actually basically kindly please note remember do does don t not dont s
"""
FILLERS = frozenset(FILLER_WORDS.split())
MIN_SLIP_LENGTH, MIN_SLIPS_LENGTH = 5, 9
SENTENCE_END = re.compile(r"(?<=[.!?…;])\s+|\n+")
CAPITALISED = re.compile(r"\b[^\W\d_]\w*")


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A text as it is compared: its words without case and punctuation, what they claim, where its sentences begin, and
    the words that it writes with a capital letter."""

    words: Sequence[str]
    claims: Sequence[str]
    sentence_starts: frozenset[int]
    capitalised: frozenset[str]
    shingles: np.ndarray

    @classmethod
    def of(cls, content: str) -> "Text":
        words: list[str] = []
        starts = {0}
        for sentence in SENTENCE_END.split(content):
            words += WORD_OR_SYMBOLS.findall(normalise_text(sentence)) if sentence.strip() else []
            starts.add(len(words))
        names = (word for word in CAPITALISED.findall(content) if word[0].isupper())
        capitalised = frozenset(part for word in names for part in normalise_text(word).split())
        shingles = compute_shingles(normalise_text(content))
        return cls(words, extract_claims(words), frozenset(starts), capitalised, shingles)


def compare(one: Text, other: Text) -> float:
    """Return the Jaccard similarity of two near duplicates, and 0 for texts that are none."""
    similarity = jaccard_similarity(one.shingles, other.shingles)
    return similarity if similarity >= MIN_SIMILARITY and is_contained(*sort_by_length(one, other)) else 0.0


def sort_by_length(one: Text, other: Text) -> tuple[Text, Text]:
    return (one, other) if len(one.words) <= len(other.words) else (other, one)


def is_contained(short: Text, long: Text) -> bool:
    """Return whether the longer text says all that the shorter one says, and nothing else in the same place."""
    if list(short.words) == list(long.words):
        return True
    if len(short.words) < MIN_COMPARED_WORDS or len(long.words) > MAX_COMPARED_WORDS:
        return False
    if not is_subsequence(short.claims, long.claims):  # cheap, and true of most of what is made from one template
        return False
    shared = find_shared_part(short, long)
    return shared is not None and claim_the_same(short, shared)


def is_subsequence(some: Sequence[str], others: Sequence[str]) -> bool:
    remaining = iter(others)
    return all(each in remaining for each in some)


def find_shared_part(short: Text, long: Text) -> list[str] | None:
    """Return the longer text's words without the sentences that it has more, or None if the texts differ otherwise."""
    shared: list[str] = []
    may_be_names = short.capitalised | long.capitalised
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, short.words, long.words, autojunk=False).get_opcodes():
        removed, added = short.words[i1:i2], long.words[j1:j2]
        if tag == "insert" and i1 in (0, len(short.words)) and are_sentences(long, j1, j2):
            continue
        if tag != "equal" and not is_harmless(removed, added, may_be_names):
            return None
        shared += added
    return shared


def are_sentences(text: Text, start: int, end: int) -> bool:
    return start in text.sentence_starts and end in text.sentence_starts


def is_harmless(removed: Sequence[str], added: Sequence[str], may_be_names: frozenset[str]) -> bool:
    """Return whether the same is said with the one words as with the other ones."""
    if FILLERS.issuperset(removed) and FILLERS.issuperset(added):
        return True
    if "".join(removed) == "".join(added):
        return True
    pairs = zip(removed, added, strict=False)
    return len(removed) == len(added) and all(is_slip(one, other, may_be_names) for one, other in pairs)


def is_slip(one: str, other: str, may_be_names: frozenset[str]) -> bool:
    if one in may_be_names or other in may_be_names or not (one.isalpha() and other.isalpha()):
        return False
    shorter = min(len(one), len(other))
    allowed = 2 if shorter >= MIN_SLIPS_LENGTH else 1 if shorter >= MIN_SLIP_LENGTH else 0
    return bool(allowed) and one[0] == other[0] and count_slips(one, other, allowed) <= allowed


def count_slips(one: str, other: str, enough: int) -> int:
    """Return the distance of two words in letters added, left out, exchanged or swapped (optimal string alignment), or
    more than `enough`."""
    if abs(len(one) - len(other)) > enough:
        return enough + 1
    before, row = [0], list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, counterpart in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != counterpart))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == counterpart:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]


def claim_the_same(text: Text, words: list[str]) -> bool:
    return list(text.claims) == extract_claims(words) and not differ_by_prefix({*text.words}, {*words})
