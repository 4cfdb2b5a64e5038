"""Which of a namespace's insights say the same as a text, or nearly the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db import connection
from pydantic_core import to_json

from memories.insights.minhash import (
    NEAR_DUPLICATE_SIMILARITY,
    compute_bands,
    compute_shingles,
    digest,
    jaccard_similarity,
    normalise_text,
)
from memories.storage import purge_expired

#: Of those that share a band, for how many it is counted how many they share, and how many of those that share the most
#: are compared. Both are for crowds of texts that were made after one pattern, so that they cost no more than others.
MAX_BAND_MATCHES, MAX_COMPARED_CANDIDATES = 500, 10
# Held against deletion until the transaction ends: one that was found is there when its answer is read.
# Bands first and alone, so that nothing but their index can be used: never all insights of a namespace.
SELECT_DUPLICATE_CANDIDATES_SQL = f"""
WITH told AS MATERIALIZED (
    SELECT place, decode(digest, 'hex') AS digest, bands
    FROM jsonb_to_recordset(%(told)s::jsonb) AS told(place int, digest text, bands bigint[])
)
SELECT told.place, memory.id, insight.digest = told.digest AS same, memory.content, memory.user_id,
       memory.expires_at IS NULL OR memory.expires_at > statement_timestamp() AS alive
FROM told CROSS JOIN LATERAL (
    SELECT memory_id FROM insights_insight twin
    WHERE twin.namespace_id = %(namespace)s AND twin.digest = told.digest
    UNION
    (SELECT memory_id FROM (
        SELECT memory_id, bands FROM (
            SELECT memory_id, namespace_id, bands FROM insights_insight near WHERE near.bands && told.bands OFFSET 0
        ) near
        WHERE namespace_id = %(namespace)s LIMIT {MAX_BAND_MATCHES}
    ) near
    ORDER BY (SELECT count(*) FROM unnest(near.bands) AS band WHERE band = ANY(told.bands)) DESC, memory_id
    LIMIT {MAX_COMPARED_CANDIDATES})
) candidate
JOIN insights_insight insight USING (memory_id) JOIN memories_memory memory ON memory.id = insight.memory_id
FOR KEY SHARE OF memory
"""


@dataclass(frozen=True, slots=True, eq=False)
class TextFingerprint:
    """A text as it is compared."""

    digest: bytes
    shingles: np.ndarray
    bands: list[int]

    @classmethod
    def of(cls, content: str) -> "TextFingerprint":
        found = compute_shingles(plain := normalise_text(content))
        return cls(digest(plain), found, compute_bands(found))


class Duplicate(NamedTuple):
    """An insight that says the same, the text it says it in, and whose it is."""

    memory_id: UUID
    content: str
    user_id: str | None


def find_duplicates(namespace_id: int, texts: Sequence[TextFingerprint]) -> list[Duplicate | None]:
    """Of each text the living insight that is the same, or else the one most like it, if that is near enough. One
    statement. Expired ones that are the same make way."""
    rows = fetch_candidates(namespace_id, texts)
    if any(same and not alive for _, _, same, *_, alive in rows):
        purge_expired(namespace_id)
    found: list[tuple[float, Duplicate | None]] = [(0.0, None)] * len(texts)
    known = {
        pk: compute_shingles(normalise_text(content))
        for pk, content in {pk: content for _, pk, _, content, *_ in rows}.items()
    }
    for place, pk, same, content, user, alive in rows:
        if alive:
            close = 2.0 if same else jaccard_similarity(texts[place].shingles, known[pk])
            if close >= NEAR_DUPLICATE_SIMILARITY and close > found[place][0]:
                found[place] = (close, Duplicate(pk, content, user))
    return [twin for _, twin in found]


def fetch_candidates(namespace_id: int, texts: Sequence[TextFingerprint]) -> list[tuple]:
    """(position of the text, memory id, whether it is the same, content, user, whether it lives), in the order of
    positions and ids."""
    told = [{"place": n, "digest": each.digest.hex(), "bands": each.bands} for n, each in enumerate(texts)]
    with connection.cursor() as cursor:
        cursor.execute(SELECT_DUPLICATE_CANDIDATES_SQL, {"namespace": namespace_id, "told": to_json(told).decode()})
        return sorted(cursor.fetchall(), key=lambda row: row[:2])


class NewTextIndex:
    """The texts of one request that are new: the first of each that are nearly the same."""

    def __init__(self) -> None:
        self.texts: list[TextFingerprint] = []
        self._positions_by_key: dict[object, list[int]] = {}

    def place(self, text: TextFingerprint) -> int:
        """The position among `texts` of the one that is the same or nearly so; it is added when there is none."""
        marks = (text.digest, *text.bands)
        shared = Counter(each for mark in marks for each in self._positions_by_key.get(mark, ()))
        for position, _ in shared.most_common(MAX_COMPARED_CANDIDATES):
            if jaccard_similarity(self.texts[position].shingles, text.shingles) >= NEAR_DUPLICATE_SIMILARITY:
                return position
        for mark in marks:
            self._positions_by_key.setdefault(mark, []).append(len(self.texts))
        self.texts.append(text)
        return len(self.texts) - 1
