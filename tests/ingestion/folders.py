"""Helpers that create folders and git checkouts from dictionaries."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Only the checkout's own configuration, so that the tests do not depend on the user's.
GIT_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def write_files(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def run_git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    subprocess.run(
        ["git", *identity, *arguments], cwd=root, env=os.environ | GIT_ENVIRONMENT, check=True, capture_output=True
    )


def create_checkout(root: Path, files: dict[str, str | bytes]) -> Path:
    """Create a checkout in which all files that are not ignored are committed."""
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
from ingestion.file_discovery import find_files
print(*[file.path for file in find_files(Path(sys.argv[1]))])
"""


def run_unprivileged(code: str, root: Path) -> str:
    """Return the output of the code in a process that file permissions bind, even as root."""
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if prefix and not shutil.which("setpriv"):
        pytest.skip("root reads everything, and there is no setpriv")
    argv = [*prefix, sys.executable, "-c", code, str(root)]
    return subprocess.run(argv, cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=120).stdout


@contextmanager
def unlistable(*folders: Path, mode: int = 0) -> Iterator[None]:
    """Remove the read permission of the folders inside the block. With the mode 0o100 they can still be entered."""
    for folder in folders:
        folder.chmod(mode)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o700)
