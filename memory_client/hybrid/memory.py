"""The memory of an agent's process: transient memories and checkpoints that stay in a local file, and persistent ones
that the server has too, and that can be read and written while it is away."""

import atexit
import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from memory_client import MemoryClient
from memory_client.hybrid.checkpoints import Checkpoints
from memory_client.hybrid.database import Database
from memory_client.hybrid.errors import HybridError, LocalFileError
from memory_client.hybrid.housekeeping import Housekeeping
from memory_client.hybrid.limits import DEFAULT_LIMITS, Limits
from memory_client.hybrid.origin import Origin
from memory_client.hybrid.primary import PrimaryRequests
from memory_client.hybrid.reads import Reads
from memory_client.hybrid.recent import RecentViews
from memory_client.hybrid.sender import Sender
from memory_client.hybrid.statistics import Statistics
from memory_client.hybrid.waiting import Waiting
from memory_client.hybrid.writes import Writes

CLOSE_TIMEOUT_SECONDS = 15.0


class HybridMemory(Writes, Reads, Checkpoints, Waiting, Statistics, Housekeeping):
    """May be used by any number of threads, and by any number of processes with the same file.

    client: a MemoryClient, which stays open, or the server's url with `key`. path: the local file, on a local disk. One
    file belongs to one namespace of one site; `server_moved` says that the same memory has another url, database or
    namespace now. clock: seconds since 1970. Raises LocalFileError, and ForeignFile for a file of another url.
    """

    def __init__(
        self,
        client: MemoryClient | str | None = None,
        key: str | None = None,
        *,
        path: str | os.PathLike[str],
        refresh_seconds: float = 60.0,
        max_idle_hours: float = 24.0,
        limits: Limits = DEFAULT_LIMITS,
        poll_seconds: float = 5.0,
        busy_seconds: float = 10.0,
        timeout: float = 10.0,
        server_moved: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._owns_client = not isinstance(client, MemoryClient)
        # Without retries: the outbox repeats, and knows more of what came of an attempt.
        self.client = (
            client if isinstance(client, MemoryClient) else MemoryClient(client, key, timeout=timeout, retries=0)
        )
        self.path, self.limits, self.clock = Path(path), limits, clock
        self.refresh_seconds, self.max_idle_hours = refresh_seconds, max_idle_hours
        try:
            self.database = Database(self.path, busy_seconds=busy_seconds, max_bytes=limits.file_bytes)
            url = self.client.transport.settings.address
            self.server = PrimaryRequests(self.client)
            self.origin = Origin(self.database, self.server, url, may_differ=server_moved)
        except BaseException:
            self._close_client()
            raise
        self.views = RecentViews(self.database, clock, limits.views)
        self.loading = {}
        self.sender = Sender(self.database, self.server, self.origin, clock, poll_seconds, self._housekeep)
        self.sender.start()
        _instances.add(self)

    def __repr__(self) -> str:
        return f"<HybridMemory of {self.client.transport.settings.address} in {self.path}>"

    def _after_fork(self) -> None:
        """Begin with nothing that the parent's threads may have been changing."""
        self.loading = {}
        for part in (self.origin, self.views, self.sender):
            part.prepare()

    def close(self) -> None:
        """Stop. What waits stays in the file, and is sent by the next process that opens it."""
        self.sender.stop(CLOSE_TIMEOUT_SECONDS)
        with suppress(HybridError):
            self.views.save()
        self.database.close()
        self._close_client()
        _instances.discard(self)

    def _close_client(self) -> None:
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_instances: "weakref.WeakSet[HybridMemory]" = weakref.WeakSet()


def _forget_parent() -> None:
    for memory in list(_instances):
        memory._after_fork()


def _close_all() -> None:
    for memory in list(_instances):
        with suppress(LocalFileError):
            memory.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
