"""Embedding with an Ollama server."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from numpy.typing import ArrayLike

from .base import EmbedderUnavailable, EmbeddingError
from .remote import RemoteEmbedder


class OllamaEmbedder(RemoteEmbedder):
    """A model that Ollama serves; `nomic-embed-text` gets the prefixes `search_document: ` and `search_query: `."""

    vendor = "ollama"
    path = "/api/embed"

    def request_body(self, texts: Sequence[str]) -> dict[str, Any]:
        # Without truncation a text that is too long is an error, and is divided; its end would be lost otherwise.
        return {"model": self.name, "input": list(texts), "truncate": False}

    def rows(self, answer: Any) -> ArrayLike:
        return answer["embeddings"]

    def ping(self) -> None:
        """Check that the server has the model, without loading it."""
        status, content = self.server.post("/api/show", {"model": self.name}, self.query_timeout)
        if status != HTTPStatus.OK:
            raise EmbedderUnavailable(str(self.error(status, content)))

    def error(self, status: int, content: bytes) -> EmbeddingError:
        if status == HTTPStatus.NOT_FOUND:
            return EmbedderUnavailable(
                f"The Ollama server at {self.server.place} lacks the model; run `ollama pull {self.name}` there."
            )
        return super().error(status, content)
