"""The arm of words: `matched` and `foremost`, ranked like BM25 with what PostgreSQL's own full text gives.

ts_rank knows nothing of rarity, and websearch_to_tsquery wants every word. So the query is taken apart into nodes (its
lexemes, quoted phrases, and compounds such as getUserName), any of which may match, each weighed by its rarity in the
scope: idf = ln(1 + (N - df + 0.5) / (df + 0.5)) (Robertson and Zaragoza 2009, in Lucene's form). A node's ts_rank grows
with its occurrences towards a bound, which is BM25's saturation. Long texts are discounted by (usual / words)^0.35.

The exponents were found on four labelled sets (conversation, meetings, documents, code); they lie on a plateau. The
limits bound the cost: however common its words, a query reads some thousands of rows.
"""

import re

# What must match whatever else does: quoted phrases and what is excluded. With a bare OR the phrases are alternatives.
QUOTED_OR_EXCLUDED = re.compile(r'-?"[^"]*"|(?<!\S)-\S+')
EXCLUDED_TERM = re.compile(r'(?<!\S)-(?:"[^"]*"|\S+)')
BARE_OR = re.compile(r"(?<!\S)or(?!\S)", re.IGNORECASE)

SCOPE_CTE = (
    "scope (id, search_vector) AS NOT MATERIALIZED (SELECT id, words FROM ({rows}) AS given (id, words) {required})"
)
# A requirement of nothing but stop words is none.
REQUIRED_FILTER_SQL = """WHERE numnode(websearch_to_tsquery('english', memories_normalize_text(%(required)s))) = 0
    OR words @@ websearch_to_tsquery('english', memories_normalize_text(%(required)s))"""


def extract_required(query: str | None) -> str | None:
    """The part of the query in web-search syntax that every hit must match; None when there is none."""
    if query is None:
        return None
    if not BARE_OR.sub("", QUOTED_OR_EXCLUDED.sub("", query)).strip():
        return query
    pieces = (EXCLUDED_TERM if BARE_OR.search(QUOTED_OR_EXCLUDED.sub("", query)) else QUOTED_OR_EXCLUDED).findall(query)
    return " ".join(pieces) or None


