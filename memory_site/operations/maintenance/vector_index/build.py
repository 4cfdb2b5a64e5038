"""Builds candidates beside the index while it is used, and lets them take its place in one short transaction."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import Error, connection, transaction

from memories.vacuum import INDEX, TABLE
from memory_site.operations.maintenance.findings import execute, fetch, format_size
from memory_site.operations.maintenance.vector_index.layout import Layout, Leaf, Options
from memory_site.operations.maintenance.vector_index.measure import retry_until_locked

#: Called with vectors in the candidates, vectors in all, and what is done.
Report = Callable[[int, int, str], object]

POLL_SECONDS = 0.5
#: Milliseconds of one core to index a vector, measured with 50,000 vectors of 768 numbers and m 16 (decision 92): 1.1
#: with 64 candidates, 1.8 with 128, 2.2 with 200.
BASE_MS, MS_PER_CANDIDATE = 0.55, 0.0085

SELECT_PROGRESS_SQL = """
SELECT phase, tuples_done FROM pg_stat_progress_create_index
WHERE datname = current_database() AND relid = %(table)s::regclass
"""
SELECT_MEMORY_SQL = """
SELECT pg_size_bytes(current_setting('maintenance_work_mem')), pg_size_bytes(current_setting('max_wal_size'))
"""


class NoSpace(Exception):
    """The candidate would not fit on the disk. The message has the figures."""


@dataclass(frozen=True)
class Cost:
    """What it takes to build candidates: bytes on the disk, with the write-ahead log; free bytes, None if the server's
    disk cannot be seen from here; seconds of one core; bytes of memory, and how many the server allows."""

    bytes: int
    free: int | None
    seconds: float
    memory: int
    allowed_memory: int

    def __str__(self) -> str:
        free = "how much is free cannot be seen from here" if self.free is None else f"{format_size(self.free)} free"
        text = f"{format_size(self.bytes)} on the server ({free}) and about {self.seconds / 60:.0f} min of one core."
        if self.memory > self.allowed_memory:
            text += f" It takes longer unless maintenance_work_mem is raised to {format_size(self.memory)}."
        return text


def estimate_cost(layout: Layout, options: Options) -> Cost:
    """Return what the candidates cost that are not there yet."""
    leaves = [leaf for leaf in layout.leaves if not is_built(leaf, options)]
    size = sum(leaf.estimate_bytes(options) for leaf in leaves)
    allowed, max_wal = fetch(SELECT_MEMORY_SQL)[0]
    vectors = sum(leaf.vectors for leaf in leaves)
    milliseconds = (BASE_MS + MS_PER_CANDIDATE * options.ef_construction) * options.m / 16
    largest = max((leaf.estimate_bytes(options) for leaf in leaves), default=0)
    return Cost(size + min(size, max_wal), read_free_space(), vectors * milliseconds / 1000, largest, allowed)


def read_free_space() -> int | None:
    return shutil.disk_usage(settings.HOME.path).free if settings.EMBEDDED else None


def check_space(cost: Cost) -> None:
    """Raise NoSpace if the candidates do not fit."""
    if cost.free is not None and cost.bytes > cost.free:
        raise NoSpace(f"The index needs {format_size(cost.bytes)}, and {format_size(cost.free)} are free.")


def is_built(leaf: Leaf, options: Options) -> bool:
    candidate = leaf.find_candidate()
    return candidate is not None and candidate.is_valid and candidate.options == options


def build_candidates(layout: Layout, options: Options, report: Report) -> None:
    """Build the candidate of each part that has none, while searches and writes go on.

    What a killed build left, or one with other options, is dropped first. Cannot run in a transaction.
    """
    done = 0
    for leaf in layout.leaves:
        report(done, layout.vectors, leaf.index)
        if not is_built(leaf, options):
            drop_candidate(leaf)
            with watch(leaf, partial(report_built, report, done, layout.vectors, leaf.index)):
                execute(build_statement(leaf, options))
        done += leaf.vectors
    report(done, layout.vectors, INDEX)


def report_built(report: Report, before: int, total: int, what: str, built: int) -> None:
    report(before + built, total, what)


def build_statement(leaf: Leaf, options: Options) -> str:
    return (
        f'CREATE INDEX CONCURRENTLY "{leaf.candidate_name}" ON {leaf.table} {leaf.method}'
        f" WITH (m = {options.m:d}, ef_construction = {options.ef_construction:d})"
    )


def drop_candidates(layout: Layout) -> None:
    for leaf in layout.leaves:
        drop_candidate(leaf)


def drop_candidate(leaf: Leaf) -> None:
    execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{leaf.candidate_name}"')


def swap(layout: Layout, options: Options) -> None:
    """Let the candidates take the index's place and name: all of them or none. Raises TableBusy."""
    with transaction.atomic():
        retry_until_locked(lambda: execute(*build_swap(layout, options)))


def build_swap(layout: Layout, options: Options) -> Iterator[str]:
    """Yield the statements. An index of a partition belongs to that of the table, so that is made again, without work:
    it takes over those that it finds."""
    yield f"DROP INDEX {INDEX}"
    if layout.is_partitioned:
        method = layout.leaves[0].method
        storage = f"WITH (m = {options.m:d}, ef_construction = {options.ef_construction:d})"
        yield f"CREATE INDEX {INDEX} ON ONLY {TABLE} {method} {storage}"
    for leaf in layout.leaves:
        yield f'ALTER INDEX "{leaf.candidate_name}" RENAME TO "{leaf.index}"'
        if layout.is_partitioned:
            yield f'ALTER INDEX {INDEX} ATTACH PARTITION "{leaf.index}"'


@contextmanager
def watch(leaf: Leaf, report: Callable[[int], object]) -> Iterator[None]:
    """Report how many vectors are in a candidate while the block builds it, by a thread with its own connection."""
    finished = threading.Event()
    thread = threading.Thread(target=keep_reporting, args=(leaf, report, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def keep_reporting(leaf: Leaf, report: Callable[[int], object], finished: threading.Event) -> None:
    try:
        while not finished.wait(POLL_SECONDS):
            for phase, tuples in fetch(SELECT_PROGRESS_SQL, table=leaf.table):
                report(min(tuples if "building" in phase else 0, leaf.vectors))
    except Error:
        pass  # the build itself says what is wrong
    finally:
        connection.close()
