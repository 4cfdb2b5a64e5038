"""What the environment decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TOKENS, MAX_TOKENS = 1000, 2000
DEFAULT_SECONDS, MAX_SECONDS = 1.5, 5.0


class Settings(NamedTuple):
    """Everything that the environment decides."""

    url: str
    key: str
    user: str | None
    project: str | None
    recall: bool
    capture: bool
    remember: bool
    tokens: int
    seconds: float
    folder: Path


def read_settings(environment: Any) -> Settings:
    home = environment.get("MEMORY_QUEUE_DIR") or environment.get("CLAUDE_PLUGIN_DATA")
    return Settings(
        url=(environment.get("MEMORY_URL") or DEFAULT_URL).rstrip("/").removesuffix("/api/v1"),
        key=(environment.get("MEMORY_KEY") or "").strip(),
        user=environment.get("MEMORY_USER") or None,
        project=environment.get("MEMORY_PROJECT") or None,
        recall=is_on(environment.get("MEMORY_RECALL"), True),
        capture=is_on(environment.get("MEMORY_CAPTURE"), True),
        remember=is_on(environment.get("MEMORY_REMEMBER"), False),
        tokens=int(read_number(environment.get("MEMORY_RECALL_TOKENS"), DEFAULT_TOKENS, MAX_TOKENS)),
        seconds=read_number(environment.get("MEMORY_RECALL_SECONDS"), DEFAULT_SECONDS, MAX_SECONDS),
        folder=Path(home) if home else find_home() / ".claude" / "memory-site",
    )


def find_home() -> Path:
    """Return the user's folder, or a place where nothing can be written for a user who has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def is_on(text: str | None, default: bool) -> bool:
    return default if not text else text.strip().lower() not in ("0", "off", "no", "false")


def read_number(text: str | None, default: float, largest: float) -> float:
    """Return a number above zero, or the default for anything else."""
    try:
        number = float(text or default)
    except ValueError:
        return default
    return min(number, largest) if number > 0 else default
