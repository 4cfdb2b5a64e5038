"""Folders to read: made from a dictionary, and turned into checkouts."""

import os
import subprocess
from pathlib import Path

#: No configuration but the checkout's own, so that the tests do not depend on who runs them.
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def fill(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *words], cwd=root, env=os.environ | GIT, check=True, capture_output=True)


def checkout(root: Path, files: dict[str, str | bytes]) -> Path:
    """With all files committed that are not ignored."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet")
    fill(root, files)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "first")
    return root
