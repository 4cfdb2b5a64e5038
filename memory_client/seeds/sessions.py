"""Session memory: the last questions and answers of a session, which expire.

As documented, every method catches what goes wrong, logs it without its content, and returns a safe value: memory that
is away never breaks an answer.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from memory_client.client import AsyncMemoryClient
from memory_client.errors import MemoryClientError
from memory_client.models import Session
from memory_client.seeds.base import OverClient

log = logging.getLogger(__name__)
Result = TypeVar("Result")
DEFAULT_TTL_HOURS = 24.0
MAX_INTERACTIONS = 1_000


class MemoryManagerPostgres(OverClient):
    """`default_ttl_hours`: how long an interaction of a session lives that this object adds to."""

    def __init__(self, client: AsyncMemoryClient | None = None, default_ttl_hours: float = DEFAULT_TTL_HOURS) -> None:
        super().__init__(client)
        self.default_ttl_hours = default_ttl_hours

    async def add_to_memory(
        self, session_id: str, query: str, answer: str, timestamp: datetime | str | None = None
    ) -> bool:
        """Add one interaction; by default it happens now. Return whether it is stored."""
        try:
            await self.client.sessions.add_interaction(
                session_id, query, answer, ttl_hours=self.default_ttl_hours, timestamp=timestamp
            )
        except MemoryClientError as error:
            return report("add_to_memory", error, False)
        return True

    async def get_context(self, session_id: str, limit: int = 5) -> list[dict[str, str]]:
        """Return the newest interactions that have not expired, newest first: query, answer, timestamp."""
        if limit < 1:
            return []
        try:
            context = await self.client.sessions.context(session_id, limit=min(limit, MAX_INTERACTIONS))
        except MemoryClientError as error:
            return report("get_context", error, [])
        return [
            {"query": each.query, "answer": each.answer, "timestamp": each.timestamp.isoformat()}
            for each in context.interactions
        ]

    async def clear_memory(self, session_id: str) -> bool:
        """Delete the session. Return whether there was one."""
        try:
            return (await self.client.sessions.clear(session_id)).cleared
        except MemoryClientError as error:
            return report("clear_memory", error, False)

    async def get_session_stats(self, session_id: str) -> dict[str, Any]:
        """Return session_id, exists, history_length and last_updated; `error` as well if the site cannot say."""
        try:
            return describe_session(await self.client.sessions.get(session_id))
        except MemoryClientError as error:
            nothing = {"session_id": session_id, "exists": False, "history_length": 0, "last_updated": None}
            return report("get_session_stats", error, nothing | {"error": str(error)})

    async def cleanup_expired_sessions(self, max_age_hours: float | None = None) -> int:
        """Delete sessions to which nothing was added for so long; by default for `default_ttl_hours`."""
        age = self.default_ttl_hours if max_age_hours is None else max_age_hours
        try:
            return (await self.client.sessions.clean_up(max_age_hours=age)).deleted
        except MemoryClientError as error:
            return report("cleanup_expired_sessions", error, 0)

    async def get_all_sessions(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return session_id, updated_at and history_length of sessions, the last one added to first."""
        try:
            found = [each async for each in self.client.sessions.list(limit=limit)]
        except MemoryClientError as error:
            return report("get_all_sessions", error, [])
        return [
            {
                "session_id": each.session_id,
                "updated_at": format_time(each.last_updated),
                "history_length": each.history_length,
            }
            for each in found
        ]

    async def health_check(self) -> dict[str, Any]:
        """Return status, total_sessions, recent_sessions (of the last hour) and timestamp; `error` when unhealthy."""
        now = datetime.now(UTC)
        try:
            found = [each async for each in self.client.sessions.list()]
        except MemoryClientError as error:
            return {"status": "unhealthy", "error": str(error), "timestamp": now.isoformat()}
        recent = [each for each in found if each.last_updated and each.last_updated > now - timedelta(hours=1)]
        totals = {"total_sessions": len(found), "recent_sessions": len(recent)}
        return {"status": "healthy", **totals, "timestamp": now.isoformat()}


def describe_session(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "exists": session.exists,
        "history_length": session.history_length,
        "last_updated": format_time(session.last_updated),
    }


def format_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def report(operation: str, error: MemoryClientError, result: Result) -> Result:
    log.warning("%s failed: %s", operation, type(error).__name__)
    return result
