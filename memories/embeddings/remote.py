"""The base of embedders behind HTTP: prefixes, time limits, the meaning of a status, and texts that are too long."""

import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base import DIMENSIONS, BatchFailed, Embedder, EmbedderUnavailable, EmbeddingError, TextRefused, TextTooLong
from .http import JsonServer

#: A text of this many characters or fewer is refused, not divided further: no model reads so little.
MIN_PIECE_LENGTH = 100
#: How servers say that a text is too long: Ollama "input length exceeds the context length", llama.cpp "too
#: large to process" (as a 500), vLLM "maximum context length", TEI "must have less than 512 tokens".
TOO_LONG_PATTERN = re.compile(
    r"too (long|large)|context.?(length|size|window)|(length|tokens).{0,40}exceed|exceed.{0,40}(length|tokens)"
    r"|less than \d+ tokens",
    re.IGNORECASE,
)
REFUSAL_STATUSES = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}


class RemoteEmbedder(Embedder):
    """An embedder whose model runs in a separate server.

    `timeout` bounds one request for documents, `query_timeout` all requests for one query, in seconds.
    Texts get the prefixes that the model was trained with (known_models.py).
    """

    #: How the server answers differs from vendor to vendor, and so may the vectors: part of the identity.
    vendor: str
    path: str

    def __init__(
        self, model: str, *, base_url: str, api_key: str = "", timeout: float = 30.0, query_timeout: float = 5.0
    ) -> None:
        super().__init__(model)
        self.server = JsonServer(base_url, api_key)
        self.timeout = timeout
        self.query_timeout = query_timeout

    @property
    def model(self) -> str:
        """`vendor/name`, and `+prefixes` where texts were given prefixes."""
        return f"{self.vendor}/{self.name}{'+prefixes' if self.known.has_prefixes else ''}"

    @abstractmethod
    def request_body(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the body of the request."""

    @abstractmethod
    def rows(self, answer: Any) -> ArrayLike:
        """Return the vectors of a response, in the order of the texts; may raise LookupError, TypeError, ValueError."""

    def check(self) -> list[str]:
        return [*super().check(), *self.server.check()]

    def embed_batch(self, texts: Sequence[str]) -> ArrayLike:
        return self._embed(texts, self.known.document_prefix, None)

    def query_rows(self, query: str) -> ArrayLike:
        return self._embed([query], self.known.query_prefix, monotonic() + self.query_timeout)

    def error(self, status: int, content: bytes) -> EmbeddingError:
        """Return the error that a status other than 200 means. The response's text decides, but is not shown."""
        place, says = self.server.place, content[:10_000].decode(errors="replace")
        refused = status in REFUSAL_STATUSES
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (
            (refused or status == 500) and TOO_LONG_PATTERN.search(says)
        ):
            return TextTooLong()
        if refused:
            return TextRefused(f"The embedding server at {place} refuses this text (status {status}).")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return EmbedderUnavailable(f"The embedding server at {place} refuses the API key (status {status}).")
        kind = BatchFailed if status == HTTPStatus.INTERNAL_SERVER_ERROR else EmbedderUnavailable
        return kind(f"The embedding server at {place} answered with status {status}.")

    def _embed(self, texts: Sequence[str], prefix: str, ends: float | None) -> ArrayLike:
        try:
            return self._ask([prefix + text for text in texts], ends)
        except TextTooLong:
            if len(texts) > 1:
                raise
        return [self._embed_long(texts[0], prefix, ends)]

    def _embed_long(self, text: str, prefix: str, ends: float | None) -> NDArray[np.float32]:
        """Return the mean of the pieces' vectors, weighted by length; pieces are halved until the server accepts them.

        A thousand characters need four rounds at most, a hundred thousand ten. Raises TextTooLong.
        """
        size = len(text)
        while size > MIN_PIECE_LENGTH:
            size = -(-size // 2)
            try:
                return self._embed_pieces(split_text(text, size), prefix, ends)
            except TextTooLong:
                continue
        raise TextTooLong()

    def _embed_pieces(self, pieces: list[str], prefix: str, ends: float | None) -> NDArray[np.float32]:
        total = np.zeros(DIMENSIONS, np.float32)
        for batch in self.batches(pieces):
            rows = self._ask([prefix + pieces[position] for position in batch], ends)
            for position, vector in zip(batch, self.unit_rows(rows, len(batch)), strict=True):
                if vector is not None:
                    total += vector * len(pieces[position])
        return total

    def _ask(self, texts: Sequence[str], ends: float | None) -> ArrayLike:
        seconds = self.timeout if ends is None else ends - monotonic()
        if seconds <= 0:
            raise EmbedderUnavailable(f"The embedding server at {self.server.place} takes too long for this query.")
        status, content = self.server.post(self.path, self.request_body(texts), seconds)
        if status != HTTPStatus.OK:
            raise self.error(status, content)
        try:
            return self.rows(json.loads(content))
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise EmbedderUnavailable(f"The embedding server at {self.server.place} returned no embeddings.") from error


def split_text(text: str, size: int) -> list[str]:
    """Split into pieces of at most `size` characters, cut behind a space where one is in the second half of a piece."""
    pieces = []
    while len(text) > size:
        end = text.rfind(" ", size // 2, size) + 1 or size
        pieces.append(text[:end])
        text = text[end:]
    return [*pieces, text]
