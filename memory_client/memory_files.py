"""Files whose contents are memories: the key of a memory is the path of its file, its content is the file's text.

A directory is there while a file is below it. Of changes of a file that meet, none is lost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memory_client import models
from memory_client.client import MemoryClient
from memory_client.errors import Conflict, NotFound, PreconditionFailed
from memory_client.retries import pause
from memory_client.texts import has_visible
from memory_client.transcript import MARK

MAX_ATTEMPTS = 50
MAX_DELETED = 1_000
#: The content of a file without a visible character, whose text is in the memory's metadata.
BLANK = "(an empty file)"


@dataclass(frozen=True)
class File:
    """`path`: below the root, without a slash at its beginning."""

    path: str
    text: str
    memory: models.Memory


class MemoryFiles:
    """The files below `root` of one user, or without a user those that no user has. Paths are relative to the root, and
    empty for it.

    Methods raise FileNotFoundError, FileExistsError, IsADirectoryError and NotADirectoryError, each with the path, and
    a MemoryClientError.
    """

    def __init__(self, client: MemoryClient, root: str, user_id: str | None) -> None:
        if not root or "/" in root:  # one root inside another would show its files
            raise ValueError(f"root: must be a name without slashes, not {root!r}.")
        self.client, self.root, self.user_id = client, root, user_id

    def find(self, path: str) -> File | None:
        try:
            memory = self.client.memories.get_by_key(self.name(path), user_id=self.user_id)
        except NotFound:
            return None
        return self.build_file(memory)

    def read(self, path: str) -> File:
        file = self.find(path) if path else None
        if file is None:
            raise IsADirectoryError(path) if self.is_directory(path) else FileNotFoundError(path)
        return file

    def iterate(self, directory: str) -> Iterator[File]:
        """Yield the files below a directory, in no order. Without a user it reads those of all users, and leaves them
        out: the API has no filter for memories of no user."""
        prefix = self.name(f"{directory}/") if directory else f"{self.root}/"
        for memory in self.client.memories.list(key_prefix=prefix, **self.user):
            if memory.user_id == self.user_id:
                yield self.build_file(memory)

    def is_directory(self, path: str) -> bool:
        return path == "" or any(True for _ in self.iterate(path))

    def create(self, path: str, text: str) -> None:
        self.check_parents(path)
        if self.is_directory(path):
            raise FileExistsError(path)
        fields = {**encode_text(text, {}), "source_system": self.root}
        try:
            self.client.memories.put(self.name(path), user_id=self.user_id, if_none_match="*", **fields)
        except PreconditionFailed:
            raise FileExistsError(path) from None

    def check_parents(self, path: str) -> None:
        """Raise NotADirectoryError if a directory of the path is a file."""
        parts = path.split("/")
        parents = ["/".join(parts[:length]) for length in range(1, len(parts))]
        if not parents:
            return
        for memory in self.client.memories.list(keys=[self.name(each) for each in parents], **self.user):
            if memory.user_id == self.user_id:
                raise NotADirectoryError(self.build_file(memory).path)

    def edit(self, path: str, change: Callable[[str], str]) -> str:
        """Replace the text of a file by what `change` makes of it, and return that. `change` is called again when
        the file was changed meanwhile."""
        for attempt in range(MAX_ATTEMPTS):
            file = self.read(path)
            text = change(file.text)
            if self.write(file, text):
                return text
            pause(attempt)
        raise BlockingIOError(path)

    def write(self, file: File, text: str) -> bool:
        """Return False when the file is no longer as it was read."""
        changes = encode_text(text, file.memory.metadata)
        try:
            self.client.memories.update(file.memory.id, if_match=file.memory.etag, **changes)
        except (NotFound, PreconditionFailed):
            return False
        return True

    def delete(self, path: str) -> None:
        """Delete a file, or all files below a directory."""
        try:
            self.client.memories.delete_by_key(self.name(path), user_id=self.user_id)
        except NotFound:
            if not self.delete_below(path):
                raise FileNotFoundError(path) from None

    def delete_below(self, directory: str) -> int:
        """Return the number of deleted files."""
        ids = [each.memory.id for each in self.iterate(directory)]
        for start in range(0, len(ids), MAX_DELETED):
            self.client.memories.delete_matching(ids=ids[start : start + MAX_DELETED])
        return len(ids)

    def move(self, old: str, new: str) -> None:
        """Rename a file, or one after the other all files below a directory."""
        if self.find(new) is not None or self.is_directory(new):
            raise FileExistsError(new)
        self.check_parents(new)
        if (file := self.find(old)) is not None:
            self.rename(file, new)
            return
        files = list(self.iterate(old))
        if not files:
            raise FileNotFoundError(old)
        if f"{new}/".startswith(f"{old}/"):
            raise NotADirectoryError(new)
        for each in files:
            self.rename(each, new + each.path.removeprefix(old))

    def rename(self, file: File, path: str) -> None:
        try:
            self.client.memories.update(file.memory.id, key=self.name(path))
        except NotFound:
            raise FileNotFoundError(file.path) from None
        except Conflict:
            raise FileExistsError(path) from None

    @property
    def user(self) -> dict[str, Any]:
        return {} if self.user_id is None else {"user_id": self.user_id}

    def name(self, path: str) -> str:
        return f"{self.root}/{path}"

    def build_file(self, memory: models.Memory) -> File:
        text = memory.metadata.get(MARK, {}).get("text", memory.content)
        return File(str(memory.key).removeprefix(f"{self.root}/"), text, memory)


def encode_text(text: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that hold the text of a file; the other metadata stays."""
    others = {name: value for name, value in metadata.items() if name != MARK}
    if has_visible(text):
        return {"content": text, "metadata": others}
    return {"content": BLANK, "metadata": {**others, MARK: {"text": text}}}
