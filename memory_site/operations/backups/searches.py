"""Searches in a restored database, by its own rows: the indexes must find what an exact scan finds."""

from collections.abc import Iterator
from typing import Any

import psycopg

from memory_site.operations.backups.database import connect

SAMPLES, NEIGHBOURS = 20, 10
#: Of the neighbours that an exact scan finds. The index is approximate; a broken one finds none.
MIN_RECALL = 0.9
#: Of an inner product: half-precision vectors as near as the last neighbour count too.
TOLERANCE = 1e-3
SAMPLE_VECTORS_SQL = """
SELECT vector::text FROM memories_embedding JOIN (
    SELECT namespace_id, memory_id, model FROM memories_embedding ORDER BY random() LIMIT %s
) sample USING (namespace_id, memory_id, model)
"""
NEAREST_SQL = "SELECT -(vector <#> %s::halfvec) FROM memories_embedding ORDER BY vector <#> %s::halfvec LIMIT %s"
# A word of each memory, the longest: it is rare enough.
SAMPLE_WORDS_SQL = """
SELECT memory.id, word.lexeme FROM (SELECT * FROM memories_memory ORDER BY random() LIMIT %s) memory
CROSS JOIN LATERAL (
    SELECT lexeme FROM unnest(search_vector) ORDER BY length(lexeme) DESC, lexeme LIMIT 1
) word
"""
# A lexeme may hold quotes and backslashes, which a tsquery takes for its own.
LEXEME_QUERY = r"""(chr(39) || replace(replace(%s, '\', '\\'), chr(39), repeat(chr(39), 2)) || chr(39))::tsquery"""
FIND_WORD_SQL = f"""
SELECT count(*) FILTER (WHERE id = %s) FROM memories_memory WHERE search_vector @@ {LEXEME_QUERY}
"""
USE_INDEX, USE_SCAN = "SET LOCAL enable_seqscan = off", "SET LOCAL enable_indexscan = off"


def run_sampled_searches(database: str) -> list[str]:
    """Return what searches do not find, a sentence each."""
    with connect(database, **{"hnsw.ef_search": "200", "jit": "off"}) as opened:
        return [*check_nearest(opened), *check_words(opened)]


def check_nearest(opened: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield a sentence if the index of vectors finds fewer neighbours of sampled vectors than a scan does."""
    samples = [vector for (vector,) in opened.execute(SAMPLE_VECTORS_SQL, [SAMPLES]).fetchall()]
    found = expected = 0
    for vector in samples:
        exact = find_nearest(opened, vector, USE_SCAN)
        found += sum(value >= exact[-1] - TOLERANCE for value in find_nearest(opened, vector, USE_INDEX))
        expected += len(exact)
    if found < MIN_RECALL * expected:
        yield f"The index of vectors finds {found} of {expected} nearest neighbours."


def find_nearest(opened: psycopg.Connection[Any], vector: str, choose_plan: str) -> list[float]:
    """Return the inner products of the nearest vectors, the greatest first."""
    with opened.transaction():
        opened.execute(choose_plan)
        return [value for (value,) in opened.execute(NEAREST_SQL, [vector, vector, NEIGHBOURS]).fetchall()]


def check_words(opened: psycopg.Connection[Any]) -> Iterator[str]:
    samples = opened.execute(SAMPLE_WORDS_SQL, [SAMPLES]).fetchall()
    with opened.transaction():
        opened.execute(USE_INDEX)
        found = sum(bool((opened.execute(FIND_WORD_SQL, sample).fetchone() or (0,))[0]) for sample in samples)
    if found < len(samples):
        yield f"The index of words finds {found} of {len(samples)} memories."
