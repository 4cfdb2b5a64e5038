"""Restarts children until a signal comes, then stops them all in bounded time."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Self

from memory_site.embedded.data_dir import DataDirectoryError
from memory_site.embedded.processes import Child

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
MIN_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 0.5, 30.0
#: A child that lived this long has recovered: its next death is its first again.
RECOVERED_AFTER_SECONDS = 30.0
#: Seconds from the first request to stop until programs, then servers, get the escalation signal, and all are killed.
PROGRAMS_STOP_SECONDS, SERVERS_STOP_SECONDS, ALL_STOPPED_SECONDS = 5.5, 8.5, 9.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WatchedChild:
    """A child with the number of its recent deaths."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.deaths = 0
        self.launched_at = time.monotonic()
        self.launch_at: float | None = None

    def check(self) -> None:
        """Restart the child if it is dead and its delay is over."""
        now = time.monotonic()
        if self.child.running:
            self.child.rotate_log()
        elif self.launch_at is None:
            self._record_death(now)
        elif now >= self.launch_at:
            self._launch(now)

    def _launch(self, now: float) -> None:
        self.launch_at, self.launched_at = None, now
        try:
            self.child.launch()
        except (DataDirectoryError, OSError) as error:
            logger.warning("%s cannot be started: %s", self.child.name, error)

    def _record_death(self, now: float) -> None:
        lived = now - self.launched_at
        self.deaths = 1 if lived >= RECOVERED_AFTER_SECONDS else self.deaths + 1
        wait = min(MIN_RESTART_DELAY_SECONDS * 2 ** (self.deaths - 1), MAX_RESTART_DELAY_SECONDS)
        self.launch_at = now + wait
        self.child.kill()  # what it had started would occupy its port or its sockets
        logger.warning("%s ended (%s) and restarts in %.1f s", self.child.name, self.child.exit_reason, wait)
        if self.deaths > 1:
            logger.warning("The last lines of %s:\n%s", self.child.name, "\n".join(self.child.last_lines()))


class Supervisor:
    """Watches programs and the servers they use. Leaving its context, by a signal or otherwise, stops everything.

    Inside the block SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once; a further one shortens the stop.
    """

    def __init__(self) -> None:
        self.servers: list[WatchedChild] = []
        self.programs: list[WatchedChild] = []
        self._stopping_since: float | None = None
        self._requests = self._heeded = 0
        self._handlers: dict[int, Any] = {}

    def add_server(self, server: Child) -> None:
        """Watch a server that programs need until they end. The caller launches it."""
        self.servers.append(WatchedChild(server))

    def add_program(self, program: Child) -> None:
        """Launch a program and watch it. They are stopped in the order they were added."""
        program.launch()
        self.programs.append(WatchedChild(program))

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Restart what dies, with increasing delays, until a signal comes or the condition holds."""
        while not until():
            for watched in (*self.servers, *self.programs):
                watched.check()
            time.sleep(POLL_SECONDS)

    def count_deaths(self) -> int:
        """Return the highest number of recent deaths of one child."""
        return max((watched.deaths for watched in (*self.servers, *self.programs)), default=0)

    def stop(self) -> None:
        """Stop programs, then servers: stop signal, escalation signal at the deadline, all killed in ten seconds."""
        self._stopping_since = self._stopping_since or time.monotonic()
        self._heeded = min(self._requests, 1)  # the one that began this; a further one may have come already
        self._stop([watched.child for watched in self.programs], PROGRAMS_STOP_SECONDS)
        self._stop([watched.child for watched in self.servers], SERVERS_STOP_SECONDS)

    def _stop(self, children: Sequence[Child], seconds: float) -> None:
        for child in children:
            child.send_signal()
        if not self._wait_for_exit(children, seconds):
            for child in children:
                child.send_signal(child.escalation_signal)
            self._wait_for_exit(children, ALL_STOPPED_SECONDS)
        for child in children:
            child.kill()

    def _wait_for_exit(self, children: Sequence[Child], seconds: float) -> bool:
        """Wait until every child has ended, so many seconds since the first request to stop, or until a second one."""
        since = self._stopping_since or time.monotonic()
        while any(child.running for child in children):
            if time.monotonic() - since > seconds or self._requests > self._heeded:
                self._heeded = self._requests
                return False
            time.sleep(0.02)
        return True

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._requests += 1
        if self._stopping_since is not None:
            return
        self._stopping_since = time.monotonic()
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        numbers = [*STOP_SIGNALS]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: the site stays when the terminal closes
            numbers.append(signal.SIGHUP)
        self._handlers = {number: signal.signal(number, self._handle_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
