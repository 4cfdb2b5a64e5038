"""Retrieve what matters to one user: the entities whose id a query names, else what matches its words and meaning.

score = .35 words + .35 meaning + .10 nearness + .12 recency + .08 base relevance, each part from 0 to 1:

words      1 − e^−rank of the text match; at most the share of the query's words, by rarity, that the memory contains
meaning    1 − e^(−lead³/2), with the similarity's lead over unrelated texts as in a search
nearness   1 for an anchor, half for each relationship away from one, times the strengths of these relationships
recency    1 for a memory stored now, half for each day of its age
base       the base relevance

The last three only rank what was found. A memory is found by a quarter of the query's words, or by a significant
similarity: `clear` is the similarity above a noise floor, where 0 is the best of 16 nonsense queries against the same
memory and 1 a text that surely answers (the model says from which similarity on; mostly an identical text). The bounds
were chosen with all-MiniLM-L6-v2 on four labelled sets and two of our own; expect less elsewhere.
94 to 100 % of the relevant memories among the first ten stayed, and 0 to 14 % of 138 nonsense queries found something,
by set (most in source code, by mere syllables, and in chat, by mere nouns). With a bound of 1.0 on the lead instead, it
was 68 to 94 % and 4 to 33 %.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import GreaterThanOrEqual
from pgvector import HalfVector

from memories.embeddings import Embedder, get_embedder_for_model
from memories.entity_ids import convert_salesforce_id
from memories.models import Memory
from memories.retrieval.relevance import AGE_HOURS_SQL, Relevance, relevance_sql
from memories.schemas import OUT_COLUMNS, to_memory_out
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Ranking, Search
from memories.search.query_embedding import get_query_vector
from memories.search.words import QUOTED_OR_EXCLUDED
from memories.seen import seen_memories
from memory_site.core.http.fields import Tags, UnitInterval

SCORE_WEIGHTS = {"words": 0.35, "meaning": 0.35, "nearness": 0.10, "recency": 0.12, "base_relevance": 0.08}
NONSENSE_QUERIES = (
    "zorgle fimbat", "kwexil drompo vantu", "asdf jkl", "blue spoon under seven clouds", "the quick brown fox",
    "xq zzt", "paper tiger marmalade", "hum glib tarrow nex", "sideways purple arithmetic",
    "velvet thunder ladder soup", "qaz wsx edc", "a of the and", "garden piano goose", "melp",
    "unbridled teacup parliament", "oonga bling",
)  # fmt: skip
# A clear meaning is enough; a less clear one, if its similarity also leads among the user's memories.
MATCH_CONDITION_SQL = """(
    coverage.share >= 0.25 OR significance.clear >= 0.25
    OR (coverage.share >= 0.15 AND significance.clear >= 0.05) OR (significance.clear >= 0.15 AND hits.lead >= 0.8)
)"""
# Rarity among at least a thousand memories: among five, a word that occurs in two of them would weigh next to nothing
# beside one that occurs in none.
QUERY_COVERAGE_JOIN = """CROSS JOIN LATERAL (
    SELECT coalesce(sum(rarity) FILTER (WHERE memory.search_vector @@ node) / nullif(sum(rarity), 0), 0) AS share
    FROM (
        SELECT node, CASE WHEN node::text ~ '[[:digit:]]{3}' THEN 2 ELSE 1 END::float8
               * ln(1 + greatest((SELECT greatest(rows, 1000) FROM size) - df, 0) / (df + 0.5::float8)) AS rarity
        FROM node_weights
    ) words
) coverage"""
SIGNIFICANCE_JOIN = """LEFT JOIN LATERAL (
    SELECT (hits.similarity - level) / greatest(%(certain_similarity)s::float8 - level, 0.01) AS clear
    FROM (SELECT greatest({levels}) AS level FROM vectors WHERE vectors.id = memory.id OFFSET 0) nonsense
) significance ON true"""
NO_SIGNIFICANCE = "CROSS JOIN (SELECT NULL::float8 AS clear) significance"
# Two steps from the anchors in both directions; the first over the strongest 200 relationships.
NEARNESS_JOIN = """LEFT JOIN (
    WITH steps AS NOT MATERIALIZED (
        SELECT from_memory_id AS here, to_memory_id AS there, greatest(strength, 1e-9) AS strength
        FROM graph_relationship WHERE namespace_id = %(namespace)s AND owner = %(owner)s
        UNION ALL
        SELECT to_memory_id, from_memory_id, greatest(strength, 1e-9)
        FROM graph_relationship WHERE namespace_id = %(namespace)s AND owner = %(owner)s
    ),
    next AS MATERIALIZED (
        SELECT there AS id, max(strength) AS strength FROM steps WHERE here = ANY(%(anchors)s)
        GROUP BY there ORDER BY 2 DESC LIMIT 200
    )
    SELECT id AS memory_id, max(nearness) AS nearness FROM (
        SELECT unnest(%(anchors)s::uuid[]) AS id, 1::float8 AS nearness
        UNION ALL
        SELECT id, strength / 2 FROM next
        UNION ALL
        (SELECT there, next.strength * steps.strength / 4 FROM next JOIN steps ON here = id LIMIT 5000)
    ) reached GROUP BY id
) nearby ON nearby.memory_id = memory.id"""
NO_ANCHORS = "CROSS JOIN (SELECT 0::float8 AS nearness) nearby"
AGE_DAYS_SQL = AGE_HOURS_SQL.format(last_updated="memory.last_updated", created_at="memory.created_at") + " / 24"
SCORE_PARTS_JOIN = f"""CROSS JOIN LATERAL (
    SELECT CASE WHEN hits.text_rank IS NULL THEN 0 ELSE least(1 - exp(-hits.text_rank), coverage.share) END AS words,
           1 - exp(-least(greatest(hits.lead, 1e-9), 10) ^ 3 / 2) AS meaning,
           coalesce(nearby.nearness, 0) AS nearness,
           0.5::float8 ^ least({AGE_DAYS_SQL}, 60) AS recency,
           greatest(memory.base_relevance, 1e-9) AS base_relevance,
           {relevance_sql("memory")} AS relevance
    OFFSET 0
) part"""
SCORE_SQL = " + ".join(f"{weight} * part.{name}" for name, weight in SCORE_WEIGHTS.items())
RANKING_COLUMNS = {name: f"part.{name}" for name in ("relevance", *SCORE_WEIGHTS)}

#: Words of a query that are looked up as ids of entities.
MAX_QUERY_TOKENS = 200
SURROUNDING_PUNCTUATION = ".,;:!?\"'()[]{}<>#`*"
# Amounts such as 250,000, $250000 and 250k; not inside a word.
AMOUNT_PATTERN = re.compile(
    r"(?<![\w.,-])[$€£]?(?P<number>\d{1,3}(?:,\d{3})+|\d{4,12}|\d{1,6}(?=[km]\b))(?P<unit>[km]?)\b", re.IGNORECASE
)
UNIT_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
# Most queries name no entity and need nothing else: the ORM, with all columns, takes five times as long.
SELECT_NAMED_ENTITIES_SQL = """
SELECT id FROM memories_memory WHERE namespace_id = %s AND user_id = %s AND entity_id IS NOT NULL
AND upper(entity_id) = ANY (ARRAY(SELECT upper(form) FROM unnest(%s::text[]) AS form))"""
SELECT_OCCURRING_FORMS_SQL = """
SELECT form FROM unnest(%s::text[]) AS form WHERE EXISTS (
    SELECT FROM memories_memory WHERE namespace_id = %s AND user_id = %s
    AND search_vector @@ phraseto_tsquery('english', memories_normalize_text(form))
)"""


class RetrievalFilters(Filters):
    """Filters on a user's memories, applied before the search."""

    excluded_tags: Tags | None = None
    max_age_hours: float | None = None
    min_relevance: UnitInterval | None = None

    def labels(self) -> "RetrievalFilters":
        """Return the filters that the table of vectors can answer."""
        return RetrievalFilters(user_id=self.user_id, memory_types=self.memory_types)

    def iter_conditions(self) -> Iterator[Q]:
        yield from super().iter_conditions()
        if self.excluded_tags is not None:
            yield ~Q(tags__overlap=self.excluded_tags)
        if self.max_age_hours is not None:
            updated = Coalesce("last_updated", "created_at")
            yield Q(GreaterThanOrEqual(updated, Now() - timedelta(hours=self.max_age_hours)))
        if self.min_relevance is not None:
            yield Q(GreaterThanOrEqual(Relevance(), self.min_relevance))


