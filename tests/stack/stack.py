"""The whole product: `manage.py serve` and everything it starts, used by HTTP, with what tests expect of it."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import psutil

from memory_site.operations.selftest.scratch_site import MANAGE as MANAGE
from memory_site.operations.selftest.scratch_site import ScratchSite
from memory_site.operations.selftest.scratch_site import build_environment as build_environment
from memory_site.operations.selftest.scratch_site import create_short_directory as create_short_directory
from memory_site.operations.selftest.scratch_site import find_processes as find_processes
from memory_site.operations.selftest.scratch_site import run_manage as run_manage
from memory_site.operations.selftest.scratch_site import wait_until as wait_until
from tests import NEW_SITE_VARIABLE
from tests.new_site import copy_new_site


class Stack(ScratchSite):
    """One `manage.py serve`, whose answers are asserted.

    In the suite its new database is a copy, except in a FirstStart.
    """

    def start(self) -> Self:
        is_new = not self.data.exists() and "DATABASE_URL" not in self.environment
        if is_new and NEW_SITE_VARIABLE in os.environ:
            self.make_data()
        return super().start()

    def make_data(self) -> None:
        copy_new_site(self.data)

    def add(self, content: str, **fields: Any) -> dict:
        answer = self.call("POST", "/memories", {"content": content, **fields})
        assert answer.status in (200, 201), answer.data
        return answer.json()

    def search(self, query: str, **fields: Any) -> dict:
        answer = self.call("POST", "/memories/search", {"query": query, **fields})
        assert answer.status == 200, answer.data
        return answer.json()

    def summary(self) -> dict:
        answer = self.call("GET", "/summary")
        assert answer.status == 200, answer.data
        return answer.json()

    @property
    def backlog(self) -> int:
        """Memories that wait for their vectors."""
        return self.summary()["embedding_backlog"]

    def health(self) -> dict[str, str]:
        """Statuses by part, and the worst of them as `all`."""
        health = self.page("/health", self.key).json()
        return {part["name"]: part["status"] for part in health.get("components", ())} | {"all": health["status"]}

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A part neither answers nor ends inside the block, nor do the processes that it has started."""
        wait_until(lambda: self.part(name), 60, f"{name} runs")
        with frozen_family(self.part(name)):
            yield

    @contextmanager
    def holding(self, statement: str) -> Iterator[Callable[[], object]]:
        """Hold the locks of a statement inside the block, and undo it. Provide a function that waits until another
        process waits for them."""
        with self.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.execute(statement)
            pid = connection.info.backend_pid
            waiting = f"SELECT 1 FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
            yield lambda: wait_until(lambda: self.rows(waiting), 60, "another process waits for what is locked")

    @contextmanager
    def frozen_supervisor(self) -> Iterator[None]:
        """What dies stays dead inside the block."""
        self.server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.send_signal(signal.SIGCONT)


class FirstStart(Stack):
    """A stack that creates and migrates its database, as every site did once."""

    def make_data(self) -> None:
        pass


@contextmanager
def frozen_family(process: psutil.Process) -> Iterator[None]:
    """A process, and those that it has started, do nothing inside the block. It starts none while they are listed."""
    process.suspend()
    family = [process, *process.children(recursive=True)]
    try:
        for each in family[1:]:
            with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                each.suspend()
        yield
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.resume()


@contextmanager
def running_stack(**environment: str) -> Iterator[Stack]:
    """Provide a separate stack and remove it afterwards, with every process it started."""
    with create_short_directory() as directory:
        stack = Stack(directory, **environment)
        left: Sequence[str] = ()
        try:
            yield stack.start()
        finally:
            left = stack.stop() if stack.process else ()
        assert not left
