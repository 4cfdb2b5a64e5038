"""The base of all embedders: errors, the shape of a vector, and batches of texts to checked vectors."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .known_models import KnownModel, find_known_model

#: Width of the database column: a fact of the schema, changed by migration.
DIMENSIONS = 768
#: float32, shape (768,), unit length.
Vector = NDArray[np.float32]
#: float32, shape (n, 768), every row of unit length.
Vectors = NDArray[np.float32]

BLANK_TEXT_MESSAGE = "A blank text cannot be embedded."
NO_DIRECTION_MESSAGE = "The model gives no usable vector for this text."
#: What every embedder must be able to embed.
PROBE_TEXT = "word"
#: A vector shorter than this has no direction that could be trusted.
MIN_NORM = 1e-12


class EmbeddingError(Exception):
    """The texts could not be turned into vectors."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class EmbedderUnavailable(EmbeddingError):
    """The embedder is unavailable; a later attempt may succeed."""


class BatchFailed(EmbedderUnavailable):
    """The embedder failed on this batch: it may be unhealthy, or one of the texts may be the cause."""


class TextRefused(EmbeddingError):
    """The embedder refuses this text; a further attempt would not help."""

    #: Position of the text in the call of `embed` or `embed_each`.
    index: int | None = None


class TextTooLong(TextRefused):
    """The text is longer than the model can read."""


Outcome = Vector | EmbeddingError