def compute_query_vectors(query: str, model: str | None) -> list[Any]:
    """Return the vectors of the query and of the nonsense queries. Raises EmbeddingError.

    Return none for a query of numbers and names with numbers: texts that resemble those are not what it means.
    """
    has_plain_word = any(any(map(str.isalpha, word)) and not any(map(str.isdigit, word)) for word in query.split())
    return [get_query_vector(query, model), *embed_nonsense(get_embedder_for_model(model))] if has_plain_word else []


@lru_cache(maxsize=8)
def embed_nonsense(embedder: Embedder) -> tuple[HalfVector, ...]:
    """Return HalfVector objects, ready to send: building sixteen of them took half a millisecond of every request."""
    return tuple(HalfVector(get_query_vector(text, embedder.model)) for text in NONSENSE_QUERIES)


def retrieve(
    namespace_id: int,
    filters: RetrievalFilters,
    query: str,
    vectors: Sequence[Any],
    model: str | None,
    near: Sequence[UUID],
    limit: int,
) -> list[dict[str, Any]]:
    """Return RetrievedHitOut dictionaries, best first: entities whose id the query names, then other matches, unless
    the query consists of ids.

    `vectors` are those of `compute_query_vectors`, `near` the caller's anchors. Two statements; one more for amounts in
    the query, and one more for ids.
    """
    named, only_ids = find_named_entities(namespace_id, filters, query)
    seen_memories.add(named)
    if only_ids:
        return named[:limit]
    named_ids = [hit["memory"]["id"] for hit in named]
    owner = filters.user_id or ""
    ranking = build_ranking(namespace_id, owner, [*near, *named_ids], vectors[1:])
    vector = vectors[0] if vectors else None
    words = expand_amounts(namespace_id, owner, query)
    hits = find_memories(namespace_id, filters, Search(words, vector, model, limit, ranking=ranking))
    return [*named, *(nest_score_parts(hit) for hit in hits if hit["memory"]["id"] not in named_ids)][:limit]


