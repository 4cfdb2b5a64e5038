"""How long something takes, on a machine that may be busy."""

import time
from collections.abc import Callable
from math import inf


def measure_best(call: Callable[[], object], enough: float, runs: int = 30) -> float:
    """Return the seconds of the quickest of several runs: what the slower ones took longer, they waited for others.
    Ends with the first run that takes less than `enough` seconds."""
    best = inf
    for _ in range(runs):
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
        if best < enough:
            break
    return best
