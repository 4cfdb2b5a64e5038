"""Folders to read: made from a dictionary, and turned into checkouts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: No configuration but the checkout's own, so that the tests do not depend on who runs them.
GIT_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def write_files(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def run_git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(["git", *who, *words], cwd=root, env=os.environ | GIT_ENVIRONMENT, check=True, capture_output=True)


def create_checkout(root: Path, files: dict[str, str | bytes]) -> Path:
    """With all files committed that are not ignored."""
    root.mkdir(parents=True, exist_ok=True)
    run_git(root, "init", "--quiet")
    write_files(root, files)
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--allow-empty", "--message", "first")
    return root


#: The root of this project.
PROJECT_DIR = Path(__file__).resolve().parents[2]
LIST_SCRIPT = """
import sys
from pathlib import Path
from ingestion.walk import files
print(*[file.path for file in files(Path(sys.argv[1]))])
"""


def run_unprivileged(code: str, root: Path) -> str:
    """What the code prints when it may not read past permissions, not even as root."""
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if rights and not shutil.which("setpriv"):
        pytest.skip("root reads everything, and there is no setpriv")
    argv = [*rights, sys.executable, "-c", code, str(root)]
    return subprocess.run(argv, cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=30).stdout


@contextmanager
def unlistable(*folders: Path, rights: int = 0) -> Iterator[None]:
    """They cannot be listed inside the block. With the right 0o100 they can still be entered."""
    for folder in folders:
        folder.chmod(rights)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o700)
