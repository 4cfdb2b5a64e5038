"""The embedded servers together, for `serve` and for commands."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory, DataDirectoryInUse
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.processes import START_TIMEOUT_SECONDS


@contextmanager
def ensure_services(home: DataDirectory) -> Iterator[None]:
    """Provide PostgreSQL and the broker inside the block. Raises DataDirectoryError.

    If another process holds the data directory, its servers are used, after they have started. Else they are started
    here, and stopped at the end, after other commands that use them have ended.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    with ExitStack() as stack:
        while not (_start_here(home, stack) or _join_running(home, stack)):
            if time.monotonic() > deadline:
                stack.enter_context(home.lock())  # raises DataDirectoryInUse, which names the holder
            time.sleep(0.05)
        yield


def _start_here(home: DataDirectory, stack: ExitStack) -> bool:
    try:
        stack.enter_context(home.lock())
    except DataDirectoryInUse:
        return False
    stack.enter_context(_run_shared(home))
    return True


def _join_running(home: DataDirectory, stack: ExitStack) -> bool:
    with ExitStack() as visit:
        visit.enter_context(home.hold_shared())
        if not (Postgres(home).ready and Broker(home).ready):
            return False
        stack.push(visit.pop_all())
    return True


@contextmanager
def _run_shared(home: DataDirectory) -> Iterator[None]:
    """Run the servers; stop them only when no other process uses them, and keep new users waiting meanwhile."""
    with ExitStack() as visitors, run_servers(home):
        try:
            yield
        finally:
            visitors.enter_context(home.hold_shared(last=True))


@contextmanager
def run_servers(home: DataDirectory) -> Iterator[None]:
    """Run both servers for the holder of the directory's lock."""
    broker, postgres = Broker(home), Postgres(home)
    try:
        launch_servers(broker, postgres)
        yield
    finally:
        broker.stop()
        postgres.stop()


def launch_servers(broker: Broker, postgres: Postgres) -> None:
    """Start both and wait until they answer; the broker loads its file while PostgreSQL is created or recovers."""
    broker.launch()
    postgres.start()
    broker.wait_until_ready()
