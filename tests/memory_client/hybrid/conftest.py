"""Hybrid memories: in a local file alone, and in front of the site, with a relay in between that can fail."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memory_client.hybrid import HybridMemory
from tests.memory_client.hybrid.agents import open_memory
from tests.memory_client.hybrid.relay import Relay

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


@pytest.fixture
def open_local(path: Path) -> Iterator[Callable[..., HybridMemory]]:
    """Open hybrid memories whose server is away, on one file unless another one is said; close them at the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(open_memory(**({"path": path} | options)))


@pytest.fixture
def memory(open_local) -> HybridMemory:
    return open_local()


@pytest.fixture
def relay(live_server) -> Iterator[Relay]:
    """To the site."""
    relay = Relay(live_server.url).up()
    yield relay
    relay.end()


@pytest.fixture
def run_agent() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start programs of agents.py, and kill those that are left."""
    processes = []

    def run(*arguments: object) -> subprocess.Popen:
        argv = [sys.executable, "-m", "tests.memory_client.hybrid.agents", *map(str, arguments)]
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
