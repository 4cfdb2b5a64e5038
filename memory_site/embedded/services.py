"""The embedded servers together: for `serve`, and for a command that needs them for a while."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import AlreadyServed, Home
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.processes import START_PATIENCE


@contextmanager
def services(home: Home) -> Iterator[None]:
    """PostgreSQL and the broker answer inside the block.

    Those of the process that holds the home are used when there is one (its start is waited for); else they are
    started here, and stopped at the end, when other commands that came to use them have ended. Raises HomeError.
    """
    deadline = time.monotonic() + START_PATIENCE
    with ExitStack() as stack:
        while not (_started_here(home, stack) or _joined(home, stack)):
            if time.monotonic() > deadline:
                stack.enter_context(home.lock())  # raises AlreadyServed, naming the holder
            time.sleep(0.05)
        yield


def _started_here(home: Home, stack: ExitStack) -> bool:
    try:
        stack.enter_context(home.lock())
    except AlreadyServed:
        return False
    stack.enter_context(_shared(home))
    return True


def _joined(home: Home, stack: ExitStack) -> bool:
    with ExitStack() as visit:
        visit.enter_context(home.visit())
        if not (Postgres(home).ready and Broker(home).ready):
            return False
        stack.push(visit.pop_all())
    return True


@contextmanager
def _shared(home: Home) -> Iterator[None]:
    """The servers, stopped only when nobody else uses them, and with new users kept waiting meanwhile."""
    with ExitStack() as visitors, running(home):
        try:
            yield
        finally:
            visitors.enter_context(home.visit(last=True))


@contextmanager
def running(home: Home) -> Iterator[None]:
    """Both servers, started together and stopped at the end, for the holder of the home's lock."""
    broker, postgres = Broker(home), Postgres(home)
    try:
        launch_together(broker, postgres)
        yield
    finally:
        broker.stop()
        postgres.stop()


def launch_together(broker: Broker, postgres: Postgres) -> None:
    """Start both and wait until they answer; the broker loads its file while PostgreSQL is made or recovers."""
    broker.launch()
    postgres.start()
    broker.wait_until_ready()
