"""Sessions of the Claude Agent SDK: `ClaudeAgentOptions(session_store=MemorySiteSessionStore())`.

Needs `pip install memory-site-client[claude-agent-sdk]`.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from anyio.to_thread import run_sync

from memory_client import models
from memory_client.calls import check_unicode
from memory_client.client import MemoryClient
from memory_client.errors import NotFound, PreconditionFailed
from memory_client.extras import framework
from memory_client.retries import pause
from memory_client.transcript import MARK, Transcript, encode

with framework("claude-agent-sdk"):
    from claude_agent_sdk import SessionStore, fold_session_summary
    from claude_agent_sdk.types import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

#: Characters of the parts of a session's id, which may have 255.
MAX_PROJECT, MAX_SESSION, MAX_SUBPATH = 80, 64, 90
#: Characters of a summary, which is kept in metadata (64 KiB).
MAX_SUMMARY = 50_000
#: Sessions whose state is remembered between additions.
MAX_STATES = 1_000
MAX_ATTEMPTS = 50


@dataclass(frozen=True)
class State:
    """What a session's conversation says of it. `summary`: the data of the SDK's summary; None without one.

    `mtime`: when the session was last added to, in milliseconds of the epoch, by the clock of the process that did.
    """

    count: int = 0
    mtime: int = 0
    summary: dict[str, Any] | None = None


class MemorySiteSessionStore(SessionStore):
    """Keeps each transcript as a conversation, entry by entry, for any number of processes.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `user_id`: whose conversations they are, so that they are
    found and erased with the user; without one, the latest open ones of any user. An entry with a `uuid` is stored
    once. Methods raise a MemoryClientError.
    """

    def __init__(self, client: MemoryClient | None = None, *, user_id: str | None = None) -> None:
        self.client, self.user_id = client or MemoryClient(), user_id
        self.states: dict[str, State] = {}

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Add entries: all or none, unless they take more than one request of 4.5 MB."""
        if entries:
            await run_sync(partial(self.add, key, entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return the entries in their order, or None for a key that has none. It takes a request per 100 entries."""
        return await run_sync(self.open(key).read) or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the sessions of a project. It takes a request per 100 sessions."""
        return await run_sync(lambda: [build_listing(*each) for each in self.iterate_sessions(project_key)])

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries of a project's sessions, but of those whose summary would be too large."""
        return await run_sync(
            lambda: [
                build_summary(session_id, state)
                for session_id, state in self.iterate_sessions(project_key)
                if state.summary is not None
            ]
        )

    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript; with a session its subagents' too, and last the session's own."""
        await run_sync(partial(self.remove, key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session."""
        return await run_sync(lambda: [get_mark(each)["subpath"] for each in self.iterate_subagents(key)])

    def open(self, key: SessionKey | SessionListSubkeysKey) -> Transcript:
        return Transcript(self.client, name_transcript(key), self.user_id)

    def add(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        transcript = self.open(key)
        values = [encode(each, find_entry_key(each)) for each in entries]
        if key.get("subpath") is not None or not self.add_with_summary(transcript, key, entries, values):
            transcript.add(values, conversation_metadata=build_metadata(key, State(mtime=read_clock())))

    def add_with_summary(self, transcript: Transcript, key: SessionKey, entries: list, values: list) -> bool:
        """Add entries and the summary that counts them in. Return False when others were always faster."""
        for attempt in range(MAX_ATTEMPTS):
            state = self.get_state(transcript)
            following = advance(state, key, entries)
            metadata = build_metadata(key, following)
            try:
                answer = transcript.add(values, conversation_metadata=metadata, expected_count=state.count)
            except PreconditionFailed:
                self.states.pop(transcript.session_id, None)
                pause(attempt)
            else:
                self.keep_state(transcript, following, answer)
                return True
        return False

    def get_state(self, transcript: Transcript) -> State:
        """Return the state after this object's last addition, which may be an old one, or ask for it."""
        if (state := self.states.get(transcript.session_id)) is not None:
            return state
        conversation = transcript.find()
        return State() if conversation is None else read_state(conversation)

    def keep_state(self, transcript: Transcript, state: State, answer: models.AddedMessages | None) -> None:
        while len(self.states) >= MAX_STATES:
            self.states.pop(next(iter(self.states)), None)
        if answer is not None:
            self.states[transcript.session_id] = replace(state, count=answer.message_count)

    def iterate_sessions(self, project_key: str) -> Iterator[tuple[str, State]]:
        for each in self.iterate_conversations(f"claude:{shorten(project_key, MAX_PROJECT)}:"):
            yield get_mark(each)["session_id"], read_state(each)

    def iterate_subagents(self, key: SessionKey | SessionListSubkeysKey) -> Iterator[models.Conversation]:
        return self.iterate_conversations(name_transcript({**key, "subpath": ""}))

    def iterate_conversations(self, prefix: str) -> Iterator[models.Conversation]:
        """Yield the open conversations of ours, one of each session."""
        seen = set()
        for each in self.client.conversations.list(session_prefix=prefix, user_id=self.user_id):
            if each.ended_at is None and each.session_id not in seen and get_mark(each):
                seen.add(each.session_id)
                yield each

    def remove(self, key: SessionKey) -> None:
        transcript = self.open(key)
        for each in [] if key.get("subpath") is not None else list(self.iterate_subagents(key)):
            with suppress(NotFound):
                self.client.conversations.delete(each.id)
        transcript.delete()
        self.states.pop(transcript.session_id, None)


def name_transcript(key: SessionKey | SessionListSubkeysKey) -> str:
    """Return the id of the transcript's session. Those of subagents have another beginning, so that the sessions of a
    project are listed without them."""
    session = f"{shorten(key['project_key'], MAX_PROJECT)}:{shorten(key['session_id'], MAX_SESSION)}"
    subpath = key.get("subpath")
    return f"claude:{session}" if subpath is None else f"claude-sub:{session}:{shorten(str(subpath), MAX_SUBPATH)}"


def shorten(text: str, length: int) -> str:
    """Return the text as a part of an id: without slashes and colons, and at most so long. What is cut off is replaced
    by a hash, behind a plus, which a text that is not cut has not. Raises InvalidInput for a lone surrogate."""
    quoted = quote(check_unicode(text, "key"), safe="")
    if len(quoted) <= length:
        return quoted
    digest = sha256(text.encode()).hexdigest()[:32]
    return f"{quoted[: length - len(digest) - 1]}+{digest}"


def find_entry_key(entry: SessionStoreEntry) -> str | None:
    """Return what tells an entry from all others of its transcript, or None when nothing does."""
    uuid = entry.get("uuid")
    return sha256(uuid.encode(errors="surrogatepass")).hexdigest() if isinstance(uuid, str) else None


def read_clock() -> int:
    return time.time_ns() // 1_000_000


def advance(state: State, key: SessionKey, entries: list[SessionStoreEntry]) -> State:
    """Return the state after these entries. A summary that is missing stays so: the SDK reads the entries then."""
    following = State(state.count, max(read_clock(), state.mtime + 1))
    if state.count and state.summary is None:
        return following
    previous = None if state.summary is None else build_summary(key["session_id"], state)
    summary = fold_session_summary(previous, key, entries)["data"]
    return replace(following, summary=summary) if len(json.dumps(summary)) <= MAX_SUMMARY else following


def build_metadata(key: SessionKey, state: State) -> dict[str, Any]:
    """Return the metadata of the conversation. The summary is a text in it, which may have any characters."""
    summary = None if state.summary is None else json.dumps(state.summary)
    return {MARK: {**key, "mtime": state.mtime, "summary": summary}}


def get_mark(conversation: models.Conversation) -> dict[str, Any]:
    return conversation.metadata.get(MARK, {})


def read_state(conversation: models.Conversation) -> State:
    mark = get_mark(conversation)
    summary = json.loads(mark["summary"]) if mark.get("summary") else None
    return State(conversation.message_count, mark.get("mtime", 0), summary)


def build_listing(session_id: str, state: State) -> SessionStoreListEntry:
    return {"session_id": session_id, "mtime": state.mtime}


def build_summary(session_id: str, state: State) -> SessionSummaryEntry:
    return {"session_id": session_id, "mtime": state.mtime, "data": state.summary or {}}
