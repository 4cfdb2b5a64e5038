"""Positions in the write-ahead log: what a server has written or replayed, asked four times a second.

A thread per server: one that is frozen answers never, and its thread waits for it alone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Thread

import psycopg
from django.db import connections

#: Seconds between two questions, and without an answer until a server counts as away. Their sum, and the time that a
#: busy process needs, is less than two seconds.
PROBE_SECONDS, ANSWER_SECONDS = 0.25, 1.25
#: libpq's least. A server that is frozen accepts connections, and says nothing.
CONNECT_SECONDS = 2
POSITION_SQL = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn,
       pg_is_in_recovery(), system_identifier, pg_postmaster_start_time()
FROM pg_control_system()
"""


@dataclass(frozen=True)
class Reading:
    """What a server said. `at`: a moment before it was asked, by the monotonic clock. `position`: bytes of WAL that it
    has written or, as a standby, replayed. `system`: the same for a primary and its standbys, and for no other server.
    `started`: when the server was started; two addresses of one server give the same.
    """

    at: float
    position: int
    is_standby: bool
    system: int
    started: datetime

    def is_same_server(self, other: "Reading") -> bool:
        return (self.system, self.started) == (other.system, other.started)


class Watch:
    """The position of one server, kept up to date by a thread. `history` has the latest readings, the newest first.

    `on_connect` is called in that thread whenever the server answers after it did not.
    """

    def __init__(self, alias: str, history_seconds: float, on_connect: Callable[[], object] = lambda: None) -> None:
        self.alias, self.on_connect = alias, on_connect
        self.history: deque[Reading] = deque(maxlen=int(history_seconds / PROBE_SECONDS) + 2)
        self.error = "it was not asked yet"
        self._connected = False

    def start(self) -> None:
        Thread(target=self._run, name=f"watch {self.alias}", daemon=True).start()

    @property
    def reading(self) -> Reading | None:
        """The latest answer, or None when the server is away."""
        return self.history[0] if self._connected and not self.is_silent else None

    @property
    def is_silent(self) -> bool:
        """Whether the server has left a question unanswered for too long."""
        return bool(self.history) and time.monotonic() - self.history[0].at > PROBE_SECONDS + ANSWER_SECONDS

    def forget(self) -> None:
        """Count the server as away until it has answered over a new connection."""
        self._connected = False

    def readings(self) -> Iterator[Reading]:
        """Iterate over the latest readings, the newest first."""
        return iter(tuple(self.history))

    def _run(self) -> None:
        while True:
            try:
                self._ask_repeatedly()
            except Exception as error:  # whatever a server or its driver does: it is away, which is all that matters
                self._connected, self.error = False, str(error).strip().partition("\n")[0]
            time.sleep(PROBE_SECONDS)

    def _ask_repeatedly(self) -> None:
        with connect(self.alias) as connection:
            self.on_connect()
            self.history.appendleft(ask_position(connection))
            self._connected = True
            while self._connected:
                time.sleep(PROBE_SECONDS)
                self.history.appendleft(ask_position(connection))


def connect(alias: str) -> psycopg.Connection:
    """Open a connection outside the pool, so that a busy pool does not look like a server that is away."""
    parameters = connections[alias].get_connection_params()
    bounds = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000}
    return psycopg.connect(**parameters | bounds, autocommit=True)


def ask_position(connection: psycopg.Connection) -> Reading:
    at = time.monotonic()
    position, *server = connection.execute(POSITION_SQL).fetchone()  # type: ignore[misc]  # one row
    return Reading(at, int(position or 0), *server)


def find_moment(position: int, primary: Watch) -> float:
    """Return a moment of the monotonic clock whose data a server has that has replayed this position.

    It has all that the primary had written when the primary was asked for the last position that the server has
    reached. So an idle primary is no lag, and no two clocks are compared. Minus infinity when it has reached none of
    those that are remembered.
    """
    reached = (reading.at for reading in primary.readings() if not reading.is_standby and reading.position <= position)
    return next(reached, float("-inf"))
