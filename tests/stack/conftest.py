"""Two whole sites: one that stays healthy, and one whose processes are killed and frozen, and must recover."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.stack.stack import FirstStart, Stack, create_short_directory, running_stack, wait_until

#: What the tests measured, in words and seconds.
MEASUREMENTS: list[tuple[str, float]] = []


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """With the embedding model of a fresh installation. For tests that leave it as well as they found it."""
    with running_stack(EMBEDDER="onnx") as stack:
        yield stack


@pytest.fixture(scope="package")
def shaken() -> Iterator[Stack]:
    """For faults, by tests that wait until it is well again.

    What a killed worker had claimed is free again after five seconds, and a request waits six for the database. It
    may read folders from its INGESTION_ROOTS.
    """
    with create_short_directory() as root:
        faults = {"EMBEDDING_LEASE": "5", "PG_POOL_TIMEOUT": "6", "INGESTION_ROOTS": str(root)}
        with running_stack(EMBEDDER="onnx", **faults) as stack:
            yield stack


@dataclass
class Run:
    """One life of a site: what it said, how it ended after which signal, who was left, and seconds.

    `worked`: of processor time until it was ready.
    """

    signal: signal.Signals
    said: str
    errors: str
    started: float
    worked: float
    stopped: float
    code: int
    left: list[str]


@dataclass
class Abandoned:
    """A data directory that was served twice and is served no more; it remembers one thing."""

    stack: Stack
    memory: dict = field(default_factory=dict)
    memory_after_restart: dict = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.environment

    @property
    def data(self) -> Path:
        return self.stack.data


@pytest.fixture(scope="package")
def abandoned() -> Iterator[Abandoned]:
    with create_short_directory() as directory:
        abandoned = Abandoned(FirstStart(directory))
        abandoned.runs.append(run_once(abandoned.stack, signal.SIGINT, lambda: add_memory(abandoned)))
        abandoned.runs.append(run_once(abandoned.stack, signal.SIGTERM, lambda: fetch_memory_again(abandoned)))
        yield abandoned


def add_memory(abandoned: Abandoned) -> None:
    pk = abandoned.stack.add("Left behind in an empty house.")["id"]

    def is_embedded() -> bool:
        abandoned.memory = abandoned.stack.call("GET", f"/memories/{pk}").json()
        return abandoned.memory["embedded"]

    wait_until(is_embedded, 60, "it is embedded")


def fetch_memory_again(abandoned: Abandoned) -> None:
    abandoned.memory_after_restart = abandoned.stack.call("GET", f"/memories/{abandoned.memory['id']}").json()


def run_once(stack: Stack, request: signal.Signals, meanwhile: Callable[[], None]) -> Run:
    begun = time.monotonic()
    try:
        started = time.monotonic() - begun if stack.start() else 0
        worked = sum_processor_seconds(stack)
        meanwhile()
    finally:
        stopping = time.monotonic()
        left = stack.stop(request)
    stopped = time.monotonic() - stopping
    return Run(request, stack.said, stack.errors.read_text(), started, worked, stopped, stack.process.returncode, left)


def sum_processor_seconds(stack: Stack) -> float:
    """Of `serve`, what it runs, and what they ran to its end."""
    serve = psutil.Process(stack.server.pid)
    return sum(map(get_processor_seconds, (serve, *serve.children(recursive=True))))


def get_processor_seconds(process: psutil.Process) -> float:
    """0 for one that has ended since it was listed, as PostgreSQL's own helpers do; its parent has its seconds."""
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


@pytest.fixture(scope="session")
def measured() -> Callable[[str, float], None]:
    """Keeps a figure for the summary at the end of the run."""
    return lambda what, seconds: MEASUREMENTS.append((what, seconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASUREMENTS:
        terminalreporter.section("measured")
        for what, seconds in MEASUREMENTS:
            terminalreporter.write_line(f"{seconds:8.3f} s  {what}")
