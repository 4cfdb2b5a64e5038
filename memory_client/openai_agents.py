"""Sessions of the OpenAI Agents SDK: `Runner.run(agent, text, session=MemorySiteSession("ada-monday"))`.

Needs `pip install memory-site-client[openai-agents]`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from memory_client.client import MemoryClient
from memory_client.extras import framework
from memory_client.transcript import Transcript, check_size, encode

with framework("openai-agents"):
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings

Result = TypeVar("Result")


class MemorySiteSession:
    """A session, kept as the open conversation of `session_id` for as long as it is not deleted.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `user_id`: whose conversation it is, so that it is found and
    erased with the user; without one, the latest open one of any user. `remember`: texts of more than 50 characters
    become memories too, which searches find.

    Any number of processes may use a session at once. Its methods raise a MemoryClientError when the site is away, and
    `TooLarge` for an item of more than 4.5 MB, which it names.
    """

    session_settings: SessionSettings | None = None

    def __init__(
        self,
        session_id: str,
        client: MemoryClient | None = None,
        *,
        user_id: str | None = None,
        remember: bool = False,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self.session_id = session_id
        self.remember = remember
        self.session_settings = build_settings(session_settings)
        self.transcript = Transcript(client or MemoryClient(), session_id, user_id)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the newest `limit` items, or all, oldest first. Without a limit, that of the settings holds."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        wanted = None if limit is not None and limit < 0 else limit
        return await run(lambda: self.transcript.read(wanted)) or []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items: all or none and in this order, unless they take more than one request of 4.5 MB."""
        messages = [encode(item, remember=self.remember) for item in items]
        check_size(messages, "items")
        await run(lambda: self.transcript.add(messages))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the newest item; None when there is none. No two calls return the same item."""
        return await run(self.transcript.pop)

    async def clear_session(self) -> None:
        """Delete all items."""
        await run(self.transcript.delete)


def build_settings(settings: SessionSettings | Mapping[str, Any] | None) -> SessionSettings:
    """Raise TypeError for a setting that there is not."""
    if isinstance(settings, SessionSettings):
        return settings
    given = settings or {}
    if unknown := given.keys() - {each.name for each in fields(SessionSettings)}:
        raise TypeError(f"session_settings has no {', '.join(sorted(unknown))}")
    return SessionSettings(**given)


async def run(call: Callable[[], Result]) -> Result:
    """Return what the call returns. It runs in a thread, so that a session may be used from any event loop.

    A cancelled task waits for the call: what it did is known before the next one begins.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()  # so that it is not reported as unseen
        raise cancelled
    return work.result()
