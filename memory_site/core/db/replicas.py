"""Replicas: which of them are fresh enough to be read, and reading from one.

Inside `Replica.serving()` the thread's connection "default" is the replica's, so that the ORM, cursors and transactions
follow without a word. Another thread, and every line outside the block, has the primary.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from threading import Lock, Thread

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg_pool import PoolTimeout

from memory_site.core.db.replication import ANSWER_SECONDS, PROBE_SECONDS, Watch, find_moment

log = logging.getLogger(__name__)
#: SQLSTATE class 57P: the server shuts down or has just been started. Without a state the driver raised the error.
SHUTDOWN_STATES = "57P"
#: The reason for which an address that the primary itself has is not read. That is as it should be after a failover.
IS_PRIMARY = "is the primary"
#: The moment of the data of a server of which nothing is known.
UNKNOWN = float("-inf")


class Replica:
    """One replica, the position that it has replayed, and the requests that it serves at this moment."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.watch = Watch(alias, 0, self._renew_pool)
        self._lock = Lock()
        self._serving: dict[BaseDatabaseWrapper, float] = {}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Have the statements of this thread run here inside the block. Not inside a transaction of the primary."""
        primary, own = connections[DEFAULT_DB_ALIAS], connections[self.alias]
        primary.close()  # gives its connection back to the pool; the request needs one at a time
        with self._lock:
            self._serving[own] = time.monotonic()
        connections[DEFAULT_DB_ALIAS] = own
        try:
            yield
        finally:
            connections[DEFAULT_DB_ALIAS] = primary
            with self._lock:
                del self._serving[own]
            own.close()

    def note_failure(self, error: Error) -> None:
        """Leave the replica out until it answers again, if the error says that it does not."""
        log.warning("%s failed, the primary answers: %s", self.alias, type(error.__cause__ or error).__name__)
        state = getattr(error.__cause__, "sqlstate", None)
        is_busy = isinstance(error.__cause__, PoolTimeout) and self._count_connections() > 0
        if not is_busy and (state is None or state.startswith(SHUTDOWN_STATES)):
            self.watch.forget()

    def _count_connections(self) -> int:
        pool = connections[self.alias].pool  # type: ignore[attr-defined]  # of PostgreSQL's backend
        return pool.get_stats()["pool_size"] if pool else 0

    def interrupt(self) -> None:
        """End the statements of a replica that does not answer: a frozen server would keep its callers for ever."""
        late = time.monotonic() - ANSWER_SECONDS
        with self._lock:
            for connection in [each for each, since in self._serving.items() if since < late]:
                shut_down(connection)

    def _renew_pool(self) -> None:
        """Leave the pool of before the server went away: its connections are dead, and what it still tries is over."""
        connections[self.alias].close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's backend


def shut_down(connection: BaseDatabaseWrapper) -> None:
    """Close the socket below a connection that another thread waits for, which then raises OperationalError there."""
    if (driver := connection.connection) is None or driver.closed:
        return
    with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as doomed:
        doomed.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class ReplicaState:
    """What is known of a replica: the moment whose data it has at least, and why it is not read, if it is not."""

    replica: Replica
    as_of: float
    reason: str = ""

    @property
    def lag(self) -> float:
        """Seconds that its data are old at most."""
        return time.monotonic() - self.as_of

    @property
    def is_faulty(self) -> bool:
        """Whether something is wrong. With the address of the primary nothing is."""
        return self.reason not in ("", IS_PRIMARY)


class Replicas:
    """All replicas of this process, and the primary that they are compared with. Watched from the first use on."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: the threads that watched are those of another process."""
        self._started, self._start = False, Lock()
        self._turns = count()
        self.primary = Watch(DEFAULT_DB_ALIAS, settings.DATABASE_REPLICA_MAX_LAG)
        self.all = [Replica(alias) for alias in settings.REPLICAS]

    def start(self) -> None:
        """Begin to watch, once in a process."""
        with self._start:
            if self._started or not self.all:
                return
            self._started = True
        for watch in (self.primary, *(replica.watch for replica in self.all)):
            watch.start()
        Thread(target=self._interrupt_repeatedly, name="watch replicas", daemon=True).start()

    @property
    def is_primary_away(self) -> bool:
        """Whether the primary was seen and does not answer any more."""
        return bool(self.primary.history) and self.primary.reading is None

    def choose(self, position: int = 0) -> ReplicaState | None:
        """Return a replica that is fresh enough and has replayed the position, each in turn. None when there is none:
        the primary answers then."""
        if not self._started:
            self.start()
        fresh = [state for state in self.inspect(position) if not state.reason]
        return fresh[next(self._turns) % len(fresh)] if fresh else None

    def inspect(self, position: int = 0) -> list[ReplicaState]:
        """Return the state of each replica; `reason` says why it is not read, with this position or at all."""
        return [self._inspect(replica, position) for replica in self.all]

    def wait_for_states(self, seconds: float) -> list[ReplicaState]:
        """Return the state of each replica as soon as none is faulty, or after so many seconds if one is."""
        self.start()
        deadline = time.monotonic() + seconds
        while any(state.is_faulty for state in self.inspect()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.inspect()

    def _inspect(self, replica: Replica, position: int) -> ReplicaState:
        reading, primary = replica.watch.reading, next(self.primary.readings(), None)
        if reading is None:
            return ReplicaState(replica, UNKNOWN, f"does not answer: {replica.watch.error}")
        if not reading.is_standby:
            is_primary = primary is not None and primary.is_same_server(reading)
            return ReplicaState(replica, UNKNOWN, IS_PRIMARY if is_primary else "is not a standby, or was promoted")
        if primary is None or primary.system != reading.system:
            return ReplicaState(replica, UNKNOWN, "is not known to be a standby of the primary")
        state = ReplicaState(replica, find_moment(reading.position, self.primary))
        if state.lag > settings.DATABASE_REPLICA_MAX_LAG or reading.position < position:
            return replace(state, reason="is behind")
        return state

    def _interrupt_repeatedly(self) -> None:
        while True:
            time.sleep(PROBE_SECONDS / 2)
            for replica in self.all:
                if replica.watch.is_silent:
                    replica.interrupt()


replicas = Replicas()
os.register_at_fork(after_in_child=replicas.reset)
