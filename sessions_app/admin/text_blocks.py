"""Blocks of text for the template `conversation/exchange.html`: role, text and time."""

from typing import Any

from memory_site.core.admin.folding import build_preview, is_long


def build_text_block(role: str, text: str | None, at: str, **extra: Any) -> dict[str, Any]:
    """Return one block for the template. Without a text only the role and the time are shown."""
    preview = build_preview(text) if text is not None and is_long(text) else None
    return {"role": role, "text": text, "beginning": preview, "at": at, **extra}
