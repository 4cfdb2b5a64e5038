"""When a call is made again."""

import random
from dataclasses import dataclass, field
from time import monotonic, sleep

from memory_client.errors import MemoryClientError

FIRST_DELAY, MAX_DELAY = 0.2, 8.0
#: Of a writer whose condition failed because another one was faster.
FIRST_PAUSE, MAX_PAUSE = 0.01, 0.2


def pause(attempt: int) -> None:
    """Sleep a random part of 0.01, 0.02, 0.04 … seconds, at most 0.2, before a write that met another one is tried
    again. `attempt`: from 0."""
    sleep(random.uniform(0, min(MAX_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 10))))  # noqa: S311  # no secret


@dataclass(slots=True)
class Attempts:
    """The attempts of one call: at most `retries` after the first one, and none that begins after `seconds`.

    Exponential backoff with full jitter: a random part of 0.2, 0.4, 0.8 … seconds, at most 8, so that many clients do
    not come back at the same moment. A server's Retry-After is the least that is waited.
    """

    retries: int
    seconds: float
    is_repeatable: bool
    made: int = 0
    #: An earlier attempt may have done what was asked.
    is_uncertain: bool = False
    ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends_at = monotonic() + self.seconds

    @property
    def remaining(self) -> float:
        """Seconds, at least a hundredth: timeouts of 0 mean none to some libraries."""
        return max(0.01, self.ends_at - monotonic())

    def find_delay(self, error: MemoryClientError) -> float | None:
        """Return the seconds to wait before the next attempt, or None if this error is the result of the call."""
        self.made += 1
        self.is_uncertain |= error.may_have_happened
        error.may_have_happened = self.is_uncertain  # by this attempt or by an earlier one
        if not error.is_temporary or self.made > self.retries:
            return None
        if error.may_have_happened and not self.is_repeatable:
            return None
        delay = max(self.draw_delay(), getattr(error, "retry_after", None) or 0.0)
        return delay if monotonic() + delay < self.ends_at else None

    def draw_delay(self) -> float:
        return random.uniform(0, min(MAX_DELAY, FIRST_DELAY * 2 ** (self.made - 1)))  # noqa: S311  # no secret
