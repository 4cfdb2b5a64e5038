"""Counts the calls of each API key, and from where the last one came. A process stores what it counted every minute.

No request waits for the write. A process that is killed loses what it counted in its last minute.
"""

import json
import logging
import os
from multiprocessing.util import Finalize
from threading import Lock
from typing import Any

from django.db import connection
from django.utils import timezone

from memory_site.core.http.client_address import find_address
from memory_site.core.wakeup import BackgroundCall

log = logging.getLogger(__name__)
FLUSH_SECONDS = 60
#: Days with calls that a key's row keeps.
KEPT_DAYS = 30
ADD_CALLS_SQL = f"""
UPDATE sessions_app_apikey AS key SET
    last_address = coalesce(%(address)s::inet, last_address),
    calls = (
        SELECT jsonb_object_agg(day, calls) FROM (
            SELECT day, sum(calls) AS calls FROM (
                SELECT day, calls::bigint FROM jsonb_each_text(key.calls) AS stored(day, calls)
                UNION ALL SELECT day, calls::bigint FROM jsonb_each_text(%(calls)s::jsonb) AS counted(day, calls)
            ) AS both_of_them
            GROUP BY day ORDER BY day DESC LIMIT {KEPT_DAYS}
        ) AS newest
    )
WHERE id = %(key)s
"""


class KeyUsage:
    """The calls of this process since the last flush: by key the number, and the headers that say from where."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start empty, with a lock and a thread of this process."""
        self._lock = Lock()
        self._calls: dict[str, list[Any]] = {}
        self._flusher = BackgroundCall("store use of keys", self._flush_and_close, FLUSH_SECONDS)
        self._at_exit: Finalize | None = None

    def add(self, key_id: str, meta: dict[str, Any]) -> None:
        """Count a call. Return at once; never fail. The address is read from `request.META` at the flush only."""
        with self._lock:
            counted = self._calls.get(key_id)
            if counted is None:
                counted = self._calls[key_id] = [0, None, None]
                is_first = True
            else:
                is_first = False
            counted[0] += 1
            counted[1], counted[2] = meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR")
        if is_first:
            self.flush_later()

    def flush_later(self) -> None:
        if self._at_exit is None:  # unlike atexit, this also runs in the processes that a web server starts
            self._at_exit = Finalize(None, self.flush, exitpriority=1)
        self._flusher.request()

    def flush(self) -> None:
        """Store what was counted, one key after the other. Never fails: what cannot be stored is dropped."""
        with self._lock:
            taken, self._calls = self._calls, {}
        today = timezone.now().date().isoformat()
        for key_id, (calls, remote, forwarded) in sorted(taken.items()):
            values = {"key": key_id, "calls": json.dumps({today: calls}), "address": find_address(remote, forwarded)}
            try:
                with connection.cursor() as cursor:
                    cursor.execute(ADD_CALLS_SQL, values)
            except Exception as error:  # whatever the database or its driver raises: only the console would show it
                log.warning("The use of a key was not stored: %s", type(error).__name__)

    def _flush_and_close(self) -> None:
        self.flush()
        connection.close()  # gives the thread's connection back to the pool


key_usage = KeyUsage()
os.register_at_fork(after_in_child=key_usage.reset)
