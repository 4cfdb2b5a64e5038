"""The thread that brings waiting writes to the server, one after the other, and keeps the local file in bounds.

Of all processes that share a file one sends at a time: the one that holds the lock file, which the operating system
releases when a process ends, however it ends.
"""

import logging
import threading
import time
from collections.abc import Callable

from memory_client.errors import (
    ClientClosed,
    Forbidden,
    MemoryClientError,
    NotAuthenticated,
    PreconditionFailed,
    ProblemError,
    UnexpectedAnswer,
)
from memory_client.hybrid import events
from memory_client.hybrid.backoff import Backoff
from memory_client.hybrid.bulk import MAX_BATCH, BulkDelivery
from memory_client.hybrid.database import Database
from memory_client.hybrid.delivery import Delivery, Requests, says_arrived
from memory_client.hybrid.errors import ForeignFile, HybridError
from memory_client.hybrid.events import log_event
from memory_client.hybrid.filelock import FileLock
from memory_client.hybrid.ledger import Ledger
from memory_client.hybrid.origin import Origin
from memory_client.hybrid.outbox import Entry

#: How soon to look again whether another process still sends.
BUSY_DELAY = 0.25
#: A write to which the server answers an error of its own (500) so often is refused: it must not block the others.
MAX_SERVER_ERRORS = 10
REQUEST_TIMEOUT, INTERNAL_ERROR = 408, 500
#: Problems of the key, of the address, or of the moment.
SAYS_NOTHING = (NotAuthenticated, Forbidden, UnexpectedAnswer, PreconditionFailed)


class Sender:
    """`housekeep` is called every `poll_seconds`, at which it also looks for what other processes left behind."""

    def __init__(
        self,
        database: Database,
        client: Requests,
        origin: Origin,
        clock: Callable[[], float],
        poll_seconds: float,
        housekeep: Callable[[], None],
    ) -> None:
        self.client, self.origin, self.clock, self.housekeep = client, origin, clock, housekeep
        self.ledger, self.poll_seconds = Ledger(database, clock), poll_seconds
        self.lock = FileLock(database.path.with_name(database.path.name + ".lock"))
        self.prepare()

    def prepare(self) -> None:
        """Begin without a thread; in a forked process again, which has none."""
        self._wakeup, self._stopping = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self.backoff = Backoff()
        self._batch_size = MAX_BATCH
        self._next_housekeeping = 0.0

    def start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="hybrid-memory", daemon=True)
                self._thread.start()

    def wake(self, *, at_once: bool = False) -> None:
        """Say that something waits. `at_once`: also if the server was away a moment ago."""
        self.start()
        if at_once:
            self.backoff.skip_pause()
        self._wakeup.set()

    def stop(self, timeout: float) -> None:
        """Stop after the write that is being sent."""
        self._stopping.set()
        self._wakeup.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            delay = self._try_round()
            self._wakeup.wait(min(delay, self.poll_seconds))
            self._wakeup.clear()

    def _try_round(self) -> float:
        """Return the seconds until there is something to do again."""
        try:
            if time.monotonic() >= self._next_housekeeping:
                self._next_housekeeping = time.monotonic() + self.poll_seconds
                self.housekeep()
            return self.send_waiting()
        except ClientClosed:
            self._stopping.set()
        except (HybridError, OSError) as error:  # the local file is busy, full or closed
            log_event(logging.ERROR, events.SENDER_FAILED, error=type(error).__name__)
        except Exception:
            events.logger.exception(events.SENDER_FAILED)
        return self.poll_seconds

    def send_waiting(self) -> float:
        """Send what waits, in order, until nothing does or the server is away. Return the seconds until the next."""
        if (pause := self.backoff.remaining) > 0:
            return pause
        if not self.ledger.has_waiting():  # another process may have sent it
            self.backoff.end()
            return self.poll_seconds
        if not self.lock.acquire():
            return BUSY_DELAY
        try:
            self._send_all()
        except ForeignFile as error:
            return self.backoff.note_failure(error)
        except (ClientClosed, HybridError):
            raise
        except MemoryClientError as error:
            return self.backoff.note_failure(error)
        finally:
            self.lock.release()
        return self.poll_seconds

    def _send_all(self) -> None:
        """Send until nothing waits. Raises MemoryClientError when the server is away, or is not that of the file."""
        while not self._stopping.is_set():
            self.origin.check()
            entries, etag = self.ledger.begin(self._batch_size)
            if not entries:
                return
            self._send(entries, etag)
            self.backoff.end()

    def _send(self, entries: list[Entry], etag: str | None) -> None:
        """Send the writes of one request. Raises as `_send_all` does; then they wait."""
        try:
            if len(entries) > 1:
                self._send_batch(BulkDelivery(self.client, entries, self.clock()))
            else:
                self.ledger.finish([(entries[0], Delivery(self.client, entries[0], etag, self.clock()).send())])
        except (ClientClosed, HybridError):
            raise
        except MemoryClientError as error:
            self._take_failure(entries, error)
        else:
            self._batch_size = min(self._batch_size * 2, MAX_BATCH)

    def _send_batch(self, bulk: BulkDelivery) -> None:
        if not bulk.is_repeated:
            return self.ledger.finish(bulk.send())
        stored = bulk.find_stored()
        if not stored and not bulk.has_arrived():
            return self.ledger.release(bulk.entries)
        known = {entry.seq for entry, _ in stored}
        return self.ledger.finish(stored, [each for each in bulk.entries if each.seq not in known])

    def _take_failure(self, entries: list[Entry], error: MemoryClientError) -> None:
        """Keep what the server refuses, and send the others without it. Raises the error if it refuses nothing."""
        is_batch = len(entries) > 1
        if is_batch:  # one of them may be what the server refuses, or all may be too much for it
            self._batch_size = len(entries) // 2
        if is_batch and says_arrived(error):
            return  # the next attempt looks which of them is there
        if not isinstance(error, ProblemError) or not self._is_refusal(entries[0], error):
            self.origin.doubt()
            self.ledger.note_failure(entries, error)
            raise error
        if is_batch:
            self.ledger.release(entries)
        else:
            self.ledger.refuse(entries[0], error)

    def _is_refusal(self, entry: Entry, error: ProblemError) -> bool:
        """Return whether the server will never take this write as it is. A wrong key or address says nothing of it."""
        if error.is_temporary or isinstance(error, SAYS_NOTHING):
            return False
        if error.status >= INTERNAL_ERROR:
            return entry.attempts + 1 >= MAX_SERVER_ERRORS
        return error.status != REQUEST_TIMEOUT
