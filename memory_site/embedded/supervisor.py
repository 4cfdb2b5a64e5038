"""Keeps children running until it is told to stop, then stops them all in bounded time."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Self

from memory_site.embedded.data_dir import DataDirectoryError
from memory_site.embedded.processes import Child

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
MIN_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 0.5, 30.0
#: A child that lived this long has recovered: its next death is its first again.
RECOVERED_AFTER_SECONDS = 30.0
#: Seconds, from the first request to stop, until programs and then servers are hurried, and until nothing is left.
PROGRAMS_STOP_SECONDS, SERVERS_STOP_SECONDS, ALL_STOPPED_SECONDS = 5.5, 8.5, 9.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class WatchedChild:
    """A child and how often it died lately."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.deaths = 0
        self.launched_at = time.monotonic()
        self.launch_at: float | None = None

    def check(self) -> None:
        """Start the child again when it is dead and its wait is over."""
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
        self.child.end()  # what it had started would hold its port or its sockets
        logger.warning("%s ended (%s) and is started again in %.1f s", self.child.name, self.child.exit_reason, wait)
        if self.deaths > 1:
            logger.warning("The last lines of %s:\n%s", self.child.name, "\n".join(self.child.last_lines()))


class Supervisor:
    """Watches programs and the servers they use. A context: leaving it, by a signal or otherwise, stops everything.

    Inside the block SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt once; while it is left they hurry.
    """

    def __init__(self) -> None:
        self.servers: list[WatchedChild] = []
        self.programs: list[WatchedChild] = []
        self._stopping_since: float | None = None
        self._requests = 0
        self._handlers: dict[int, object] = {}

    def add_server(self, server: Child) -> None:
        """Watch a server that programs need until their last moment. The caller launches it."""
        self.servers.append(WatchedChild(server))

    def add_program(self, program: Child) -> None:
        """Launch a program and watch it. They are stopped in the order they were added."""
        program.launch()
        self.programs.append(WatchedChild(program))

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Restart what dies, with growing pauses, until a signal comes or the condition holds."""
        while not until():
            for watched in (*self.servers, *self.programs):
                watched.check()
            time.sleep(POLL_SECONDS)

    def deaths(self) -> int:
        """The most often that any one child died lately."""
        return max((watched.deaths for watched in (*self.servers, *self.programs)), default=0)

    def stop(self) -> None:
        """Stop programs, then servers: asked first, hurried at their deadline, all ended within ten seconds."""
        self._stopping_since = self._stopping_since or time.monotonic()
        self._stop([watched.child for watched in self.programs], PROGRAMS_STOP_SECONDS)
        self._stop([watched.child for watched in self.servers], SERVERS_STOP_SECONDS)

    def _stop(self, children: Sequence[Child], seconds: float) -> None:
        for child in children:
            child.ask()
        if not self._wait_for_exit(children, seconds):
            for child in children:
                child.ask(child.escalation_signal)
            self._wait_for_exit(children, ALL_STOPPED_SECONDS)
        for child in children:
            child.end()

    def _wait_for_exit(self, children: Sequence[Child], seconds: float) -> bool:
        """Wait until every child has ended, or so many seconds after the first request to stop, or a second one."""
        requests = self._requests
        while any(child.running for child in children):
            if time.monotonic() - self._stopping_since > seconds or self._requests > requests:
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
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks to stay when the terminal goes
            numbers.append(signal.SIGHUP)
        self._handlers = {number: signal.signal(number, self._handle_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
