"""Full-text search: the CTEs `matches` and `top_matches`, ranked like BM25 from PostgreSQL's own text search.

ts_rank ignores how rare a word is, and websearch_to_tsquery requires every word. So the query is split into nodes (its
lexemes, quoted phrases, and compounds such as getUserName). Any node may match, and each is weighted by its rarity in
the scope: idf = ln(1 + (N - df + 0.5) / (df + 0.5)) (Robertson and Zaragoza 2009, in Lucene's form). A node's ts_rank
grows with its occurrences towards a bound, which is BM25's saturation. Long texts are discounted by
(average_length / words)^0.35.

The exponents were tuned on four labelled sets (conversation, meetings, documents, code), where they lie on a plateau.
The LIMITs bound the cost: however common its words, a query reads a few thousand rows.
"""

import re

from memories.search.query import SEARCHED_NAMESPACE_SQL
from memories.search.query_words import QueryWords

SCOPE_CTE = """
scope (id, search_vector) AS NOT MATERIALIZED (
    SELECT id, words FROM ({rows}) AS given (id, words, content){condition}
)"""
EXCLUSIONS_CTE = """
exclusions AS MATERIALIZED (
    SELECT memories_parse_query(term) AS node, written
    FROM unnest(%(excluded)s::text[], %(written)s::text[]) AS given (term, written)
)"""
# A requirement that consists of stop words alone (numnode 0) is ignored.
REQUIRED_FILTER_SQL = (
    """(numnode(memories_parse_query(%(required)s)) = 0 OR words @@ memories_parse_query(%(required)s))"""
)
EXCLUDED_FILTER_SQL = """NOT EXISTS (
    SELECT FROM exclusions WHERE given.words @@ node AND (written IS NULL OR given.content !~ written))"""


def build_scope_ctes(rows: str, words: QueryWords | None) -> list[str]:
    """Return the CTE `scope` of the compiled SQL of (id, search_vector, content), and one that it needs."""
    required, excluded = (words.required, words.excluded) if words else (None, ())
    filters = [*([REQUIRED_FILTER_SQL] if required else []), *([EXCLUDED_FILTER_SQL] if excluded else [])]
    condition = f"\n    WHERE {' AND '.join(filters)}" if filters else ""
    return [*([EXCLUSIONS_CTE] if excluded else []), SCOPE_CTE.format(rows=rows, condition=condition)]


