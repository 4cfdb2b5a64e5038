"""Models that run in this process: windows of long texts, batches of windows, and the threads that run them."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from .base import MIN_NORM, BatchFailed, Embedder

#: Tokens that two neighbouring windows of a long text share.
WINDOW_OVERLAP = 32
#: Padded tokens in one run of the network. Measured with two concurrent runs on two cores, short texts:
#: 840 a second in runs of 256 (292 MB), 790 in runs of 512 (375 MB), 740 in runs of 1,024 (540 MB), 270 one
#: by one; runs of 4,096 need 1.5 GB.
MAX_TOKENS_PER_RUN = 256
#: Each concurrent run occupies a core that the database and the web server cannot use.
MAX_THREADS = 4

TokenIds = list[int]
#: Token ids, shape (windows, tokens), and 1 for each token that is not padding.
TokenBatch = NDArray[np.int64]


class Network(ABC):
    """A loaded model and the threads that run it. Safe to use from several threads.

    Concurrent runs of one thread are faster than one run of two threads (42 full windows a second
    against 23, on two busy cores), and concurrent queries do not wait for each other.
    """

    #: Tokens the model reads at once, special ones and prefix included.
    window: int
    #: Special tokens before and after each window, and the one that fills up a batch.
    opening: TokenIds
    closing: TokenIds
    padding_id: int

    def __init__(self, threads: int) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    @abstractmethod
    def tokenize(self, text: str) -> TokenIds:
        """Return the text's tokens without special ones."""

    @abstractmethod
    def compute_rows(self, ids: TokenBatch, mask: TokenBatch) -> NDArray[np.float32]:
        """Return one row per window, of any length."""

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
        opening = [*self.opening, *self.tokenize(prefix)]
        room = self.window - len(opening) - len(self.closing)
        return [[*opening, *part, *self.closing] for part in split_into_windows(self.tokenize(text), room)]

    def _run(self, windows: list[TokenIds]) -> NDArray[np.float32]:
        """Return one unit row per window. Raises BatchFailed."""
        longest = max(map(len, windows))
        ids = np.full((len(windows), longest), self.padding_id, np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        try:
            rows = self.compute_rows(ids, mask)
        except Exception as error:  # the library's errors have no common class
            raise BatchFailed("The model failed on these texts.") from error
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), MIN_NORM)


class LocalEmbedder(Embedder):
    """An embedder whose model runs in this process and is loaded with the first text.

    Texts are embedded by `threads` concurrent runs, each on one core; what fits into one run, as most queries
    do, runs in the calling thread. Texts longer than the model's window are embedded in overlapping windows
    of equal length, whose unit vectors are averaged.
    """

    # MAX_TOKENS_PER_RUN bounds a run of the network; these two bound what is tokenised at once.
    batch_size = 256
    batch_characters = 262_144

    def __init__(self, model: str, *, threads: int | None = None) -> None:
        super().__init__(model)
        self.threads = threads or min(count_available_cores(), MAX_THREADS)
        self._lock = threading.Lock()
        self._loaded: Network | None = None

    @abstractmethod
    def load_network(self) -> Network:
        """Load the model. Raises EmbedderUnavailable."""

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    @property
    def network(self) -> Network:
        """The loaded model; loading takes up to a second, once. Raises EmbedderUnavailable."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self.load_network()
            return self._loaded

    def ping(self) -> None:
        self.network  # noqa: B018  (the property loads it)


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


def average_tokens(states: NDArray[np.float32], mask: TokenBatch) -> NDArray[np.float32]:
    """Return the mean of each window's tokens, padding left out; states of shape (windows, tokens, width)."""
    return np.einsum("bth,bt->bh", states, mask.astype(np.float32)) / mask.sum(axis=1, keepdims=True)


def open_session(model: Path | bytes) -> InferenceSession:
    """Open a model for runs of one thread each."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return InferenceSession(source, options, providers=["CPUExecutionProvider"])


def count_available_cores() -> int:
    """Count the cores this process may use; onnxruntime's default is every core of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