TEXT_CTES = [
    # Nodes: phrases and compounds whole, and every lexeme alone; the longest are the most telling.
    r"""
nodes AS MATERIALIZED (
    SELECT row_number() OVER () AS n, node::tsquery AS node
    FROM (
        SELECT m[1] AS node
        FROM querytree(websearch_to_tsquery('english', memories_normalize_text(%(query)s))) tree, LATERAL (
            SELECT regexp_matches(tree, $$('(?:[^']|'')+'(?: <(?:-|\d+)> '(?:[^']|'')+')+)$$, 'g') AS m
            UNION ALL
            SELECT regexp_matches(tree, $$('(?:[^']|'')+')$$, 'g')
        ) found
        -- The parser gives a hyphenated word whole and in parts: the parts are enough.
        WHERE m[1] !~ $$'[^']*[[:alpha:]]-[[:alpha:]][^']*' <$$
        GROUP BY m[1] ORDER BY length(m[1]) DESC LIMIT 20
    ) distinct_nodes
)""",
    "sample AS MATERIALIZED (SELECT search_vector FROM scope LIMIT 200)",
    # In a large scope the rarest nodes, by a guess, are looked up; the others only weigh what those brought. The rarest
    # of those that surely occur is looked up in any case: next to an unknown word a common one must not go unheard.
    """
planned AS MATERIALIZED (
    SELECT n, node, guess,
           sum(guess) OVER (ORDER BY guess, n) <= 1500
           OR row_number() OVER (PARTITION BY guess > 0 ORDER BY guess, n) = 1 AS looked_up
    FROM (
        SELECT n, node, CASE WHEN size.rows <= 2000 THEN 0 ELSE size.rows
            * (SELECT count(*) FROM sample WHERE search_vector @@ node) / greatest((SELECT count(*) FROM sample), 1)
        END AS guess
        FROM nodes, size
    ) guessed
)""",
    """
postings AS MATERIALIZED (
    SELECT planned.n, hit.id, hit.rank, hit.words
    FROM planned, LATERAL (
        SELECT id, ts_rank('{1,1,1,1}', search_vector, planned.node) AS rank, length(search_vector) AS words
        FROM scope WHERE search_vector @@ planned.node LIMIT 2000
    ) hit
    WHERE planned.looked_up
)""",
    # `open` nodes were not looked up to the end. Numbers of three digits and more are names: they count twice.
    """
weighed AS MATERIALIZED (
    SELECT n, node, df, NOT looked_up OR found >= 2000 AS open,
           CASE WHEN node::text ~ '[[:digit:]]{3}' THEN 2 ELSE 1 END::float8
           * ln(1 + (greatest(size.rows - df, 0) + 0.5::float8) / (df + 0.5::float8)) AS idf
    FROM size, (
        SELECT n, node, looked_up, found,
               CASE WHEN looked_up AND found < 2000 THEN found ELSE greatest(guess, found) END::float8 AS df
        FROM (
            SELECT planned.*, coalesce(counted.found, 0) AS found
            FROM planned LEFT JOIN (SELECT n, count(*) AS found FROM postings GROUP BY n) counted USING (n)
        ) known
    ) frequency
)""",
    """
measure AS MATERIALIZED (
    SELECT (SELECT greatest(sum(idf), 1e-9::float8) FROM weighed) AS possible,
           (SELECT greatest(sum(idf) FILTER (WHERE df > 0 OR open), 1e-9::float8) FROM weighed) AS present,
           (SELECT greatest(avg(length(search_vector)), 1)::float8 FROM sample) AS usual
)""",
    """
matched AS MATERIALIZED (
    SELECT id, min(words) AS words, sum(idf * rank) AS weight, sum(idf) AS presence,
           coalesce(sum(idf * rank) FILTER (WHERE NOT open), 0) AS closed_weight,
           coalesce(sum(idf) FILTER (WHERE NOT open), 0) AS closed_presence
    FROM postings JOIN weighed USING (n) GROUP BY id
)""",
]

# 0.6079 = 6/π²: what ts_rank gives one occurrence, so that a text that has every node once comes to about 1. The second
# term rewards having nearly all of what can be had, which is what someone who names a thing exactly wants.
TEXT_RANK_SQL = """({weight} / 0.6079::float8 * (usual / greatest({words}, 1)) ^ 0.35::float8 / possible) ^ 1.25::float8
           + least({presence} / present, 1) ^ 4::float8"""
TOP_MATCHES_CTE = f"""
foremost AS MATERIALIZED (
    SELECT id FROM matched CROSS JOIN measure
    ORDER BY {TEXT_RANK_SQL.format(weight="weight", words="words", presence="presence")} DESC, id LIMIT %(depth)s
)"""
# The full rank of every candidate, whichever arm proposed it.
RANKED_CTES = f"""
opened AS MATERIALIZED (
    SELECT candidates.id, min(length(search_vector)) AS words,
           sum(idf * ts_rank('{{1,1,1,1}}', search_vector, node)) AS weight, sum(idf) AS presence
    FROM candidates JOIN memories_memory USING (id) JOIN weighed ON open AND search_vector @@ node
    GROUP BY candidates.id
),
ranked AS MATERIALIZED (
    SELECT id, {
    TEXT_RANK_SQL.format(
        weight="(coalesce(closed_weight, 0) + coalesce(opened.weight, 0))",
        words="matched.words, opened.words",
        presence="(coalesce(closed_presence, 0) + coalesce(opened.presence, 0))",
    )
} AS text_rank
    FROM candidates CROSS JOIN measure LEFT JOIN matched USING (id) LEFT JOIN opened USING (id)
    WHERE matched.id IS NOT NULL OR opened.id IS NOT NULL
)"""
