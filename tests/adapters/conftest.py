"""One site for all adapters, and a namespace of its own for each test that asks for one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest

from memory_client import MemoryClient

ROOT = Path(__file__).resolve().parents[2]
#: The Python that runs the product.
PYTHON = os.environ.get("MEMORY_SITE_PYTHON", str(ROOT / ".venv/bin/python"))


@dataclass
class Site:
    """A running site: its address, a key of the namespace `default`, its data directory, and how libpq connects to its
    database."""

    url: str
    key: str
    data: str
    database: str
    process: subprocess.Popen[str]

    def create_key(self, namespace: str) -> str:
        """Return a new key of a namespace, which is created."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(namespace + "\n")
        self.process.stdin.flush()
        return read_line(self.process.stdout)


def read_line(stream: IO[str]) -> str:
    line = stream.readline()
    assert line, "the site ended"
    return line.strip()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    argv = [PYTHON, "-m", "tests.adapters.run_site"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        yield Site(**json.loads(read_line(process.stdout)), process=process)
        process.stdin.close()
        process.wait(200)


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[MemoryClient]:
    """Of the namespace `default`. A module whose tests count what is there has one of its own."""
    with MemoryClient(site.url, site.key) as client:
        yield client


@pytest.fixture
def new_key(site: Site) -> Callable[[], str]:
    """Return a function that makes a key of a new, empty namespace. It takes a second or two."""
    return lambda: site.create_key(f"test-{uuid4().hex[:12]}")


@pytest.fixture
def run_example(site: Site, new_key: Callable[[], str]) -> Callable[[str], str]:
    """Return a function that runs a file of examples/ in a new namespace and returns what it prints."""

    def run(name: str) -> str:
        address = {"MEMORY_URL": site.url, "MEMORY_KEY": new_key(), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, str(ROOT / "examples" / name)]
        done = subprocess.run(argv, env=os.environ | address, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
