"""Identifiers made by the application, so that an insert need not read its key back."""

import secrets
import time
import uuid


def make_random_id() -> int:
    """Return 53 random bits. No two databases make the same, and JavaScript reads such a number of JSON exactly."""
    return secrets.randbits(53)


def uuid7() -> uuid.UUID:
    """Return a version 7 UUID (RFC 9562, method 3): milliseconds, their fraction in 12 bits, 62 random bits.

    It sorts by creation time, so that new rows are adjacent in the index.
    """
    milliseconds, fraction = divmod(time.time_ns(), 1_000_000)
    high = (milliseconds & (1 << 48) - 1) << 16 | 0x7000 | fraction * 4096 // 1_000_000
    low = 1 << 63 | secrets.randbits(62)
    return uuid.UUID(int=high << 64 | low)
