"""What the hybrid memory raises by itself. What the server answers is in `memory_client.errors`."""

from pathlib import Path

from memory_client.errors import MemoryClientError


class HybridError(MemoryClientError):
    """The base of the errors of this package."""


class InvalidMemory(HybridError, ValueError):
    """A memory was not stored because a value of it is not possible. `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


class UnknownMemory(HybridError, LookupError):
    """There is no memory with this id here."""

    def __init__(self, memory_id: str) -> None:
        super().__init__(f"There is no memory {memory_id} in the local file; its user may not be loaded.")
        self.memory_id = memory_id


class LocalFileError(HybridError):
    """The local file cannot be used. Nothing of the failed call was written."""


class ForeignFile(LocalFileError):
    """The local file belongs to another site, or to another namespace than the key: nothing of it was sent."""

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(
            f"{path} belongs to {owner}. Give this one another path, or server_moved=True if it is the same memory."
        )
        self.owner = owner


class LocalFileBusy(LocalFileError):
    """Another process wrote to the local file for longer than `busy_seconds`. The call may be repeated."""


class LocalFileFull(LocalFileError):
    """The disk is full, or the local file has reached a quota, a limit or `max_bytes`. Nothing of the failed call was
    written."""


class OutboxFull(LocalFileError):
    """As many writes wait for the server, or were refused by it, as the outbox may hold. Nothing was written."""
