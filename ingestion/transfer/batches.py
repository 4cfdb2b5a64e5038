"""Group the lines of a file into batches, each for one statement."""

from collections.abc import Iterator
from typing import Any

MAX_BATCH_LINES, MAX_BATCH_BYTES = 1_000, 8 * 2**20


def batch_lines(lines: Iterator[tuple[Any, int]]) -> Iterator[list[Any]]:
    """Group the parsed lines into batches that fit into one statement."""
    batch: list[Any] = []
    size = 0
    for each, length in lines:
        if each is not None:
            batch.append(each)
            size += length
        if len(batch) == MAX_BATCH_LINES or size > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
