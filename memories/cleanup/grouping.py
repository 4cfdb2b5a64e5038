"""Find the near duplicates of a namespace, from what is known of its memories' texts.

Of memories that say the same, one wins: the longest, which says most; of equally long ones the more important, then
the more used, then the newer. The others are its duplicates. Each is compared with the winner itself, so that no chain
of small differences joins two texts that say different things.

Only memories of one user, type, repository and role in a conversation are compared, none that has a key, describes an
entity or is a chunk of a document. Of those that share one of twenty bands of MinHash, or all their words, each is
compared with the best one and with the MAX_NEIGHBOURS before it: so a million texts of one template cost no million
comparisons each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.db import connection

from memories.cleanup.inspect import BANDS_BYTES
from memories.cleanup.likeness import Text, compare
from memories.cleanup.models import Duplicate
from memories.models import Memory
from memories.states import alive_sql

MAX_NEIGHBOURS = 5
#: Contents that are read at once, and prepared texts that are kept.
READ_BATCH, MAX_KEPT_TEXTS = 2_000, 20_000
# The order is that of winning.
SELECT_CANDIDATES_SQL = f"""
SELECT memory.id, inspection.bands,
       hashtextextended(
           ROW(memory.owner, memory.memory_type, memory.repo_id, memories_role(memory.metadata))::text, 0)
FROM cleanup_inspection inspection
JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = inspection.memory_id
WHERE inspection.namespace_id = %(namespace)s AND inspection.bands IS NOT NULL AND {alive_sql("memory")}
ORDER BY inspection.characters DESC, memory.importance DESC, memory.access_count DESC, memory.created_at DESC, memory.id
"""


class Pair(NamedTuple):
    """Positions of two memories in the order of winning: the first one is the better one."""

    better: int
    worse: int


@dataclass(frozen=True)
class Candidates:
    """Memories in the order of winning, and of each the numbers of which two that are alike share one."""

    ids: Sequence[UUID]
    keys: np.ndarray


def find_duplicates(namespace_id: int) -> int:
    """Replace the duplicates of a namespace by those of now. Return how many there are."""
    candidates = fetch_candidates(namespace_id)
    dismissed = set(
        Duplicate.objects.filter(namespace=namespace_id, dismissed=True).values_list("winner_id", "memory_id")
    )
    found = [
        each for each in iter_duplicates(namespace_id, candidates) if (each.winner_id, each.memory_id) not in dismissed
    ]
    Duplicate.objects.filter(namespace=namespace_id, dismissed=False)._raw_delete("default")
    Duplicate.objects.bulk_create(
        found,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["namespace", "memory"],
        update_fields=["winner_id", "similarity", "dismissed"],
    )
    return len(found)


def fetch_candidates(namespace_id: int) -> Candidates:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_CANDIDATES_SQL, {"namespace": namespace_id})
        rows = cursor.fetchall()
    bands = np.frombuffer(b"".join(bytes(bands) for _, bands, _ in rows), np.uint64).reshape(-1, BANDS_BYTES // 8)
    scopes = np.array([scope for *_, scope in rows], np.int64).view(np.uint64)
    # Each column has numbers of its own: a band is no digest.
    columns = np.arange(bands.shape[1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Candidates([pk for pk, *_ in rows], bands ^ scopes[:, None] ^ columns[None, :])


def iter_duplicates(namespace_id: int, candidates: Candidates) -> Iterator[Duplicate]:
    """Yield the duplicates, with their winners in the order of winning."""
    texts = Texts(namespace_id, candidates.ids)
    losers: set[int] = set()
    for pairs in split_pairs(find_pairs(candidates.keys)):
        open_pairs = [pair for pair in pairs if pair.better not in losers and pair.worse not in losers]
        texts.load({position for pair in open_pairs for position in pair})
        for better, worse in open_pairs:
            if better in losers or worse in losers:
                continue
            if similarity := compare(texts.get(better), texts.get(worse)):
                losers.add(worse)
                yield Duplicate(
                    namespace_id=namespace_id,
                    memory_id=candidates.ids[worse],
                    winner_id=candidates.ids[better],
                    similarity=similarity,
                    dismissed=False,
                )


def find_pairs(keys: np.ndarray) -> np.ndarray:
    """Return the pairs of rows (better, worse) that share a key in one column, as an array sorted by both."""
    pairs = [find_pairs_of_column(column) for column in keys.T]
    return np.unique(np.concatenate([np.empty((0, 2), np.int64), *pairs]), axis=0)


def find_pairs_of_column(column: np.ndarray) -> np.ndarray:
    order = np.argsort(column, kind="stable")  # within equal keys the order of winning
    ordered = column[order]
    starts_run = np.r_[True, ordered[1:] != ordered[:-1]][: len(order)]
    first = np.maximum.accumulate(np.where(starts_run, np.arange(len(order)), 0)) if len(order) else order
    positions = np.arange(len(order))
    partners = [first] + [np.maximum(positions - distance, first) for distance in range(1, MAX_NEIGHBOURS + 1)]
    both = np.concatenate([np.stack([order[each], order], axis=1) for each in partners])
    return np.unique(both[both[:, 0] != both[:, 1]], axis=0)


def split_pairs(pairs: np.ndarray) -> Iterator[list[Pair]]:
    for start in range(0, len(pairs), READ_BATCH):
        yield [Pair(int(better), int(worse)) for better, worse in pairs[start : start + READ_BATCH]]


class Texts:
    """The texts of memories, read many at once, and prepared when they are compared."""

    def __init__(self, namespace_id: int, ids: Sequence[UUID]) -> None:
        self.namespace_id, self.ids = namespace_id, ids
        self.contents: dict[int, str] = {}
        self.prepared: dict[int, Text] = {}

    def load(self, positions: set[int]) -> None:
        if len(self.prepared) > MAX_KEPT_TEXTS:
            self.prepared = {position: text for position, text in self.prepared.items() if position in positions}
        missing = {self.ids[position]: position for position in positions - self.prepared.keys()}
        rows = Memory.objects.filter(namespace_id=self.namespace_id, pk__in=list(missing))
        self.contents = {missing[pk]: content for pk, content in rows.values_list("pk", "content")}

    def get(self, position: int) -> Text:
        if position not in self.prepared:
            # A memory that was deleted meanwhile is like none.
            self.prepared[position] = Text.of(self.contents.get(position, ""))
        return self.prepared[position]
