"""Admission: how many requests are served at once, which is next, and which is refused before its body is read.

Requests are sorted into lanes, one for each namespace. A request takes seats in the waiting room, then a place where it
is served. Lanes take turns in proportion to the time that they have used, and none can take every seat or place.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

#: A lane may hold so many times the seats that it leaves free: alone it gets three quarters.
SEATS_PER_FREE_SEAT = 3
#: A busy lane leaves as many places free as it holds, if another lane was there in so many seconds: requests that are
#: served at once slow each other down. Alone it may have every place.
SHARING_SECONDS = 10
#: Expected waits are means: the longest real wait, after which a request is refused that was admitted.
PATIENCE = 2
#: The mean time of service before any request, and the weight of the latest one. A request counts as a few means at
#: most: the one that loads the embedding model takes seconds and says nothing about the next.
FIRST_MEAN_SECONDS, NEWEST_WEIGHT, MOST_MEANS = 0.02, 0.02, 4
MAX_RETRY_AFTER_SECONDS = 10


class Refused(Exception):
    """The request would wait too long. `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


@dataclass(eq=False, slots=True)
class Lane:
    """Requests that share one turn. `virtual_time` is the service it has had in seconds, `promised` the moment at which
    the latest refused request was asked to come back."""

    key: Hashable
    virtual_time: float
    seats: int = 0
    waiting: int = 0
    served: int = 0
    promised: float = 0.0
    queue: "deque[Visit]" = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Visit:
    """A request inside: without a place until it is `served`."""

    lane: Lane
    seats: int
    turn: Lock = field(default_factory=Lock)
    served_since: float | None = None
    charged: float = 0.0
    gone: bool = False

    @property
    def is_served(self) -> bool:
        return self.served_since is not None


@dataclass(frozen=True)
class Load:
    """Requests that are served and that wait at present, and those refused since the process started."""

    served: int
    waiting: int
    refused: int


class Admission:
    """Serves `places` requests at once and holds as many as have `seats` seats. A request is admitted if it is expected
    to wait `max_wait` seconds at most, and waits PATIENCE times as long at most. Safe to share between threads."""

    def __init__(self, places: int, seats: int, max_wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.places, self.seats, self.max_wait, self._clock = places, seats, max_wait, clock
        self._mutex = Lock()
        self._lanes: dict[Hashable, Lane] = {}
        self._served = self._seated = self._refused = 0
        self._mean_seconds, self._virtual_time = FIRST_MEAN_SECONDS, 0.0
        self._latest_key: Hashable = None
        self._shared_at = -math.inf

    @property
    def load(self) -> Load:
        with self._mutex:
            return Load(self._served, sum(lane.waiting for lane in self._lanes.values()), self._refused)

    def enter(self, key: Hashable, seats: int = 1) -> Visit:
        """Take seats. Raises Refused when none are free for this lane, or when its turn would come too late."""
        with self._mutex:
            self._note_sharing(key)
            lane = self._lanes.get(key) or Lane(key, self._virtual_time)
            wait = self._estimate_wait(lane)
            if wait > self.max_wait or not self._has_seats(lane, seats):
                raise self._refuse(lane, wait)
            self._lanes[key] = lane
            lane.seats += seats
            lane.waiting += 1
            self._seated += seats
            return Visit(lane, seats)

    def wait_for_turn(self, visit: Visit) -> None:
        """Take a place when it is this lane's turn. Raises Refused if that takes too long; the visit is over then."""
        with self._mutex:
            self._queue(visit)
        if visit.turn.acquire(timeout=PATIENCE * self.max_wait):
            return
        with self._mutex:
            if not visit.is_served:  # its turn may have come since
                self._remove(visit)
                raise self._refuse(visit.lane, self.max_wait)

    @contextmanager
    def step_aside(self, visit: Visit) -> Iterator[None]:
        """Let others have the place inside the block, and be the next of the lane to be served after it."""
        with self._mutex:
            self._end_service(visit)
            visit.lane.waiting += 1
            self._fill_places()
        try:
            yield
        finally:
            with self._mutex:
                self._queue(visit, first=True)
            visit.turn.acquire()

    def leave(self, visit: Visit) -> None:
        """Give seats and place back, once however often it is called."""
        with self._mutex:
            if not visit.gone:
                self._remove(visit)
                self._fill_places()

    def _note_sharing(self, key: Hashable) -> None:
        if self._latest_key not in (None, key):
            self._shared_at = self._clock()
        self._latest_key = key

    def _estimate_wait(self, lane: Lane) -> float:
        """Seconds until a newcomer's turn: before it, each lane is served once for each request that waits in this."""
        turns = sum(min(other.waiting, lane.waiting) for other in self._lanes.values())
        return turns * self._mean_seconds / max(1, self._served)

    def _has_seats(self, lane: Lane, seats: int) -> bool:
        free = self.seats - self._seated
        return seats <= free and lane.seats < SEATS_PER_FREE_SEAT * free

    def _refuse(self, lane: Lane, wait: float) -> Refused:
        """Spread the return of the refused over the time in which this lane's seats become free."""
        self._refused += 1
        now, seconds_per_turn = self._clock(), wait / max(1, lane.waiting)
        latest = now + MAX_RETRY_AFTER_SECONDS
        lane.promised = min(max(lane.promised, now) + seconds_per_turn, latest)
        return Refused(max(1, math.ceil(lane.promised - now)))

    def _queue(self, visit: Visit, *, first: bool = False) -> None:
        """Queue the visit in its lane. `turn` can be acquired as soon as it is served."""
        visit.turn = Lock()
        visit.turn.acquire()
        add = visit.lane.queue.appendleft if first else visit.lane.queue.append
        add(visit)
        self._fill_places()

    def _fill_places(self) -> None:
        while self._served < self.places and (lane := self._pick_lane()) is not None:
            self._serve(lane.queue.popleft())

    def _pick_lane(self) -> Lane | None:
        is_shared = self._clock() - self._shared_at < SHARING_SECONDS
        allowed = self.places - self._served if is_shared else self.places
        ready = (lane for lane in self._lanes.values() if lane.queue and lane.served < allowed)
        return min(ready, key=lambda lane: lane.virtual_time, default=None)

    def _serve(self, visit: Visit) -> None:
        lane = visit.lane
        self._virtual_time = max(self._virtual_time, lane.virtual_time)
        visit.served_since, visit.charged = self._clock(), self._mean_seconds
        lane.virtual_time += visit.charged
        lane.waiting -= 1
        lane.served += 1
        self._served += 1
        visit.turn.release()

    def _remove(self, visit: Visit) -> None:
        lane, visit.gone = visit.lane, True
        lane.seats -= visit.seats
        self._seated -= visit.seats
        if visit.is_served:
            self._end_service(visit)
        else:
            self._end_wait(visit)
        if lane.seats == 0:
            del self._lanes[lane.key]

    def _end_wait(self, visit: Visit) -> None:
        visit.lane.waiting -= 1
        if visit in visit.lane.queue:
            visit.lane.queue.remove(visit)

    def _end_service(self, visit: Visit) -> None:
        """Charge the lane what the service took, of which the mean was charged before.

        A lane is never further behind than the longest wait: one slow request may not keep it out for a minute.
        """
        lane, seconds = visit.lane, self._clock() - cast(float, visit.served_since)
        visit.served_since = None
        lane.virtual_time = min(lane.virtual_time + seconds - visit.charged, self._virtual_time + self.max_wait)
        lane.served -= 1
        self._served -= 1
        self._mean_seconds += NEWEST_WEIGHT * (min(seconds, MOST_MEANS * self._mean_seconds) - self._mean_seconds)
