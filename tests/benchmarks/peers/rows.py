"""Rows with users and topics of known share, queries that are none of the rows, and the exact answers.

Imported by every process, so it needs nothing but numpy.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

LIMIT = 10
#: Share of the rows by user, and independently by topic; the rest belongs to a hundred others.
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}
OTHERS = 100
FIELDS = ("user", "topic")
#: Where the same float16 rounding makes two rows equally near, either is right.
SIMILARITY_TOLERANCE = 1e-3
NUMBER = re.compile(r"\b([rq])(\d+)\b")


@dataclass(frozen=True)
class Row:
    """A memory: its number, its text, which begins with that number, its owner, its topic, its unit vector."""

    number: int
    text: str
    user: str
    topic: str
    vector: list[float]


@dataclass(frozen=True)
class Wanted:
    """A search: a query by number, and the user or topic that its rows must have."""

    query: int
    user: str | None
    topic: str | None

    @property
    def text(self) -> str:
        return f"q{self.query}"


class Rows:
    """What a file of `save` holds."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as arrays:
            self.vectors, self.queries = arrays["vectors"], arrays["queries"]
            self.users, self.topics = arrays["users"], arrays["topics"]
            self.words = arrays["words"]

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimensions(self) -> int:
        return self.vectors.shape[1]

    def get(self, number: int) -> Row:
        text = f"r{number} {self.words[number]}"
        return Row(number, text, str(self.users[number]), str(self.topics[number]), self.vectors[number].tolist())

    def query_vector(self, wanted: Wanted) -> list[float]:
        return self.queries[wanted.query].tolist()

    def embed(self, text: str) -> list[float]:
        """Return the vector of a text that holds the number of a row or query, wherever a peer has put it."""
        found = NUMBER.search(text)
        if found is None:
            raise ValueError(f"There is no vector for {text[:80]!r}.")
        kind, number = found.groups()
        return (self.queries if kind == "q" else self.vectors)[int(number)].tolist()

    @cached_property
    def similarities(self) -> np.ndarray:
        return self.queries @ self.vectors.T

    def matches(self, wanted: Wanted) -> np.ndarray:
        mask = np.ones(len(self), bool)
        if wanted.user is not None:
            mask &= self.users == wanted.user
        if wanted.topic is not None:
            mask &= self.topics == wanted.topic
        return mask

    def judge(self, wanted: Wanted, found: list[int]) -> tuple[int, float, int]:
        """Return how many rows were found that match, their share of the exact answer, and how many exist (of ten)."""
        mask = self.matches(wanted)
        best = np.sort(self.similarities[wanted.query][mask])[-LIMIT:]
        if not len(best):
            return 0, 1.0, 0
        right = {number for number in found if mask[number]}
        near = sum(self.similarities[wanted.query][number] >= best[0] - SIMILARITY_TOLERANCE for number in right)
        return len(right), min(near, len(best)) / len(best), len(best)


def parse_number(text: str) -> int:
    """Return the number of the row that a text found came from."""
    return int(NUMBER.search(text)[2])


def draw_labels(rows: int, random: np.random.Generator) -> np.ndarray:
    names = [*SHARES, *(f"other-{number}" for number in range(OTHERS))]
    rest = (1 - sum(SHARES.values())) / OTHERS
    return random.choice(names, rows, p=[*SHARES.values(), *[rest] * OTHERS])


def save(file: Path, vectors: np.ndarray, queries: np.ndarray, words: list[str]) -> None:
    random = np.random.default_rng(11)
    users, topics = (draw_labels(len(vectors), random) for _ in FIELDS)
    np.savez(file, vectors=vectors, queries=queries, users=users, topics=topics, words=np.array(words))
