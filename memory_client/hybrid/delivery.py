"""How one waiting write reaches the server exactly once, however often it is sent.

The answer to an earlier attempt may be lost: the connection broke, or a process was killed. No attempt relies on the
server's 24 hours of idempotency alone:

create   PUT with `If-None-Match: *` under a key that only this write has: 412 says that it arrived before. Before a
         second attempt the history is read: a memory that arrived and was deleted meanwhile stays deleted. Its
         Idempotency-Key keeps an earlier attempt that is late from bringing it back.
         Several go in one request: see `bulk`.
update   PATCH with `If-Match`: 412 says that the memory changed. Its history names the request of every change: ours
         arrived, or another's came between, and then the fields of this write replace that one's.
delete   DELETE; what is not there is deleted. Before a second attempt the history is read, so that a memory that was
         brought back meanwhile is not deleted again.
merge    POST of an entity with an Idempotency-Key; after those 24 hours the history of the entity is read first.
relate   POST, which replaces: as often as wanted.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import msgspec

from memory_client.errors import Conflict, InvalidInput, MemoryClientError, NotFound, PreconditionFailed, ProblemError
from memory_client.hybrid import outbox
from memory_client.hybrid.outbox import Entry
from memory_client.hybrid.server_memory import ServerMemory, format_time

#: Less than the 24 hours for which the server knows an Idempotency-Key, by clocks that differ by at most an hour.
IDEMPOTENT_SECONDS = 23 * 3600.0
#: A write that waited for less is as good as made now: the server's own time is taken.
PROMPT_SECONDS = 5.0
MAX_CONFLICTS_IN_A_ROW = 5
MAX_HISTORY_PAGES, PAGE_SIZE = 10, 100


class Requests(Protocol):
    """What is needed of a MemoryClient."""

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None, headers: Any = None,
                idempotency_key: str | None = None, type: Any = None) -> Any: ...  # fmt: skip


class Outcome(NamedTuple):
    """memory: as the server has it now. is_gone: the server has it no more. is_conflict: another's change came between
    this write and what it was made from."""

    memory: ServerMemory | None = None
    is_gone: bool = False
    is_conflict: bool = False


class Version(msgspec.Struct):
    request_id: str | None = None


class VersionPage(msgspec.Struct):
    results: list[Version]
    next: str | None = None


class MemoryPage(msgspec.Struct):
    results: list[ServerMemory]
    next: str | None = None


def list_fields(error: ProblemError) -> set[str]:
    return {each.field for each in error.errors}


def says_arrived(error: MemoryClientError) -> bool:
    """Return whether new memories are refused because one of them is there, or because an earlier attempt arrived. That
    had other words if the moment at which a memory was stored here was not in it yet."""
    if isinstance(error, InvalidInput):
        return list_fields(error) == {"Idempotency-Key"}
    return isinstance(error, PreconditionFailed)


class Delivery:
    """Sends one entry. `etag`: the server's version of the memory that is known here, or None."""

    def __init__(self, client: Requests, entry: Entry, etag: str | None, now: float) -> None:
        self.client, self.entry, self.etag, self.now = client, entry, etag, now
        self.path = f"/memories/{entry.memory_id}"
        self.is_repeated = entry.attempts > 0

    def send(self) -> Outcome:
        """Send it. Raises MemoryClientError: a temporary one when the server is away, others when it refuses this."""
        sends = {
            outbox.CREATE: self.send_create,
            outbox.MERGE: self.send_merge,
            outbox.UPDATE: self.send_update,
            outbox.DELETE: self.send_delete,
            outbox.RELATE: self.send_relationship,
        }
        return sends[self.entry.kind]()

    def send_create(self) -> Outcome:
        if self.is_repeated and self.has_arrived():
            return self.fetch_if_there()
        path = f"/memories/by-key/{self.entry.memory_id}"
        body = self.entry.fields
        user = body.pop("user_id", None)
        try:
            return Outcome(self.store(path, body, {"user_id": user}, {"If-None-Match": "*"}))
        except (PreconditionFailed, InvalidInput) as error:
            if not says_arrived(error):
                raise
            return self.fetch_if_there()

    def build_new_memory(self) -> dict[str, Any]:
        """Return the memory as `send_create` sends it, for a request with others."""
        return self.entry.fields | {"key": self.entry.memory_id} | self.get_moment()

    def get_moment(self) -> dict[str, str]:
        """Return the moment at which it was stored here, unless that was just now."""
        late = self.now - self.entry.written_at > PROMPT_SECONDS
        return {"created_at": format_time(self.entry.written_at)} if late else {}

    def send_merge(self) -> Outcome:
        if self.is_past_idempotency and (merged := self.find_merged()):
            return Outcome(merged)
        body = self.entry.fields
        try:
            return Outcome(self.write("POST", "/memories", body, ServerMemory))
        except Conflict:
            if "id" not in body:
                raise
        # The server knows the entity under another id, and takes ours for nothing else. The body is another one, and so
        # is its key, in every attempt.
        del body["id"]
        return Outcome(self.write("POST", "/memories", body, ServerMemory, key_suffix="-merged"))

    @property
    def is_past_idempotency(self) -> bool:
        first = self.entry.first_sent_at
        return first is not None and self.now - first > IDEMPOTENT_SECONDS

    def store(self, path: str, body: Any, params: Any, headers: Any) -> ServerMemory:
        """Send a new memory with the moment at which it was stored here, unless the server's clock is behind that."""
        if moment := self.get_moment():
            try:
                return self.write("PUT", path, body | moment, ServerMemory, params, headers)
            except InvalidInput as error:
                if list_fields(error) != {"created_at"}:
                    raise
        return self.write("PUT", path, body, ServerMemory, params, headers)

    def send_update(self) -> Outcome:
        if self.is_repeated and self.has_been_processed():
            return self.fetch_if_there()
        etag, conflicts = self.etag or self.fetch().version, 0
        while True:
            try:
                memory = self.write("PATCH", self.path, self.entry.fields, ServerMemory, None, {"If-Match": etag})
                return Outcome(memory, is_conflict=conflicts > 0)
            except PreconditionFailed:
                conflicts += 1
                if conflicts > MAX_CONFLICTS_IN_A_ROW:
                    raise
            if self.has_been_processed():
                return self.fetch_if_there()
            etag = self.fetch().version

    def send_delete(self) -> Outcome:
        if not (self.is_repeated and self.has_been_processed()):
            with suppress(NotFound):
                self.write("DELETE", self.path)
        return Outcome(is_gone=True)

    def send_relationship(self) -> Outcome:
        self.write("POST", f"{self.path}/relationships", self.entry.fields | {"to_id": self.entry.other_id})
        return Outcome()

    def write(self, method: str, path: str, body: Any = None, kind: Any = None, params: Any = None,
              headers: Any = None, key_suffix: str = "") -> Any:  # fmt: skip
        """Send under the entry's own id, which the server's history and log then have."""
        named = {"X-Request-ID": self.entry.request_key} | (headers or {})
        key = self.entry.request_key + key_suffix if method in ("POST", "PUT") else None
        return self.client.request(
            method, path, json=body, params=params, headers=named, idempotency_key=key, type=kind
        )

    def fetch(self) -> ServerMemory:
        return self.client.request("GET", self.path, type=ServerMemory)

    def fetch_if_there(self) -> Outcome:
        try:
            return Outcome(self.fetch())
        except NotFound:
            return Outcome(is_gone=True)

    def has_arrived(self) -> bool:
        """Return whether the server has, or had, a memory with this id."""
        try:
            self.client.request("GET", f"{self.path}/history", params={"limit": 1}, type=VersionPage)
        except NotFound:
            return False
        return True

    def has_been_processed(self, memory_id: str | None = None) -> bool:
        """Return whether one of the changes of a memory was made by this entry."""
        path = f"/memories/{memory_id or self.entry.memory_id}/history"
        try:
            return any(version.request_id == self.entry.request_key for version in self.iterate(path, VersionPage))
        except NotFound:
            return False

    def find_merged(self) -> ServerMemory | None:
        """Return the entity if this entry was merged into it, or made it."""
        body = self.entry.fields
        wanted = body["entity"]["system"], body["entity"]["id"]
        params = {"user_id": body.get("user_id"), "entity_system": wanted[0]}
        for memory in self.iterate("/memories", MemoryPage, params):
            if memory.entity and (memory.entity.system, memory.entity.id) == wanted:
                is_ours = memory.id == body.get("id") or self.has_been_processed(memory.id)
                return memory if is_ours else None
        return None

    def iterate(self, path: str, kind: Any, params: Any = None) -> Iterator[Any]:
        cursor = None
        for _ in range(MAX_HISTORY_PAGES):
            page = self.client.request(
                "GET", path, params=(params or {}) | {"limit": PAGE_SIZE, "cursor": cursor}, type=kind
            )
            yield from page.results
            if (cursor := page.next) is None:
                return
