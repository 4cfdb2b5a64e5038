"""What was said, from the transcript of a session."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

MAX_TRANSCRIPT_BYTES, CHUNK_BYTES = 64 * 1024 * 1024, 256 * 1024
MAX_RECENT_BYTES = 1024 * 1024
#: Among which that of a turn is looked for. A session has one turn at a time, and prompts that wait for it.
MAX_PROMPTS = 100
COMPACTED = b'"isCompactSummary":true'
COMMAND = re.compile(r"<command-name>([^<]*)</command-name>")
ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
#: What Claude Code writes into a user's message that no user has typed.
NOT_TYPED = ("<local-command", "<bash-", "[Request interrupted", "Caveat: The messages below")

Entry = dict[str, Any]


class Turn(NamedTuple):
    """The user's last prompt and the last text with which Claude answered."""

    prompt: str
    answer: str


def read_turn(path: str, prompt_id: str | None, answer: str) -> Turn | None:
    """Return the last turn of a transcript, or None if it has none. An answer that is known already is kept.

    The file is read from its end, because long sessions have hundreds of megabytes.
    """
    prompts = []
    for entry in iter_entries_backwards(path):
        if entry.get("isSidechain") or entry.get("isMeta") or entry.get("isCompactSummary"):
            continue
        text = read_text(entry)
        if entry.get("type") == "assistant":
            answer = answer or text
        elif entry.get("type") == "user" and text:
            prompts.append(Turn(text, answer))
            if prompt_id in (None, entry.get("promptId", prompt_id)):
                return prompts[-1]
            if len(prompts) == MAX_PROMPTS:
                break
    return prompts[0] if prompts else None


def read_text(entry: Entry) -> str:
    """Return what a message says, without tool calls, their results and thoughts; empty for what no user has typed."""
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):
        blocks = [block for block in content if isinstance(block, dict)]
        if any(block.get("type") == "tool_result" for block in blocks):
            return ""
        text = "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    else:
        return ""
    command = COMMAND.search(text)
    if command:
        arguments = ARGUMENTS.search(text)
        return f"{command[1]} {arguments[1] if arguments else ''}".strip()
    return "" if text.lstrip().startswith(NOT_TYPED) else text.strip()


def iter_entries_backwards(path: str) -> Iterator[Entry]:
    """Return the messages of a transcript, the last one first. A line that is only half written is left out."""
    for line in iter_lines_backwards(path):
        if b'"user"' not in line and b'"assistant"' not in line:
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def iter_lines_backwards(path: str) -> Iterator[bytes]:
    with open_regular(path) as file:
        position = file.seek(0, os.SEEK_END)
        oldest = max(0, position - MAX_TRANSCRIPT_BYTES)
        parts: list[bytes] = []
        while position > oldest:
            size = min(CHUNK_BYTES, position - oldest)
            position -= size
            file.seek(position)
            head, *lines = file.read(size).split(b"\n")
            for line in reversed(lines):
                yield line + b"".join(reversed(parts))
                parts = []
            parts.append(head)
        if position == 0:
            yield b"".join(reversed(parts))


def read_recent_text(path: str | None) -> str:
    """Return the end of the transcript since it was compacted: what Claude still knows."""
    try:
        with open_regular(str(path or "")) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_RECENT_BYTES))
            data = file.read(MAX_RECENT_BYTES)
    except (OSError, ValueError):
        return ""
    compacted = data.rfind(COMPACTED)
    return data[data.find(b"\n", compacted) if compacted >= 0 else 0 :].decode("utf-8", "replace")


def open_regular(path: str) -> BinaryIO:
    """Open a file. Raise OSError for a pipe or a device, where reading could wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")
