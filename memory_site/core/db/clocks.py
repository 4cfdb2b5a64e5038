"""The clock of this process beside the database's."""

import time

from django.db import connection


def measure_clock_offset() -> float:
    """Return the seconds by which this process's clock is ahead of the database's, 0 if the round trip explains it."""
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        [theirs] = cursor.fetchone()
    return bound_offset(before - theirs, time.time() - theirs)


def bound_offset(least: float, most: float) -> float:
    """Return what is closest to zero between the bounds: a slow answer is no wrong clock."""
    return max(least, min(most, 0.0))
