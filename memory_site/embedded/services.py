"""The embedded servers together: for `serve`, and for a command that needs them for a while."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory, DataDirectoryInUse
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.processes import START_TIMEOUT_SECONDS


@contextmanager
def ensure_services(home: DataDirectory) -> Iterator[None]:
    """PostgreSQL and the broker answer inside the block.

    Those of the process that holds the home are used when there is one (its start is waited for); else they are
    started here, and stopped at the end, when other commands that came to use them have ended. Raises HomeError.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    with ExitStack() as stack:
        while not (_start_here(home, stack) or _join_running(home, stack)):
            if time.monotonic() > deadline:
                stack.enter_context(home.lock())  # raises AlreadyServed, naming the holder
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
    """The servers, stopped only when nobody else uses them, and with new users kept waiting meanwhile."""
    with ExitStack() as visitors, run_servers(home):
        try:
            yield
        finally:
            visitors.enter_context(home.hold_shared(last=True))


@contextmanager
def run_servers(home: DataDirectory) -> Iterator[None]:
    """Both servers, started together and stopped at the end, for the holder of the home's lock."""
    broker, postgres = Broker(home), Postgres(home)
    try:
        launch_servers(broker, postgres)
        yield
    finally:
        broker.stop()
        postgres.stop()


def launch_servers(broker: Broker, postgres: Postgres) -> None:
    """Start both and wait until they answer; the broker loads its file while PostgreSQL is made or recovers."""
    broker.launch()
    postgres.start()
    broker.wait_until_ready()