WORD_CTES = [
    # Nodes: whole phrases and compounds, and every single lexeme. The 30 longest, because long ones select best.
    r"""
nodes AS MATERIALIZED (
    SELECT row_number() OVER () AS n, node::tsquery AS node
    FROM (
        SELECT m[1] AS node
        FROM querytree(memories_parse_query(%(query)s)) tree, LATERAL (
            SELECT regexp_matches(tree, $$('(?:[^']|'')+'(?::\*)?(?: <(?:-|\d+)> '(?:[^']|'')+'(?::\*)?)+)$$, 'g') AS m
            UNION ALL
            SELECT regexp_matches(tree, $$('(?:[^']|'')+'(?::\*)?)$$, 'g'){pairs}
        ) found
        -- The parser returns a hyphenated word whole and in parts; the parts suffice.
        WHERE m[1] !~ $$'[^']*[[:alpha:]]-[[:alpha:]][^']*' <$$
        GROUP BY m[1] ORDER BY length(m[1]) DESC LIMIT 30
    ) distinct_nodes
)""",
    "sample AS MATERIALIZED (SELECT search_vector FROM scope LIMIT 200)",
    # A large scope is searched for its rarest nodes only, by estimated frequency; the other nodes only add weight to
    # what those found. The rarest node that occurs in the sample is always searched for: otherwise an unknown word
    # would hide a common one. OFFSET 0: estimated once for each node.
    """
node_plan AS MATERIALIZED (
    SELECT n, node, estimate,
           sum(estimate) OVER (ORDER BY estimate, n) <= 1500
           OR row_number() OVER (PARTITION BY estimate > 0 ORDER BY estimate, n) = 1 AS looked_up
    FROM (
        SELECT n, node, CASE WHEN size.rows <= {small_scope} THEN 0 ELSE size.rows
            * (SELECT count(*) FROM sample WHERE search_vector @@ node) / greatest((SELECT count(*) FROM sample), 1)
        END AS estimate
        FROM nodes, size OFFSET 0
    ) estimated
)""",
    """
postings AS MATERIALIZED (
    SELECT node_plan.n, hit.id, hit.rank, hit.words
    FROM node_plan, LATERAL (
        SELECT id, ts_rank('{1,1,1,1}', search_vector, node_plan.node) AS rank, length(search_vector) AS words
        FROM scope WHERE search_vector @@ node_plan.node LIMIT 2000
    ) hit
    WHERE node_plan.looked_up{common}
)""",
    # `open`: not all rows of this node were read. Numbers of three or more digits act as names: they count twice.
    # `name`: the words that name what is sought. 2: the rarest identifier (a number of three or more digits, a phrase,
    # a compound), and words written like names, if in no more memories than a reader looks at; up to 1: another word
    # that is as rare. In a small scope every word is rare, so it says little there.
    """
node_weights AS MATERIALIZED (
    SELECT n, node, df, open,
           CASE WHEN has_number THEN 2 ELSE 1 END::float8
           * ln(1 + (greatest(size.rows - df, 0) + 0.5::float8) / (df + 0.5::float8)) AS idf,
           CASE WHEN NOT rare THEN NULL
                WHEN is_identifier AND df = min(df) FILTER (WHERE rare AND is_identifier) OVER () THEN 2
                WHEN is_name THEN 2
                WHEN df = min(df) FILTER (WHERE rare) OVER () THEN least(ln(greatest(size.rows, 1) / df) / 5, 1) ^ 2
           END::float8 AS name
    FROM size, (
        SELECT *, has_number OR is_phrase AS is_identifier,
               df > 0 AND NOT open AND df <= CASE WHEN has_number OR is_phrase THEN 50 ELSE 3 END AS rare
        FROM (
            SELECT node_plan.n, node, NOT looked_up OR coalesce(found, 0) >= 2000 AS open,
                   CASE WHEN looked_up AND coalesce(found, 0) < 2000 THEN coalesce(found, 0)
                        ELSE greatest(estimate, coalesce(found, 0)) END::float8 AS df,
                   node::text ~ '[[:digit:]]{3}' AS has_number, node::text LIKE '%%<%%' AS is_phrase,
                   strpos(memories_parse_query(%(names)s)::text, node::text) > 0 AS is_name
            FROM node_plan LEFT JOIN (SELECT n, count(*) AS found FROM postings GROUP BY n) counted USING (n)
        ) known
    ) frequency
)""",
    """
query_totals AS MATERIALIZED (
    SELECT (SELECT greatest(sum(idf), 1e-9::float8) FROM node_weights) AS possible_idf,
           (SELECT greatest(sum(idf) FILTER (WHERE df > 0 OR open), 1e-9::float8) FROM node_weights) AS present_idf,
           (SELECT greatest(avg(length(search_vector)), 1)::float8 FROM sample) AS average_length
)""",
    """
matches AS MATERIALIZED (
    SELECT id, min(words) AS words, sum(idf * rank) AS weight, sum(idf) AS presence,
           coalesce(sum(idf * rank) FILTER (WHERE NOT open), 0) AS closed_weight,
           coalesce(sum(idf) FILTER (WHERE NOT open), 0) AS closed_presence,
           max(name) AS name
    FROM postings JOIN node_weights USING (n) GROUP BY id
)""",
]

# 0.6079 = 6/π² is the ts_rank of one occurrence, so a text with every node once ranks about 1. The second term rewards
# texts that contain nearly all nodes present in the scope: a query that names a thing exactly. It counts by how much of
# the query is present at all.
TEXT_RANK_SQL = """({weight} / 0.6079::float8
            * (average_length / greatest({words}, 1)) ^ 0.35::float8 / possible_idf) ^ 1.25::float8
           + least({presence} / present_idf, 1) ^ 4::float8 * present_idf / possible_idf"""
