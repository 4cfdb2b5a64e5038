"""The event loops on which the SDK runs: one for each request at a time, each on the thread of its request."""

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager


class EventLoops:
    """Lends event loops, and keeps them: a loop has the servers that were started on it."""

    def __init__(self) -> None:
        #: By process: a fork shares its parent's loops, and would wake them.
        self._idle: dict[int, deque[asyncio.AbstractEventLoop]] = defaultdict(deque)

    @contextmanager
    def lend(self) -> Iterator[asyncio.AbstractEventLoop]:
        """Lend a loop that does not run. One that saw an exception is closed, since it may hold what was left of it."""
        idle = self._idle[os.getpid()]
        try:
            loop = idle.pop()
        except IndexError:
            loop = asyncio.new_event_loop()
        try:
            yield loop
        except BaseException:
            loop.close()
            raise
        idle.append(loop)


event_loops = EventLoops()
