"""Fuse text search and vector search into one score from 0 to 1.

Words contribute their text rank. Meaning contributes its lead: how far the similarity stands above the scope's noise,
in units of what the best of N unrelated texts would reach by chance (√(2 ln N) standard deviations, the expected
maximum of N normal values). Both are computed for every candidate, whichever search proposed it.

score = 1 − e^−(2·(1 − e^(−lead³/2)) + max(lead − 1, 0)/2 + text_rank + name)

name is what a memory gains that contains a word which names what is sought (`name` of node_weights in words.py), so
that a name is found in a long question and among texts that differ in names only: 1 for identifiers and words written
like names; for another rare word its rarity, times e^(−best lead³/4), for it matters less where the meaning is clear;
twice that for a memory without a vector, because its meaning is unknown, not absent. The bound of 2 keeps a name ahead
of many similar texts; the linear term keeps an order among texts that all stand far above the noise.

Chosen among thirty shapes on four labelled sets and sets of names and identifiers (docs/architecture/search.md).
"""

from memories.search.words import TEXT_RANK_CTES, TOP_MATCHES_CTE

CANDIDATE_SQL = {
    (True, True): "SELECT id FROM top_matches UNION SELECT id FROM nearest",
    (True, False): "SELECT id FROM top_matches",
}
#: What meaning adds to the exponent of the score.
MEANING_PART_SQL = "2 * (1 - exp(-least({lead}, 10) ^ 3 / 2)) + greatest(least({lead}, 10) - 1, 0) / 2"
FUSED_HITS_CTE = f"""
hits AS MATERIALIZED (
    SELECT id, 1 - exp(-(
               {MEANING_PART_SQL.format(lead="lead")} + coalesce(text_rank, 0)
               + CASE WHEN name IS NULL THEN 0 WHEN similarity IS NULL THEN 2 * least(name, 1) WHEN name = 2 THEN 1
                      ELSE name * exp(-least(max(lead) OVER (), 10) ^ 3 / 4) END
           )) AS score,
           similarity, text_rank, lead, EXISTS (SELECT FROM nearest WHERE nearest.id = compared.id) AS by_meaning
    FROM (
        SELECT candidates.id, similarity, text_rank, name, coalesce(
            greatest(similarity - noise.mean, 0) / noise.spread / sqrt(2 * ln(greatest(size.rows, 10))), 0
        ) AS lead
        FROM candidates CROSS JOIN noise CROSS JOIN size LEFT JOIN text_ranks USING (id) LEFT JOIN LATERAL (
            SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE vectors.id = candidates.id OFFSET 0
        ) v ON true
    ) compared
)"""
TEXT_HITS_CTE = """
hits AS MATERIALIZED (
    SELECT id, 1 - exp(-(text_rank + CASE WHEN name = 2 THEN 1 ELSE coalesce(name, 0) / 2 END)) AS score,
           NULL::float8 AS similarity, text_rank, 0::float8 AS lead, false AS by_meaning
    FROM text_ranks
)"""
VECTOR_HITS_CTE = """
hits AS MATERIALIZED (
    SELECT id, least(greatest(similarity, 0), 1) AS score, similarity, NULL::float8 AS text_rank, true AS by_meaning
    FROM nearest
)"""


def build_hit_ctes(*, by_words: bool, by_meaning: bool) -> list[str]:
    """Return the last CTEs of the statement, which end with `hits` (id, score, similarity, text_rank, by_meaning).

    With words `hits` has also `lead`, see above.
    """
    if not by_words:
        return [VECTOR_HITS_CTE]
    candidates = f"candidates AS MATERIALIZED ({CANDIDATE_SQL[by_words, by_meaning]})"
    return [TOP_MATCHES_CTE, candidates, TEXT_RANK_CTES, FUSED_HITS_CTE if by_meaning else TEXT_HITS_CTE]
