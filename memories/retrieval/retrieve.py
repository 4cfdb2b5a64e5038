"""Retrieve what matters to one user: the entities whose id a query names, else what matches its words and meaning.

score = .35 words + .35 meaning + .10 nearness + .12 recency + .08 base relevance, each part from 0 to 1:

words      1 − e^−rank of the text match; at most the share of the query's words, by rarity, that the memory contains
meaning    1 − e^(−lead³/2), with the similarity's lead over unrelated texts as in a search. Of memories that match the
           words equally well, those within 1.3 standard deviations of the best have its lead: texts that differ in
           names only differ by that much, and then the newest is meant
nearness   1 for an anchor, half for each relationship away from one, times the strengths of these relationships; also
           away from what the words found, times how well
recency    1 for a memory stored now, half for each day of its age
base       the base relevance

The last three only rank what was found: what stands above the floor of memories/search/floor.py.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import GreaterThanOrEqual

from memories.embeddings import Vector
from memories.entity_ids import convert_salesforce_id
from memories.models import Memory
from memories.retrieval.relevance import AGE_HOURS_SQL, Relevance, relevance_sql
from memories.schemas import OUT_COLUMNS, to_memory_out
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.floor import Floor, build_floor
from memories.search.query import Ranking, Search
from memories.search.query_embedding import get_query_vector
from memories.seen import seen_memories
from memory_site.core.http.fields import Tags, UnitInterval

SCORE_WEIGHTS = {"words": 0.35, "meaning": 0.35, "nearness": 0.10, "recency": 0.12, "base_relevance": 0.08}
# Two steps in both directions, from the anchors and from the three memories that the words found best; the first over
# the strongest 200 relationships. A memory that words found is no nearer for that itself.
NEARNESS_JOIN = """LEFT JOIN (
    WITH steps AS NOT MATERIALIZED (
        SELECT from_memory_id AS here, to_memory_id AS there, greatest(strength, 1e-9) AS strength
        FROM graph_relationship WHERE namespace_id = %(namespace)s AND owner = %(owner)s
        UNION ALL
        SELECT to_memory_id, from_memory_id, greatest(strength, 1e-9)
        FROM graph_relationship WHERE namespace_id = %(namespace)s AND owner = %(owner)s
    ),
    starts AS MATERIALIZED (
        SELECT unnest(%(anchors)s::uuid[]) AS id, 1::float8 AS weight
        UNION ALL
        (SELECT id, 1 - exp(-text_rank) FROM hits WHERE text_rank > 0 ORDER BY text_rank DESC, id LIMIT 3)
    ),
    next AS MATERIALIZED (
        SELECT there AS id, max(weight * strength) AS strength FROM starts JOIN steps ON here = starts.id
        GROUP BY there ORDER BY 2 DESC LIMIT 200
    )
    SELECT id AS memory_id, max(nearness) AS nearness FROM (
        SELECT unnest(%(anchors)s::uuid[]) AS id, 1::float8 AS nearness
        UNION ALL
        SELECT id, strength / 2 FROM next
        UNION ALL
        (SELECT there, next.strength * steps.strength / 4 FROM next JOIN steps ON here = next.id LIMIT 5000)
    ) reached GROUP BY id
) nearby ON nearby.memory_id = memory.id"""
ALIKE_JOIN = """JOIN (
    SELECT id AS memory_id, CASE WHEN text_rank > 0 THEN least(best, lead + 1.3 / deviations) ELSE lead END AS lead
    FROM (
        SELECT id, text_rank, lead, max(lead) OVER (PARTITION BY round(ln(greatest(text_rank, 1e-9)) * 5)) AS best,
               sqrt(2 * ln(greatest(size.rows, 10))) AS deviations
        FROM hits CROSS JOIN size
    ) compared
) alike ON alike.memory_id = memory.id"""
AGE_DAYS_SQL = AGE_HOURS_SQL.format(last_updated="memory.last_updated", created_at="memory.created_at") + " / 24"
SCORE_PARTS_JOIN = f"""CROSS JOIN LATERAL (
    SELECT CASE WHEN hits.text_rank IS NULL THEN 0 ELSE least(1 - exp(-hits.text_rank), coverage.share) END AS words,
           1 - exp(-least(greatest(alike.lead, 1e-9), 10) ^ 3 / 2) AS meaning,
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
QUOTED_PATTERN = re.compile(r'("[^"]*")')
UNIT_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
# Most queries name no entity and need nothing else: the ORM, with all columns, takes five times as long.
SELECT_NAMED_ENTITIES_SQL = """
SELECT id FROM memories_memory WHERE namespace_id = %s AND user_id = %s AND entity_id IS NOT NULL
AND upper(entity_id) = ANY (ARRAY(SELECT upper(form) FROM unnest(%s::text[]) AS form))"""
SELECT_OCCURRING_FORMS_SQL = """
SELECT form FROM unnest(%s::text[]) AS form WHERE EXISTS (
    SELECT FROM memories_memory WHERE namespace_id = %s AND user_id = %s
    AND search_vector @@ memories_parse_query('"' || form || '"')
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


def prepare_query(query: str, model: str | None) -> tuple[Vector | None, Floor]:
    """Return the query's vector and the floor of the answer. Raises EmbeddingError.

    There is no vector for a query of numbers and names with numbers: texts that resemble those are not what it means.
    """
    has_plain_word = any(any(map(str.isalpha, word)) and not any(map(str.isdigit, word)) for word in query.split())
    vector = get_query_vector(query, model) if has_plain_word else None
    return vector, build_floor(None, query, model, by_meaning=vector is not None)


def retrieve(
    namespace_id: int,
    filters: RetrievalFilters,
    query: str,
    vector: Any,
    floor: Floor,
    model: str | None,
    near: Sequence[UUID],
    limit: int,
) -> list[dict[str, Any]]:
    """Return RetrievedHitOut dictionaries, best first: entities whose id the query names, then other matches, unless
    the query consists of ids.

    `vector` and `floor` are those of `prepare_query`, `near` the caller's anchors. Two statements; one more for amounts
    in the query, and one more for ids.
    """
    named, only_ids = find_named_entities(namespace_id, filters, query)
    seen_memories.add(namespace_id, named)
    if only_ids:
        return named[:limit]
    named_ids = [hit["memory"]["id"] for hit in named]
    owner = filters.user_id or ""
    ranking = floor.apply(build_ranking(namespace_id, owner, [*near, *named_ids]), by_words=True)
    words = expand_amounts(namespace_id, owner, query)
    hits = find_memories(namespace_id, filters, Search(words, vector, model, limit, ranking=ranking))
    return [*named, *(nest_score_parts(hit) for hit in hits if hit["memory"]["id"] not in named_ids)][:limit]


def build_ranking(namespace_id: int, owner: str, anchors: Sequence[UUID]) -> Ranking:
    """Build the ranking, to which a floor must be applied; see memories/search/__init__.py for the names of its SQL."""
    return Ranking(
        score=SCORE_SQL,
        joins=f"{NEARNESS_JOIN} {ALIKE_JOIN} {SCORE_PARTS_JOIN}",
        columns=RANKING_COLUMNS,
        parameters={"namespace": namespace_id, "owner": owner, "anchors": list(anchors)},
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
    # Parts with an odd index are quoted, and stay as they are.
    parts = QUOTED_PATTERN.split(query)
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
