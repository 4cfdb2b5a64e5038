"""Bounds of the local file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the local file holds at most.

    outbox: writes that wait or were refused; beyond it a write raises OutboxFull. cached: users' memories, of which
    those of idle users go first. transient: memories of one thread, of which the oldest go first. checkpoints: of one
    workflow, likewise. views: users and threads whose words are indexed in this process. file_bytes: the file itself;
    beyond it a write raises LocalFileFull.
    """

    outbox: int = 100_000
    cached: int = 50_000
    transient: int = 5_000
    checkpoints: int = 20
    views: int = 64
    file_bytes: int = 1 << 30


DEFAULT_LIMITS = Limits()