def build_ranking(namespace_id: int, owner: str, anchors: Sequence[UUID], nonsense: Sequence[HalfVector]) -> Ranking:
    """Build the ranking; see memories/search/__init__.py for the names that its SQL may use."""
    levels = ", ".join(f"-(vector <#> %(nonsense{number})s::halfvec)" for number in range(len(nonsense)))
    joins = [
        QUERY_COVERAGE_JOIN,
        SIGNIFICANCE_JOIN.format(levels=levels) if nonsense else NO_SIGNIFICANCE,
        NEARNESS_JOIN if anchors else NO_ANCHORS,
        SCORE_PARTS_JOIN,
    ]
    return Ranking(
        score=SCORE_SQL,
        joins=" ".join(joins),
        condition=MATCH_CONDITION_SQL,
        columns=RANKING_COLUMNS,
        parameters={
            **{f"nonsense{number}": vector for number, vector in enumerate(nonsense)},
            **{"namespace": namespace_id, "owner": owner, "anchors": list(anchors)},
        },
        candidates=2,
    )


def nest_score_parts(hit: dict[str, Any]) -> dict[str, Any]:
    """Return the hit with its parts under `parts`."""
    return hit | {"parts": {name: hit.pop(name) for name in SCORE_WEIGHTS}}


def find_named_entities(namespace_id: int, filters: RetrievalFilters, query: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the entities whose id occurs in the query, as hits, and whether the query contains nothing else.

    Ids match in any case, unless there is an entity with exactly the same id.
    """
    forms = {form for token in extract_candidate_ids(query) for form in (token, *convert_salesforce_id(token))}
    keys = fetch_values(SELECT_NAMED_ENTITIES_SQL, namespace_id, filters.user_id, list(forms))
    if not keys:
        return [], False
    rows = Memory.objects.in_namespace(namespace_id).matching(filters).filter(pk__in=keys)
    found = list(rows.annotate(relevance=Relevance()).order_by("-updated_at").values(*OUT_COLUMNS, "relevance"))
    exact = {row["entity_id"].upper() for row in found if row["entity_id"] in forms}
    found = [row for row in found if row["entity_id"] in forms or row["entity_id"].upper() not in exact]
    ids = {form.upper() for row in found for form in (row["entity_id"], *convert_salesforce_id(row["entity_id"]))}
    words = {word.strip(SURROUNDING_PUNCTUATION).upper() for word in query.split()} - {""}
    return [entity_to_hit(row) for row in found], bool(found) and (words <= ids or query.strip().upper() in ids)


def extract_candidate_ids(query: str) -> list[str]:
    """Return the query itself, its words, and the parts of words that look like a URL."""
    words = [query, *query.split(), *re.split(r"[\s/=&?,;|]+", query)]
    tokens = dict.fromkeys(
        token for word in words for token in (word.strip(), word.strip(SURROUNDING_PUNCTUATION)) if token
    )
    return [token for token in tokens if len(token) <= 255][:MAX_QUERY_TOKENS]


def entity_to_hit(row: dict[str, Any]) -> dict[str, Any]:
    """Return RetrievedHitOut of an entity that was found by its id."""
    relevance = row.pop("relevance")
    missing = dict.fromkeys(("similarity", "text_rank", "parts"))
    return {"memory": to_memory_out(row), "score": 1.0, "relevance": relevance, "found_by": ["id"], **missing}


def expand_amounts(namespace_id: int, owner: str, query: str) -> str:
    """Return the query with its amounts in all forms that occur in the user's memories: full-text search takes 250,000
    and 250000 for different words."""
    # Parts with an odd index are quoted or excluded, and stay as they are.
    parts = re.split(f"({QUOTED_OR_EXCLUDED.pattern})", query)
    forms = {
        form for part in parts[::2] for amount in AMOUNT_PATTERN.finditer(part) for form in list_amount_forms(amount)
    }
    if not forms:
        return query
    occurring = fetch_values(SELECT_OCCURRING_FORMS_SQL, sorted(forms), namespace_id, owner)
    parts[::2] = [AMOUNT_PATTERN.sub(lambda amount: rewrite_amount(amount, occurring), part) for part in parts[::2]]
    return "".join(parts)


def fetch_values(sql: str, *parameters: Any) -> set[Any]:
    """Return the values of the statement's only column."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {value for (value,) in cursor.fetchall()}


def rewrite_amount(amount: re.Match, occurring: set[str]) -> str:
    return " ".join(form for form in list_amount_forms(amount) if form in occurring) or amount[0]


def list_amount_forms(amount: re.Match) -> list[str]:
    """Return 250000, 250,000, 250k and 250K for any of them; nothing below 1,000."""
    number = int(amount["number"].replace(",", "")) * UNIT_FACTORS[amount["unit"].lower()]
    short = [
        f"{number // UNIT_FACTORS[unit.lower()]}{unit}" for unit in "kKmM" if number % UNIT_FACTORS[unit.lower()] == 0
    ]
    return [f"{number}", f"{number:,}", *short] if number >= 1_000 else []
