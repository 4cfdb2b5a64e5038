"""The console's sessions in the database, with user, address and browser. The table holds no key, only its digest.

A reader of the table, a backup or a list of sessions cannot continue one of them.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from memory_site.operations.access.models import MAX_AGENT_LENGTH, ConsoleSession

#: Where a login leaves what its session's row shows: Unix time, address and agent.
STARTED, ADDRESS, AGENT = "_started", "_address", "_agent"


def hash_key(session_key: str | None) -> str:
    """Return what stands in the table for a key: 160 bits of its SHA-256. No key has that of none."""
    return hashlib.sha256((session_key or "").encode()).hexdigest()[:40]


class SessionStore(DatabaseStore):
    """Django's store of sessions, by digest."""

    #: When the session was last noted as seen; None for one that is not stored yet.
    seen_at: datetime | None = None

    @classmethod
    def get_model_class(cls) -> type[ConsoleSession]:
        return ConsoleSession

    def _get_session_from_db(self) -> ConsoleSession | None:
        key = self.session_key and hash_key(self.session_key)
        row = ConsoleSession.objects.filter(session_key=key, expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
            return None
        self.seen_at = row.seen_at
        return row

    def exists(self, session_key: str) -> bool:
        return super().exists(hash_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> ConsoleSession:
        now = timezone.now()
        started = data.get(STARTED)
        return ConsoleSession(
            session_key=hash_key(self._get_or_create_session_key()),  # type: ignore[attr-defined]
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(SESSION_KEY),
            address=data.get(ADDRESS),
            agent=data.get(AGENT, "")[:MAX_AGENT_LENGTH],
            created_at=datetime.fromtimestamp(started, UTC) if started else now,
            seen_at=now,
        )

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        if key is not None:
            ConsoleSession.objects.filter(session_key=hash_key(key)).delete()