class Embedder(ABC):
    """Turns texts into vectors. A backend implements `embed_batch`; everything else is derived from it.

    `name` is the configured model; `model` is the identity stored beside each vector, different
    whenever two vectors must not be compared. One embedder may be used by many threads at once.
    """

    #: Texts and characters in one call of `embed_batch` at most; a longer text goes alone.
    batch_size = 16
    batch_characters = 16_000

    def __init__(self, model: str, **options: Any) -> None:
        if options:
            raise TypeError(f"{type(self).__name__} does not know the option {', '.join(sorted(options))}.")
        self.name = model

    @property
    def model(self) -> str:
        """The identity stored beside each vector."""
        return self.name

    @property
    def known(self) -> KnownModel:
        """The published properties of the model."""
        return find_known_model(self.name)

    @abstractmethod
    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        """Turn a few non-blank texts into rows of the model's own width, in the same order.

        Raises TextRefused when one of them can never be embedded, BatchFailed when one of them may be
        the cause of a failure, EmbedderUnavailable for everything else.
        """

    def ping(self) -> None:
        """Check as cheaply as possible that a text could be embedded now. Raises EmbedderUnavailable."""
        try:
            self.embed_query(PROBE_TEXT)
        except TextRefused as error:
            raise EmbedderUnavailable("The embedder refuses even a plain word.") from error

    def check(self) -> list[str]:
        """Return what is wrong with the configuration, in sentences. Does not use the network."""
        width = self.known.width
        return (
            [format_width_error(self.name, width)]
            if width and width > DIMENSIONS and not self.known.supports_truncation
            else []
        )

    def query_rows(self, query: str) -> ArrayLike:
        """Return one row for a query, within the time of a request; raises what `embed_batch` raises.

        Overridden where the model treats queries and documents differently.
        """
        return self.embed_batch([query])

    def embed_query(self, query: str) -> Vector:
        """Embed a query. Raises TextRefused or EmbedderUnavailable."""
        if not query.strip():
            raise TextRefused(BLANK_TEXT_MESSAGE)
        [vector] = self.unit_rows(self.query_rows(query), 1)
        if vector is None:
            raise TextRefused(NO_DIRECTION_MESSAGE)
        return vector

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed all texts or none, in order.

        Raises EmbedderUnavailable, or TextRefused with the `index` of the first text to blame.
        """
        outcomes = self.embed_each(texts)
        errors = [outcome for outcome in outcomes if isinstance(outcome, EmbeddingError)]
        if errors:
            raise next((error for error in errors if isinstance(error, EmbedderUnavailable)), errors[0])
        vectors = [outcome for outcome in outcomes if not isinstance(outcome, EmbeddingError)]
        return np.stack(vectors) if vectors else np.empty((0, DIMENSIONS), np.float32)

    def embed_each(self, texts: Sequence[str]) -> list[Outcome]:
        """Return for each text, in order, its vector or the error that prevented it.

        The texts of a refused batch are tried one by one. Raises no EmbeddingError; after an outage the remaining
        texts carry that outage without an attempt.
        """
        outcomes: list[Outcome | None] = [None if text.strip() else TextRefused(BLANK_TEXT_MESSAGE) for text in texts]
        waiting = list(self.batches(texts))
        while waiting:
            batch = waiting.pop()
            for position, result in zip(batch, self._attempt([texts[at] for at in batch]), strict=True):
                if _is_outage(result):
                    outcomes = [result if outcome is None else outcome for outcome in outcomes]
                    waiting.clear()
                elif result is None:
                    waiting.append([position])
                outcomes[position] = result
        return [_set_index(outcome, position) for position, outcome in enumerate(cast(list[Outcome], outcomes))]

    def batches(self, texts: Sequence[str]) -> Iterable[list[int]]:
        """Yield batches of positions of texts that are not blank, sorted by length, within both limits of a batch."""
        batch: list[int] = []
        characters = 0
        for position in sorted(range(len(texts)), key=lambda position: len(texts[position])):
            if not texts[position].strip():
                continue
            characters += len(texts[position])
            if batch and (len(batch) == self.batch_size or characters > self.batch_characters):
                yield batch
                batch, characters = [], len(texts[position])
            batch.append(position)
        if batch:
            yield batch

    def _attempt(self, texts: list[str]) -> list[Outcome | None]:
        """Return one outcome per text; None for a text that must be tried alone."""
        try:
            rows = self.unit_rows(self.embed_batch(texts), len(texts))
        except (TextRefused, BatchFailed) as error:
            return [self._confirm_refusal(error)] if len(texts) == 1 else [None] * len(texts)
        except EmbedderUnavailable as outage:
            return [outage] * len(texts)
        if len(texts) == 1 and rows[0] is None:
            return [self._confirm_refusal(TextRefused(NO_DIRECTION_MESSAGE))]
        return [*rows]

    def _confirm_refusal(self, error: EmbeddingError) -> EmbeddingError:
        """Return the error of a single text, or an outage if not even a plain word can be embedded.

        Otherwise a misconfigured server, which refuses everything, would mark every text as refused.
        """
        try:
            [vector] = self.unit_rows(self.embed_batch([PROBE_TEXT]), 1)
        except EmbeddingError:
            vector = None
        return EmbedderUnavailable(f"Not even a plain word can be embedded: {error}") if vector is None else error

    def unit_rows(self, numbers: ArrayLike, count: int) -> list[Vector | None]:
        """Return rows of any width as vectors of the column's width; None for a row that is zero or not finite.

        Zeros appended to a narrow vector change no cosine. Raises EmbedderUnavailable when the numbers are not
        `count` rows of a width the column can hold.
        """
        rows = _to_matrix(numbers)
        if len(rows) != count:
            raise EmbedderUnavailable(f"The embedder returned {len(rows)} vectors for {count} texts.")
        if rows.shape[1] > DIMENSIONS and not self.known.supports_truncation:
            raise EmbedderUnavailable(format_width_error(self.name, rows.shape[1]))
        return [normalize_row(row[:DIMENSIONS]) for row in rows]


def normalize_row(row: NDArray[np.float64]) -> Vector | None:
    """Return the row at unit length, padded with zeros to the column's width; None if it has no direction."""
    with np.errstate(over="ignore"):  # an overflow gives infinity, which is refused below
        norm = np.linalg.norm(row)
    if not np.isfinite(norm) or norm < MIN_NORM:
        return None
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[: len(row)] = row / norm
    return vector


def _to_matrix(numbers: ArrayLike) -> NDArray[np.float64]:
    try:
        table = np.asarray(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise EmbedderUnavailable("The embedder returned something other than rows of numbers of one width.") from error
    if table.ndim != 2:
        raise EmbedderUnavailable("The embedder returned something other than rows of numbers of one width.")
    return table


def _is_outage(outcome: Outcome | None) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def _set_index(outcome: Outcome, position: int) -> Outcome:
    if isinstance(outcome, TextRefused):
        outcome.index = position
    return outcome


def format_width_error(name: str, width: int) -> str:
    return (
        f"The model {name} gives {width} numbers, the column holds {DIMENSIONS}, "
        "and the model is not known to allow cutting its vectors."
    )
