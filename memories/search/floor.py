"""The floor of an answer: what a hit must have in common with the query. A question about nothing finds nothing.

A hit stands above the floor by its words, or by its meaning:

share   the share of the query's words, by rarity, that the memory contains
clear   the similarity above a noise floor, where 0 is the best of some nonsense queries in the query's script against
        the same memory and 1 a text that surely answers (`KnownModel.certain_similarity`; mostly an identical text)

It must reach the floor with one of them, or come near it with both. The level belongs to the model
(`KnownModel.floor`). At 0.25 with all-MiniLM-L6-v2, 98 to 100 % of the relevant hits among the first ten stayed on four
labelled sets, and 17 to 36 % of 25 other nonsense queries found something, by set, mostly by one real word.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pgvector import HalfVector

from memories.embeddings import Embedder, EmbeddingError, get_embedder_for_model
from memories.embeddings.known_models import find_known_model
from memories.search.nonsense import NONSENSE_QUERIES
from memories.search.query import Ranking
from memories.search.query_embedding import get_query_vector

SCRIPT_ALIASES = {"KATAKANA": "HIRAGANA"}

# A clear meaning is enough; a less clear one, if its similarity also leads in the scope. Among few memories less
# suffices: fewer of them resemble a query by chance.
CONDITION_SQL = """(
    significance.clear >= %(floor)s::float8
    OR coverage.share >= %(floor)s * CASE WHEN size.rows <= 100 THEN 0.6 ELSE 1 END
    OR (coverage.share >= %(floor)s * 0.6 AND significance.clear >= %(floor)s * 0.2)
    OR (significance.clear >= %(floor)s * CASE WHEN size.rows <= 100 THEN 0.2 ELSE 0.6 END
        AND {lead} >= %(floor)s * CASE WHEN size.rows <= 100 THEN 2.8 ELSE 3.2 END)
)"""
# The share of single words; phrases consist of them. A pair of characters that occurs nowhere is mostly the end of one
# word and the beginning of the next. Rarity among at least a thousand memories: among five, a word that occurs in two
# of them would weigh next to nothing beside one that occurs in none.
COVERAGE_JOIN = """CROSS JOIN LATERAL (
    SELECT coalesce(sum(rarity) FILTER (WHERE memory.search_vector @@ node) / nullif(sum(rarity), 0), 0) AS share
    FROM (
        SELECT node, CASE WHEN node::text ~ '[[:digit:]]{3}' THEN 2
                          WHEN df = 0 AND node::text ~ '^''[^ -~]{2}''$' THEN 0.33 ELSE 1 END::float8
               * ln(1 + greatest((SELECT greatest(rows, 1000) FROM size) - df, 0) / (df + 0.5::float8)) AS rarity
        FROM node_weights WHERE node::text NOT LIKE '%%<%%'
    ) words
) coverage"""
NO_COVERAGE = "CROSS JOIN (SELECT 0::float8 AS share) coverage"
SIGNIFICANCE_JOIN = """LEFT JOIN LATERAL (
    SELECT (hits.similarity - level) / greatest(%(certain_similarity)s::float8 - level, 0.01) AS clear
    FROM (SELECT greatest({levels}) AS level FROM vectors WHERE vectors.id = memory.id OFFSET 0) nonsense
) significance ON true"""
NO_SIGNIFICANCE = "CROSS JOIN (SELECT NULL::float8 AS clear) significance"


@dataclass(frozen=True)
class Floor:
    """A level from 0 (off) to 1, and the vectors of the nonsense queries; none for a search by words alone."""

    level: float
    nonsense: Sequence[HalfVector] = ()

    def apply(self, ranking: Ranking, *, by_words: bool) -> Ranking:
        """Return the ranking with the floor's condition. Its SQL may use `coverage.share` and `significance.clear`."""
        if not self.level:
            return ranking
        levels = ", ".join(f"-(vector <#> %(nonsense{number})s::halfvec)" for number in range(len(self.nonsense)))
        joins = [
            COVERAGE_JOIN if by_words else NO_COVERAGE,
            SIGNIFICANCE_JOIN.format(levels=levels) if self.nonsense else NO_SIGNIFICANCE,
            ranking.joins,
        ]
        vectors = {f"nonsense{number}": vector for number, vector in enumerate(self.nonsense)}
        return replace(
            ranking,
            joins=" ".join(joins),
            condition=f"({ranking.condition}) AND {CONDITION_SQL.format(lead='hits.lead' if by_words else '0')}",
            parameters={**ranking.parameters, **vectors, "floor": self.level},
        )


NO_FLOOR = Floor(0.0)


def build_floor(level: float | None, query: str | None, model: str | None, *, by_meaning: bool) -> Floor:
    """Return the floor of a search; a level of None means the model's.

    Embeds the nonsense queries, once in a process. Words decide alone while the embedder is away, and when the query is
    in a script that the model was not trained on: what it finds then is chance.
    """
    if level == 0:
        return NO_FLOOR
    embedder, script = get_embedder_for_model(model), find_script(query or "")
    known = find_known_model(embedder.model)
    level = known.floor if level is None else level
    if not by_meaning or not level or (known.english_only and script != "LATIN"):
        return Floor(level)
    try:
        return Floor(level, embed_nonsense(embedder, script))
    except EmbeddingError:
        return Floor(level)


def find_script(query: str) -> str:
    """Return the key of NONSENSE_QUERIES for most of the query's letters; LATIN for scripts that have none."""
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in query if letter.isalpha())
    counts = Counter(SCRIPT_ALIASES.get(name, name) for name in names)
    if counts["HIRAGANA"]:
        # Japanese is written in Han characters as well.
        counts["HIRAGANA"] += counts.pop("CJK", 0)
    known = {script: count for script, count in counts.items() if script in NONSENSE_QUERIES}
    # A word of Latin letters, such as docker, has more of them than a word of most others.
    known["LATIN"] = known.get("LATIN", 0) // 3
    return max(known, key=lambda script: known[script], default="LATIN")


@lru_cache(maxsize=32)
def embed_nonsense(embedder: Embedder, script: str) -> tuple[HalfVector, ...]:
    """Return HalfVector objects, ready to send: building sixteen of them took half a millisecond of every request."""
    return tuple(HalfVector(get_query_vector(text, embedder.model)) for text in NONSENSE_QUERIES[script])
