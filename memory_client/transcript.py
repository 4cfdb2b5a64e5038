"""Lists of JSON values kept as conversations: what the session stores of agent frameworks are made of.

A value that has one text, as a chat message has, becomes a message with that text, so that people can read the
conversation and memories can be made of it; the rest of the value is in the message's metadata. Any other value is a
message whose content is the value as JSON, in parts where it is longer than a message may be.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Literal
from uuid import uuid4

from memory_client import models
from memory_client.calls import fill_path
from memory_client.client import MemoryClient
from memory_client.errors import FieldError, NotFound, PreconditionFailed, TooLarge
from memory_client.fields import BatchMessageIn
from memory_client.retries import pause
from memory_client.texts import MAX_CONTENT_LENGTH, is_storable, is_unicode

MAX_MESSAGES, PAGE = 1000, 100
#: Bytes of the messages of one request, whose body may take 5 MiB.
MAX_REQUEST = 4_500_000
#: Of the rest of a value: the limits of metadata, with room for what is around it.
MAX_REST_BYTES, MAX_REST_LEVELS, MAX_REST_KEYS, MAX_NUMBER = 32_000, 6, 200, 2**53
#: The key of the metadata that is ours.
MARK = "memory_client"
Role = Literal["user", "assistant", "system", "tool"]
Path = tuple[str | int, ...]
ROLES = ("user", "assistant", "system", "tool")
#: Begins each part, so that no part is blank.
CONTINUED = "+"


@dataclass(frozen=True)
class Stored:
    """A value, and the first of the messages that hold it."""

    value: Any
    first_id: str


class Transcript:
    """The open conversation of a session, as a list of JSON values. It begins with the first value that is added."""

    def __init__(self, client: MemoryClient, session_id: str, user_id: str | None = None) -> None:
        self.client, self.session_id, self.user_id = client, session_id, user_id

    def find(self) -> models.Conversation | None:
        found = self.client.conversations.list(session_id=self.session_id, user_id=self.user_id, page_size=10)
        return next((each for each in found if each.ended_at is None), None)

    def read(self, limit: int | None = None) -> list[Any] | None:
        """Return the values, or the newest `limit` of them, in their order; None when there is no conversation."""
        conversation = self.find()
        if conversation is None:
            return None
        try:
            return self.read_conversation(conversation, limit)
        except NotFound:  # deleted since
            return None

    def read_conversation(self, conversation: models.Conversation, limit: int | None) -> list[Any]:
        if limit is None:
            return [each.value for each in decode(self.client.conversations.messages(conversation.id))]
        newest = self.iterate_newest(conversation, max(1, min(limit, PAGE)))
        return [each.value for each in islice(newest, limit)][::-1]

    def iterate_newest(self, conversation: models.Conversation, page_size: int) -> Iterator[Stored]:
        return decode(self.client.conversations.messages(conversation.id, order="newest", page_size=page_size))

    def add(self, values: Sequence[Sequence[BatchMessageIn]], **conditions: Any) -> models.AddedMessages | None:
        """Add encoded values: all or none, unless they need more than one request. The conditions and the metadata of
        the conversation go with the first of these. Return the answer to the last one."""
        answer = None
        for messages in divide(values):
            answer = self.client.conversations.add_session_messages(
                self.session_id, messages, user_id=self.user_id, **conditions
            )
            conditions = {}
        return answer

    def pop(self) -> Any:
        """Remove the last value and return it; None when there is none. No two calls return the same value."""
        for attempt in count():
            conversation = self.find()
            if conversation is None or (last := self.find_last(conversation)) is None:
                return None
            if self.cut(conversation, last):
                return last.value
            pause(attempt)  # another call was faster

    def find_last(self, conversation: models.Conversation) -> Stored | None:
        try:
            return next(self.iterate_newest(conversation, 10), None)
        except NotFound:  # deleted since
            return None

    def cut(self, conversation: models.Conversation, last: Stored) -> bool:
        """Delete the value and what is behind it. Return False when something was added or deleted since."""
        path = fill_path("/conversations/{conversation_id}/messages", conversation_id=conversation.id)
        condition = {"from_id": last.first_id, "expected_count": conversation.message_count}
        try:
            self.client.request("DELETE", path, params=condition)
        except (NotFound, PreconditionFailed):
            return False
        return True

    def delete(self) -> None:
        """Delete the conversation."""
        conversation = self.find()
        try:
            if conversation is not None:
                self.client.conversations.delete(conversation.id)
        except NotFound:
            return


def divide(values: Sequence[Sequence[BatchMessageIn]]) -> Iterator[list[BatchMessageIn]]:
    """Yield the messages of each request. Only a value that is larger than a request is divided itself."""
    messages: list[BatchMessageIn] = []
    size = 0
    for unit in (part for value in values for part in divide_value(value)):
        added = measure(unit)
        if messages and (size + added > MAX_REQUEST or len(messages) + len(unit) > MAX_MESSAGES):
            yield messages
            messages, size = [], 0
        messages.extend(unit)
        size += added
    if messages:
        yield messages


def divide_value(messages: Sequence[BatchMessageIn]) -> list[Sequence[BatchMessageIn]]:
    return [messages] if measure(messages) <= MAX_REQUEST else [[each] for each in messages]


def measure(messages: Sequence[BatchMessageIn]) -> int:
    return len(json.dumps(messages, ensure_ascii=False).encode())


def check_size(values: Sequence[Sequence[BatchMessageIn]], field: str) -> None:
    """Raise TooLarge, which names the value, for one that needs more than one request."""
    for number, messages in enumerate(values):
        if (size := measure(messages)) > MAX_REQUEST:
            error = FieldError(f"{field}.{number}", f"takes {size:,} bytes; at most {MAX_REQUEST:,} can be stored")
            raise TooLarge(0, "The request was not sent", errors=[error])


def encode(value: Any, key: str | None = None, *, remember: bool = False) -> list[BatchMessageIn]:
    """Return the messages that hold a value. `key`: a value with it is stored once. `remember`: a text becomes a memory
    too. Raises TypeError or ValueError for what is no JSON."""
    messages = encode_text(value, remember) or encode_json(value, key or uuid4().hex)
    if key is not None:
        for number, message in enumerate(messages):
            message["key"] = f"{key}/{number}"
    return messages


def encode_text(value: Any, remember: bool) -> list[BatchMessageIn]:
    """Return the message of a value with one text, or nothing when the value has none or the API would refuse it."""
    path = find_text(value)
    if path is None or not is_storable(text := get_at(value, path)):
        return []
    message: BatchMessageIn = {"role": find_role(value), "content": text, "remember": remember}
    if value != {"role": message["role"], "content": text}:
        rest = replace_at(value, path, "")
        if not fits_metadata(rest):
            return []
        message["metadata"] = {MARK: {"rest": rest}}
    return [message]


def find_text(value: Any) -> Path | None:
    """Return where the text of a message is: it, or the text of its only part, is the `content` of the value or of the
    value's `message`."""
    if not isinstance(value, dict):
        return None
    path: Path = ("message", "content") if isinstance(value.get("message"), dict) else ("content",)
    content = get_at(value, path)
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        path, content = (*path, 0, "text"), content[0].get("text")
    return path if isinstance(content, str) else None


