"""Find the insights of a namespace that say the same as a text, or nearly the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db import connection
from pydantic_core import to_json

from memories.insights.claims import contradict
from memories.insights.minhash import (
    compute_bands,
    compute_shingles,
    digest,
    jaccard_similarity,
    normalise_text,
)
from memories.states import FOUND_SQL, not_expired_sql
from memories.storage import purge_expired

#: The Jaccard similarity of two texts' shingles from which they count as the same.
NEAR_DUPLICATE_SIMILARITY = 0.85
#: Many texts made from one template may share a band with a given text. Both limits bound the cost: shared bands are
#: counted for at most MAX_BAND_MATCHES of them, and only the MAX_COMPARED_CANDIDATES that share the most are compared.
MAX_BAND_MATCHES, MAX_COMPARED_CANDIDATES = 500, 10
# The memories are locked against deletion until the transaction ends, so that a duplicate still exists when its row is
# read for the response. Bands are compared twice, because the planner expects one comparison to keep a hundredth of the
# rows: with two it uses the index of bands, and does not scan all insights of the namespace.
SELECT_DUPLICATE_CANDIDATES_SQL = f"""
WITH input AS MATERIALIZED (
    SELECT position, decode(digest, 'hex') AS digest, bands
    FROM jsonb_to_recordset(%(texts)s::jsonb) AS input(position int, digest text, bands bigint[])
)
SELECT input.position, memory.id, insight.digest = input.digest AS is_same, memory.content, memory.user_id,
       {not_expired_sql("memory")}
           AND (insight.digest = input.digest OR {FOUND_SQL.format(memory="memory")}) AS is_alive
FROM input CROSS JOIN LATERAL (
    SELECT memory_id FROM insights_insight same
    WHERE same.namespace_id = %(namespace)s AND same.digest = input.digest
    UNION
    (SELECT memory_id FROM (
        SELECT memory_id, bands FROM insights_insight
        WHERE namespace_id = %(namespace)s AND bands && input.bands AND bands && input.bands LIMIT {MAX_BAND_MATCHES}
    ) near
    ORDER BY (SELECT count(*) FROM unnest(near.bands) AS band WHERE band = ANY(input.bands)) DESC, memory_id
    LIMIT {MAX_COMPARED_CANDIDATES})
) candidate
JOIN insights_insight insight ON insight.namespace_id = %(namespace)s AND insight.memory_id = candidate.memory_id
JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = candidate.memory_id
FOR KEY SHARE OF memory
"""
#: Ranks a text with the same digest above every Jaccard similarity, which is at most 1.
SAME_TEXT_SIMILARITY = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class TextFingerprint:
    """What two texts are compared by: the normalised text, its digest, its shingles and their MinHash bands."""

    plain: str
    digest: bytes
    shingles: np.ndarray
    bands: list[int]

    @classmethod
    def of(cls, content: str) -> "TextFingerprint":
        plain = normalise_text(content)
        shingles = compute_shingles(plain)
        return cls(plain, digest(plain), shingles, compute_bands(shingles))

    def compare(self, plain: str, shingles: np.ndarray) -> float:
        """Return the similarity to a normalised text, or 0 if it is no near-duplicate: a correction is none."""
        similarity = jaccard_similarity(self.shingles, shingles)
        return similarity if similarity >= NEAR_DUPLICATE_SIMILARITY and not contradict(self.plain, plain) else 0.0


class Duplicate(NamedTuple):
    """A stored insight that says the same as a text, with its own content and user."""

    memory_id: UUID
    content: str
    user_id: str | None


def find_duplicates(namespace_id: int, texts: Sequence[TextFingerprint]) -> list[Duplicate | None]:
    """Return for each text the insight that is the same, or else the most similar near-duplicate, or None.

    One statement. Expired insights that are the same are deleted, because they would violate `insight_is_kept_once`. A
    superseded one counts only if it is the same.
    """
    rows = fetch_candidates(namespace_id, texts)
    if any(is_same and not is_alive for _, _, is_same, *_, is_alive in rows):
        purge_expired(namespace_id)
    contents = {memory_id: content for _, memory_id, _, content, *_ in rows}
    plain_texts = {memory_id: normalise_text(content) for memory_id, content in contents.items()}
    shingles = {memory_id: compute_shingles(plain) for memory_id, plain in plain_texts.items()}
    best: list[tuple[float, Duplicate | None]] = [(0.0, None)] * len(texts)
    for position, memory_id, is_same, content, user_id, is_alive in rows:
        if not is_alive:
            continue
        similarity = (
            SAME_TEXT_SIMILARITY if is_same else texts[position].compare(plain_texts[memory_id], shingles[memory_id])
        )
        if similarity > best[position][0]:
            best[position] = (similarity, Duplicate(memory_id, content, user_id))
    return [duplicate for _, duplicate in best]


def fetch_candidates(namespace_id: int, texts: Sequence[TextFingerprint]) -> list[tuple]:
    """Return rows of (position of the text, memory id, is the same, content, user id, is not expired and, unless it is
    the same, active), sorted by position and memory id."""
    rows = [{"position": n, "digest": each.digest.hex(), "bands": each.bands} for n, each in enumerate(texts)]
    with connection.cursor() as cursor:
        cursor.execute(SELECT_DUPLICATE_CANDIDATES_SQL, {"namespace": namespace_id, "texts": to_json(rows).decode()})
        return sorted(cursor.fetchall(), key=lambda row: row[:2])


class NewTextIndex:
    """The new texts of one request: of texts that are the same, or nearly the same, only the first."""

    def __init__(self) -> None:
        self.texts: list[TextFingerprint] = []
        self._positions_by_key: dict[object, list[int]] = {}

    def find_or_add(self, text: TextFingerprint) -> int:
        """Return the position in `texts` of the one that is the same or nearly the same; append the text if there is
        none."""
        keys = (text.digest, *text.bands)
        shared_keys = Counter(each for key in keys for each in self._positions_by_key.get(key, ()))
        for position, _ in shared_keys.most_common(MAX_COMPARED_CANDIDATES):
            if self.texts[position].compare(text.plain, text.shingles):
                return position
        for key in keys:
            self._positions_by_key.setdefault(key, []).append(len(self.texts))
        self.texts.append(text)
        return len(self.texts) - 1
