"""Files that survive a crash: private, synced, and there completely or not at all."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from memory_site.embedded.data_dir import get_nobody_user

READ_BYTES = 1024 * 1024


def write_durably(path: Path, data: bytes) -> None:
    """Write a file, mode 0600, so that after a crash it is there completely or not at all."""
    draft = path.with_name(f"{path.name}.partial")
    with open_private(draft) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    give_to_owner(draft)
    publish(draft, path)


def open_private(path: Path) -> IO[bytes]:
    """Open an empty file for writing, mode 0600. What is there is emptied; a link is refused. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb")


def give_to_owner(path: Path) -> None:
    """Give what root creates in another user's folder to that user, as whom the site runs; `nobody` gets nothing."""
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid not in (0, get_nobody_user().uid):
        os.lchown(path, owner.st_uid, owner.st_gid)


def publish(draft: Path, path: Path) -> None:
    """Give a synced file its name, and sync the directory."""
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or which names a directory has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda size: None) -> str:
    """Return the SHA-256 in hex. `on_bytes` gets the size of each piece that was read. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()
