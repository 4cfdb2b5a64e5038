"""Identifiers that sort by the time at which they were made."""

import secrets
from uuid import UUID


def make_uuid7(seconds: float) -> str:
    """Return a version 7 UUID (RFC 9562): milliseconds since 1970, 12 bits of their fraction, 62 random bits."""
    milliseconds, fraction = divmod(int(seconds * 1_000_000_000), 1_000_000)
    high = (milliseconds & (1 << 48) - 1) << 16 | 0x7000 | fraction * 4096 // 1_000_000
    return str(UUID(int=(high << 64) | (1 << 63) | secrets.randbits(62)))
