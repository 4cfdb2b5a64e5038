"""Which of a namespace's insights say the same as a text, or nearly the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db import connection
from pydantic_core import to_json

from memories.add import make_way
from memories.insights.minhash import NEAR, bands, digest, likeness, normalised, pieces

#: Of those that share a band, for how many it is counted how many they share, and how many of those that share the most
#: are compared. Both are for crowds of texts that were made after one pattern, so that they cost no more than others.
COUNTED, COMPARED = 500, 10
# Held against deletion until the transaction ends: one that was found is there when its answer is read.
# Bands first and alone, so that nothing but their index can be used: never all insights of a namespace.
CANDIDATES = f"""
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
        WHERE namespace_id = %(namespace)s LIMIT {COUNTED}
    ) near
    ORDER BY (SELECT count(*) FROM unnest(near.bands) AS band WHERE band = ANY(told.bands)) DESC, memory_id
    LIMIT {COMPARED})
) candidate
JOIN insights_insight insight USING (memory_id) JOIN memories_memory memory ON memory.id = insight.memory_id
FOR KEY SHARE OF memory
"""


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A text as it is compared."""

    digest: bytes
    pieces: np.ndarray
    bands: list[int]

    @classmethod
    def of(cls, content: str) -> "Text":
        found = pieces(plain := normalised(content))
        return cls(digest(plain), found, bands(found))


class Twin(NamedTuple):
    """An insight that says the same, the text it says it in, and whose it is."""

    memory_id: UUID
    content: str
    user_id: str | None


def twins(namespace_id: int, texts: Sequence[Text]) -> list[Twin | None]:
    """Of each text the living insight that is the same, or else the one most like it, if that is near enough. One
    statement. Expired ones that are the same make way."""
    rows = candidates(namespace_id, texts)
    if any(same and not alive for _, _, same, *_, alive in rows):
        make_way(namespace_id)
    found: list[tuple[float, Twin | None]] = [(0.0, None)] * len(texts)
    known = {pk: pieces(normalised(content)) for pk, content in {pk: content for _, pk, _, content, *_ in rows}.items()}
    for place, pk, same, content, user, alive in rows:
        if alive:
            close = 2.0 if same else likeness(texts[place].pieces, known[pk])
            if close >= NEAR and close > found[place][0]:
                found[place] = (close, Twin(pk, content, user))
    return [twin for _, twin in found]


def candidates(namespace_id: int, texts: Sequence[Text]) -> list[tuple]:
    """(position of the text, memory id, whether it is the same, content, user, whether it lives), in the order of
    positions and ids."""
    told = [{"place": n, "digest": each.digest.hex(), "bands": each.bands} for n, each in enumerate(texts)]
    with connection.cursor() as cursor:
        cursor.execute(CANDIDATES, {"namespace": namespace_id, "told": to_json(told).decode()})
        return sorted(cursor.fetchall(), key=lambda row: row[:2])


class Different:
    """The texts of one request that are new: the first of each that are nearly the same."""

    def __init__(self) -> None:
        self.texts: list[Text] = []
        self._by_mark: dict[object, list[int]] = {}

    def place(self, text: Text) -> int:
        """The position among `texts` of the one that is the same or nearly so; it is added when there is none."""
        marks = (text.digest, *text.bands)
        shared = Counter(each for mark in marks for each in self._by_mark.get(mark, ()))
        for position, _ in shared.most_common(COMPARED):
            if likeness(self.texts[position].pieces, text.pieces) >= NEAR:
                return position
        for mark in marks:
            self._by_mark.setdefault(mark, []).append(len(self.texts))
        self.texts.append(text)
        return len(self.texts) - 1
