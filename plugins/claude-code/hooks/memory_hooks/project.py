"""The project that a folder belongs to."""

from __future__ import annotations

import os
import re
from pathlib import Path


def find_project(folder: str) -> str | None:
    """Return the name of the repository around a folder: that of its remote `origin`, else of its own folder."""
    path = Path(folder)
    for root in (path, *path.parents):
        git = root / ".git"
        if os.path.exists(git):  # Path.exists raises for what may not be looked at
            return read_remote_name(git) or root.name
    return path.name or None


def read_remote_name(git: Path) -> str | None:
    try:
        if git.is_file():  # of a worktree or submodule: "gitdir: …"
            git = git.parent / git.read_text().partition(":")[2].strip()
            common = git / "commondir"
            git = git / common.read_text().strip() if common.exists() else git
        text = (git / "config").read_text(errors="replace")
    except (OSError, ValueError):
        return None
    section = re.search(r'\[remote "origin"\]([^\[]*)', text)
    address = re.search(r"^[ \t]*url[ \t]*=[ \t]*(\S+)", section[1], re.MULTILINE) if section else None
    name = re.split(r"[/:\\]", address[1].rstrip("/"))[-1] if address else ""
    return re.sub(r"\.git$", "", name) or None
