"""Google ADK: a memory service. `pip install memory-site-client[adk]`"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from memory_client import MemoryClient
from memory_client.calls import check_unicode
from memory_client.extras import framework
from memory_client.keyed import MAX_HITS, STRONG, KeyedMemories, Memory, build_key, check_metadata
from memory_client.texts import is_uuid, make_query, make_storable

with framework("adk"):
    from google.adk.events.event import Event
    from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
    from google.adk.memory.memory_entry import MemoryEntry
    from google.adk.sessions.session import Session
    from google.genai.types import Content, Part

ADAPTER = "adk"
EVERY_STATE = ("active", "superseded", "pending", "quarantined")
#: What a caller's `custom_metadata` may set of the memories: fields of the API.
SETTABLE_FIELDS = ("memory_type", "importance", "tags", "ttl_seconds")
#: An event is given the server's time if its own may lie ahead of the server's clock, or is none that can be stored.
CLOCK_TOLERANCE, FIRST_MOMENT = timedelta(minutes=5), datetime(2000, 1, 1, tzinfo=UTC)
MAX_REMEMBERED_KEYS = 100_000
DELETED_TEXT = "A deleted event."


class MemorySiteMemoryService(BaseMemoryService):
    """Memories of ADK's users, apart by application: `app_name` is their `agent_id`, `user_id` their `user_id`.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `limit`: how many memories a search returns at most, 1–100.
    `wait`: whether adding returns only when what was added can be found by its meaning as well.

    The methods raise a memory_client.MemoryClientError. They may be called from any event loop.
    """

    def __init__(self, client: MemoryClient | None = None, *, limit: int = 10, wait: bool = True) -> None:
        if not 1 <= limit <= MAX_HITS:
            raise ValueError(f"limit: must be from 1 to {MAX_HITS}, not {limit}.")
        self.client, self.limit, self.wait = client or MemoryClient(), limit, wait
        self._known: set[tuple[str, str]] = set()

    async def add_session_to_memory(self, session: Session) -> None:
        """Store those events of the session that have text and are not stored yet."""
        await asyncio.to_thread(
            self._add_events, session.app_name, session.user_id, list(session.events), session.id, None
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store those of the events that have text and are not stored yet."""
        await asyncio.to_thread(self._add_events, app_name, user_id, events, session_id, custom_metadata)

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Store memories. One with the id of an earlier one, its own or that in the result of a search, replaces it; so
        does one without an id that has its text and author."""
        await asyncio.to_thread(self._add_entries, app_name, user_id, memories, custom_metadata)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Find what relates to the query by its words or its meaning, best first."""
        return await asyncio.to_thread(self._search, app_name, user_id, query)

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Delete a memory by the `id` that a search gave it; any other id, and one of another user or application,
        deletes nothing. The event of a session is not stored again when the session is."""
        await asyncio.to_thread(self._delete, app_name, user_id, memory_id)

    def _memories_of(self, app_name: str, user_id: str) -> KeyedMemories:
        return KeyedMemories(self.client, ADAPTER, app_name, user_id)

    def _add_events(
        self,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None,
        custom_metadata: Mapping[str, Any] | None,
    ) -> None:
        memories = self._memories_of(app_name, user_id)
        drafts = {
            memories.key("event", session_id or "", event.id): build_event(memories, event, session_id, custom_metadata)
            for event in events
            if not event.partial and read_text(event.content)
        }
        known = self._find_known(memories, drafts)
        memories.put({key: draft for key, draft in drafts.items() if key not in known}, wait=self.wait)
        self._remember_keys(user_id, drafts)

    def _find_known(self, memories: KeyedMemories, keys: Iterable[str]) -> set[str]:
        """Return the keys that are stored, or were."""
        user_id = memories.user_id or ""
        unsure = [key for key in keys if (user_id, key) not in self._known]
        return set(keys).difference(unsure) | find_stored_keys(memories, unsure)

    def _remember_keys(self, user_id: str, keys: Iterable[str]) -> None:
        if len(self._known) > MAX_REMEMBERED_KEYS:
            self._known.clear()
        self._known.update((user_id, key) for key in keys)

    def _add_entries(
        self,
        app_name: str,
        user_id: str,
        entries: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, Any] | None,
    ) -> None:
        memories = self._memories_of(app_name, user_id)
        spoken = [entry for entry in entries if read_text(entry.content)]
        names = [entry.id or hash_entry(entry) for entry in spoken]
        returned = find_keys(memories, list(filter(is_uuid, names)))
        keys = [returned.get(name) or memories.key("memory", name) for name in names]
        drafts = [build_entry(memories, entry, custom_metadata) for entry in spoken]
        memories.put(dict(zip(keys, drafts, strict=True)), wait=self.wait)

    def _search(self, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        if not (plain := make_query(query)):
            return SearchMemoryResponse()
        memories = self._memories_of(app_name, user_id)
        # This search leaves out what has nothing to do with the query: callers put all of it into a prompt.
        body = {"query": plain, "limit": self.limit, "filters": memories.filters(user_id=user_id)}
        hits = self.client.request("POST", "/search", json=body, headers=STRONG)["results"]
        return SearchMemoryResponse(memories=[to_entry(hit["memory"]) for hit in hits])

    def _delete(self, app_name: str, user_id: str, memory_id: str | None) -> None:
        memories = self._memories_of(app_name, user_id)
        if not is_uuid(memory_id):
            return
        filters = memories.filters(ids=[memory_id], user_id=user_id, states=EVERY_STATE)
        for memory in memories.iterate(filters):
            if "event" in memories.get_mark(memory):
                hide_deleted(memories, memory)
            else:
                memories.delete(filters)


def find_stored_keys(memories: KeyedMemories, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a memory of the user has, in whatever state."""
    filters = {"user_id": memories.user_id, "states": EVERY_STATE}
    return {memory["key"] for memory in memories.iterate_named("keys", keys, filters)}


