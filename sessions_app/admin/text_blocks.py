"""Blocks of text for the template `conversation/exchange.html`: role, text and time."""

from typing import Any

#: A text longer than this, in characters or in lines, is folded.
MAX_UNFOLDED_LENGTH, MAX_UNFOLDED_LINES = 1_200, 16
PREVIEW_LENGTH = 500


def build_text_block(role: str, text: str | None, at: str, **extra: Any) -> dict[str, Any]:
    """Return one block for the template. Without a text only the role and the time are shown."""
    preview = build_preview(text) if text is not None and is_long(text) else None
    return {"role": role, "text": text, "beginning": preview, "at": at, **extra}


def is_long(text: str) -> bool:
    return len(text) > MAX_UNFOLDED_LENGTH or text.count("\n") >= MAX_UNFOLDED_LINES


def build_preview(text: str) -> str:
    """Return the beginning of a text, whole words only: at most PREVIEW_LENGTH characters and MAX_UNFOLDED_LINES."""
    words = (text[:PREVIEW_LENGTH].rsplit(None, 1) or [""])[0]  # nothing is left of white space
    return "\n".join(words.splitlines()[:MAX_UNFOLDED_LINES])