def get_at(value: Any, path: Path) -> Any:
    """Return the value at a path, whose last step may be missing."""
    *steps, last = path
    for step in steps:
        value = value[step]
    return value.get(last)


def replace_at(value: Any, path: Path, text: str) -> Any:
    """Return a copy with this text at the path."""
    if not path:
        return text
    copy = value.copy()
    copy[path[0]] = replace_at(value[path[0]], path[1:], text)
    return copy


def find_role(value: Any) -> Role:
    """Return the role that people see; the value keeps its own."""
    fields = value if isinstance(value, dict) else {}
    message = fields.get("message")
    role = (message if isinstance(message, dict) else fields).get("role")
    if role in ROLES:
        return role
    if role == "developer":
        return "system"
    return "tool" if str(fields.get("type")).endswith("_output") else "assistant"


def fits_metadata(rest: Any) -> bool:
    """Return whether the API takes it as metadata and gives it back as it was."""
    text = json.dumps(rest, ensure_ascii=False)
    return len(text) * 4 <= MAX_REST_BYTES and "\\u0000" not in text and is_unicode(text) and is_modest(rest)


def is_modest(rest: Any) -> bool:
    keys, waiting = 0, [(rest, 1)]
    while waiting:
        value, level = waiting.pop()
        children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        keys += len(children) if isinstance(value, dict) else 0
        too_large = isinstance(value, int | float) and not abs(value) < MAX_NUMBER
        if too_large or keys > MAX_REST_KEYS or (children and level > MAX_REST_LEVELS):
            return False
        waiting.extend((child, level + 1) for child in children)
    return True


def encode_json(value: Any, name: str) -> list[BatchMessageIn]:
    """`name`: of the value, if it has parts: the same for a value that is sent again."""
    text = json.dumps(value, ensure_ascii=False)
    if not is_unicode(text):
        text = json.dumps(value)
    if len(text) <= MAX_CONTENT_LENGTH:
        return [{"role": find_role(value), "content": text, "metadata": {MARK: {"json": True}}}]
    return list(encode_parts(text, find_role(value), name))


def encode_parts(text: str, role: Role, name: str) -> Iterator[BatchMessageIn]:
    size = MAX_CONTENT_LENGTH - len(CONTINUED)
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    for number, part in enumerate(parts):
        mark: dict[str, Any] = {"value": name, "part": number, "parts": len(parts)}
        yield {"role": role, "content": CONTINUED + part, "metadata": {MARK: mark}}


def decode(messages: Iterable[models.Message]) -> Iterator[Stored]:
    """Yield the values that messages, in either order, hold. Messages of others are chat messages; values without some
    of their parts, and what is no JSON any more, are left out."""
    parts: dict[str, dict[int, models.Message]] = {}
    for message in messages:
        mark = message.metadata.get(MARK, {})
        if "rest" in mark:
            path = find_text(mark["rest"]) or ()
            yield Stored(replace_at(mark["rest"], path, message.content), str(message.id))
        elif "parts" in mark:
            found = parts.setdefault(mark["value"], {})
            found[mark["part"]] = message
            if len(found) == mark["parts"]:
                yield from decode_json([found[number] for number in sorted(found)], len(CONTINUED))
        elif "json" in mark:
            yield from decode_json([message], 0)
        else:
            yield Stored({"role": message.role, "content": message.content}, str(message.id))


def decode_json(messages: list[models.Message], prefix: int) -> Iterator[Stored]:
    with suppress(ValueError):
        yield Stored(json.loads("".join(each.content[prefix:] for each in messages)), str(messages[0].id))