def find_keys(memories: KeyedMemories, ids: Sequence[str]) -> dict[str, str]:
    """Return the keys of the memories with these ids, which searches return, by id."""
    filters = memories.filters(user_id=memories.user_id)
    return {memory["id"]: memory["key"] for memory in memories.iterate_named("ids", ids, filters)}


def hide_deleted(memories: KeyedMemories, memory: Memory) -> None:
    """Replace an event by nothing but its key, and hide that from every search and list: so the event is not stored
    again with its session. What replaces it is one memory for all deleted events of the user."""
    hiding = build_key("adk-deleted", memories.collection)
    common = {"memory_type": "temporary_state", "importance": 1, "agent_id": memories.collection}
    emptied = common | {"content": DELETED_TEXT, "source_system": "adk-deleted"}
    text = "Events that were deleted from the memory of an application of Google ADK."
    memories.put({memory["key"]: emptied, hiding: emptied | {"content": text, "replaces": [memory["id"]]}}, wait=False)


def read_text(content: Content | None) -> str:
    """Return the text of a content without its thoughts, "" if there is none."""
    return make_storable("\n".join(read_parts(content)))


def read_parts(content: Content | None) -> list[str]:
    parts = (content and content.parts) or []
    return [text for part in parts if part.text and not part.thought and (text := make_storable(part.text))]


def build_event(
    memories: KeyedMemories, event: Event, session_id: str | None, custom_metadata: Mapping[str, Any] | None
) -> Memory:
    moment = read_time(event.timestamp)
    mark = {"event": event.id, "session": session_id, "timestamp": moment and moment.isoformat()}
    draft = build_draft(memories, event.content, event.author, mark, {}, custom_metadata)
    if session_id:
        draft["session_id"] = session_id
    if moment and FIRST_MOMENT <= moment <= datetime.now(UTC) - CLOCK_TOLERANCE:
        draft["created_at"] = moment.isoformat()
    return {"memory_type": "conversation"} | draft


def read_time(timestamp: float) -> datetime | None:
    """Return the time, or None if no calendar has it."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def build_entry(memories: KeyedMemories, entry: MemoryEntry, custom_metadata: Mapping[str, Any] | None) -> Memory:
    mark = {"timestamp": entry.timestamp}
    draft = build_draft(memories, entry.content, entry.author, mark, entry.custom_metadata, custom_metadata)
    return {"memory_type": "user_preference"} | draft


def build_draft(
    memories: KeyedMemories,
    content: Content | None,
    author: str | None,
    mark: Mapping[str, Any],
    own_metadata: Mapping[str, Any],
    custom_metadata: Mapping[str, Any] | None,
) -> Memory:
    """Return the memory's fields. More than one part of text is kept in the mark. Raises ValueError, which names the
    field, for metadata that are no JSON."""
    given, parts = custom_metadata or {}, read_parts(content)
    check_metadata(own_metadata, ADAPTER, "memories.custom_metadata")
    check_metadata(given, ADAPTER, "custom_metadata")
    role = content.role if content else None
    mark = {**mark, "author": author, "role": role, **({"parts": parts} if len(parts) > 1 else {})}
    return {
        "content": read_text(content),
        "agent_id": memories.collection,
        "metadata": memories.metadata(mark, {**own_metadata, **given}),
        **{field: given[field] for field in SETTABLE_FIELDS if field in given},
    }


def to_entry(memory: Memory) -> MemoryEntry:
    metadata = dict(memory["metadata"])
    mark = metadata.pop(ADAPTER)
    if mark.get("session"):
        metadata.setdefault("session_id", mark["session"])
    parts = mark.get("parts", [])
    # A content that was changed by others has no parts any more.
    texts = parts if "\n".join(parts).startswith(memory["content"]) else [memory["content"]]
    return MemoryEntry(
        id=memory["id"],
        content=Content(role=mark["role"], parts=[Part(text=text) for text in texts]),
        author=mark["author"],
        timestamp=mark["timestamp"],
        custom_metadata=metadata,
    )


def hash_entry(entry: MemoryEntry) -> str:
    author = check_unicode(str(entry.author), "author")
    return sha256(f"{author}\0{read_text(entry.content)}".encode()).hexdigest()