# Three characters in a row of a script without spaces, such as a name inside a sentence: two pairs.
PAIRS_SQL = r"""
            UNION ALL
            SELECT ARRAY[pair || ' <-> ' || following] FROM (
                SELECT pair, lead(pair) OVER (ORDER BY place) AS following
                FROM regexp_split_to_table(tree, ' <-> | (?=[&|])|(?<=[&|]) ') WITH ORDINALITY AS part (pair, place)
            ) pairs WHERE pair ~ '^''[^ -~]{2}''$' AND following ~ '^''[^ -~]{2}''$'"""
#: Rows of a scope in which every word is looked up.
SMALL_SCOPE = 2_000
# Words that are all too common to be read whole may be rare together: memories with the two rarest of them. If there
# are many of those, no single one is meant.
COMMON_POSTINGS_SQL = """
    UNION
    SELECT node_plan.n, hit.id, ts_rank('{1,1,1,1}', search_vector, node_plan.node), length(search_vector)
    FROM (
        SELECT string_agg(node::text, ' & ')::tsquery AS nodes FROM (
            SELECT node FROM node_plan
            WHERE estimate > 0 AND node::text NOT LIKE '%%:*%%' AND EXISTS (SELECT FROM node_plan WHERE NOT looked_up)
            ORDER BY estimate, n LIMIT 2
        ) rarest
    ) common, LATERAL (SELECT id, search_vector FROM scope WHERE search_vector @@ common.nodes LIMIT 200) hit
    JOIN node_plan ON (NOT looked_up OR estimate > 1500) AND search_vector @@ node_plan.node"""


def build_word_ctes(query: str, rows: float | None) -> list[str]:
    """Return the CTEs of text search up to `matches`, for a scope of so many rows (None: unknown).

    Parts that a query does not need are left out: they cost time even if they find nothing.
    """
    parts = {
        "{small_scope}": str(SMALL_SCOPE),
        "{pairs}": "" if query.isascii() else PAIRS_SQL,
        "{common}": "" if rows is not None and rows <= SMALL_SCOPE else COMMON_POSTINGS_SQL,
    }
    return [re.sub("|".join(parts), lambda part: parts[part[0]], cte) for cte in WORD_CTES]


TOP_MATCHES_CTE = f"""
top_matches AS MATERIALIZED (
    SELECT id FROM matches CROSS JOIN query_totals ORDER BY name DESC NULLS LAST, {
    TEXT_RANK_SQL.format(weight="weight", words="words", presence="presence")
} DESC, id LIMIT %(depth)s
)"""
# The full rank of every candidate, whether text search or vector search proposed it.
TEXT_RANK_CTES = f"""
open_matches AS MATERIALIZED (
    SELECT candidates.id, min(length(search_vector)) AS words,
           sum(idf * ts_rank('{{1,1,1,1}}', search_vector, node)) AS weight, sum(idf) AS presence
    FROM candidates
    JOIN memories_memory memory
        ON memory.namespace_id = {SEARCHED_NAMESPACE_SQL.format("memory")} AND memory.id = candidates.id
    JOIN node_weights ON open AND search_vector @@ node
    GROUP BY candidates.id
),
text_ranks AS MATERIALIZED (
    SELECT id, name, {
    TEXT_RANK_SQL.format(
        weight="(coalesce(closed_weight, 0) + coalesce(open_matches.weight, 0))",
        words="matches.words, open_matches.words",
        presence="(coalesce(closed_presence, 0) + coalesce(open_matches.presence, 0))",
    )
} AS text_rank
    FROM candidates CROSS JOIN query_totals LEFT JOIN matches USING (id) LEFT JOIN open_matches USING (id)
    WHERE matches.id IS NOT NULL OR open_matches.id IS NOT NULL
)"""
