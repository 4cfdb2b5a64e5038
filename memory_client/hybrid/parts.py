"""What all parts of a hybrid memory share."""

import threading
from collections.abc import Callable
from pathlib import Path

from memory_client import MemoryClient
from memory_client.hybrid.database import Database
from memory_client.hybrid.delivery import Requests
from memory_client.hybrid.limits import Limits
from memory_client.hybrid.origin import Origin
from memory_client.hybrid.recent import RecentViews
from memory_client.hybrid.sender import Sender


class Parts:
    """The attributes of a HybridMemory. Its methods stand in one class for each purpose.

    server: sends what the hybrid memory itself asks. loading: by user, the lock of those who load his memories.
    """

    client: MemoryClient
    server: Requests
    database: Database
    origin: Origin
    sender: Sender
    views: RecentViews
    loading: dict[str, threading.Lock]
    path: Path
    limits: Limits
    clock: Callable[[], float]
    refresh_seconds: float
    max_idle_hours: float
