"""Embedding with any server that speaks OpenAI's embeddings protocol: llama.cpp, vLLM, TEI, LM Studio, OpenAI."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from .remote import RemoteEmbedder


class OpenAIEmbedder(RemoteEmbedder):
    """`base_url` ends where `/embeddings` begins, usually in `/v1`; local servers need no key."""

    vendor = "openai"
    path = "/embeddings"

    def check(self) -> list[str]:
        if self.server.place == "api.openai.com" and not self.server.has_key:
            return [*super().check(), "The server api.openai.com needs an API key."]
        return super().check()

    def request_body(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"model": self.name, "input": list(texts), "encoding_format": "float"}

    def rows(self, answer: Any) -> ArrayLike:
        """Sort by `index`, which says which text a vector belongs to: the protocol promises no order."""
        items = sorted(answer["data"], key=lambda item: item["index"])
        if [item["index"] for item in items] != list(range(len(items))):
            raise ValueError("indexes are missing or duplicated")
        return [item["embedding"] for item in items]
