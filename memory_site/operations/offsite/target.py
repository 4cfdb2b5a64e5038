"""The place of the copies: a folder, a bucket or a server, reached by fsspec, in bounded time and with errors in words.

A file has its name only when it is complete. Object stores show an object when its upload has ended; elsewhere it is
written under another name first.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.files import open_private

Found = TypeVar("Found")
#: Gets the number of bytes that were copied since the last call.
OnBytes = Callable[[int], None]

CHUNK_BYTES = 4 * 1024 * 1024
#: Seconds for the first answer, and for each further step: a chunk, or the end of a file.
FIRST_ANSWER_SECONDS, STEP_SECONDS = 30, 120
MAX_REASON_LENGTH = 300
#: Not that of drafts of backups, which the next backup removes.
INCOMING_SUFFIX = ".incoming"
#: Their uploads are seen when they are complete.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss"}
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "sftp": "paramiko", "ssh": "paramiko"}
CHATTY_LOGGERS = ("aiobotocore", "botocore")
#: So that a server that is away is reported within the time for the first answer.
BOTO_OPTIONS = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}
OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": BOTO_OPTIONS}, "s3a": {"config_kwargs": BOTO_OPTIONS}}


class OffsiteProblem(BackupProblem):
    """The place of the copies cannot be used. The message is a sentence for the operator, without passwords."""


class Target:
    """The folder that a URL names. The constructor connects where the library does; every method may raise
    OffsiteProblem."""

    def __init__(self, url: str) -> None:
        self._secret = urlsplit(url).password
        self.url = url if self._secret is None else url.replace(f":{self._secret}@", ":…@", 1)
        self._protocol = urlsplit(url).scheme
        self._is_local = self._protocol in ("file", "local")
        with self._in_words("cannot be used"):
            self._files, self._root = call_within(FIRST_ANSWER_SECONDS, connect, url, self._protocol)

    def list_files(self) -> dict[str, int]:
        """Return the sizes of its files by name; nothing if it does not exist yet."""
        with self._in_words("cannot be listed"):
            return call_within(FIRST_ANSWER_SECONDS, self._list)

    def _list(self) -> dict[str, int]:
        try:
            found = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return {}
        return {each["name"].rpartition("/")[2]: each["size"] for each in found if each["type"] == "file"}

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file, None if there is none of that name."""
        with self._in_words(f"does not give {name}"):
            try:
                return call_within(STEP_SECONDS, self._files.cat_file, self._locate(name))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file."""
        with self._in_words(f"does not take {name}"), self._written(name) as file:
            call_within(STEP_SECONDS, file.write, data)
        if self.read(name) != data:
            raise OffsiteProblem(f"{self.url} has not stored {name} as it was sent.")

    def upload(self, path: Path, name: str, on_bytes: OnBytes = lambda size: None) -> None:
        """Copy a file there and read it back."""
        digest = hashlib.sha256()
        with self._in_words(f"does not take {name}"), path.open("rb") as source, self._written(name) as file:
            while chunk := source.read(CHUNK_BYTES):
                call_within(STEP_SECONDS, file.write, chunk)
                digest.update(chunk)
                on_bytes(len(chunk))
        if self._hash(name, on_bytes) != digest.digest():
            raise OffsiteProblem(f"{self.url} has not stored {name} as it was sent.")

    def download(self, name: str, path: Path, on_bytes: OnBytes = lambda size: None) -> None:
        """Copy a file from there, mode 0600, synced. It has another name until it is complete."""
        draft = path.with_name(f"{path.name}{INCOMING_SUFFIX}")
        with open_private(draft) as file:
            for chunk in self._read_chunks(name):
                file.write(chunk)
                on_bytes(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._in_words(f"does not remove {name}"), suppress(FileNotFoundError):
            call_within(STEP_SECONDS, self._files.rm_file, self._locate(name))

    def _hash(self, name: str, on_bytes: OnBytes) -> bytes:
        digest = hashlib.sha256()
        for chunk in self._read_chunks(name):
            digest.update(chunk)
            on_bytes(len(chunk))
        return digest.digest()

    def _read_chunks(self, name: str) -> Iterator[bytes]:
        with (
            self._in_words(f"does not give {name}"),
            call_within(STEP_SECONDS, self._files.open, self._locate(name), "rb") as file,
        ):
            while chunk := call_within(STEP_SECONDS, file.read, CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _written(self, name: str) -> Iterator[IO[bytes]]:
        """Provide a file that has its name after the block, unless the block raises."""
        if self._protocol not in OBJECT_STORES:
            call_within(STEP_SECONDS, self._make_folder)
        draft = self._locate(name if self._protocol in OBJECT_STORES else f"{name}.partial")
        file = call_within(STEP_SECONDS, self._files.open, draft, "wb")
        if self._is_local:
            os.fchmod(file.fileno(), 0o600)
        try:
            yield file
            call_within(STEP_SECONDS, close, file)
        except BaseException:
            abandon(file)
            raise
        if draft != self._locate(name):
            call_within(STEP_SECONDS, self._replace, draft, self._locate(name))

    def _make_folder(self) -> None:
        """Create the folder if it is missing. A local one is its owner's alone; a server's rights are the server's."""
        if self._is_local:
            Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            self._files.makedirs(self._root, exist_ok=True)

    def _replace(self, draft: str, path: str) -> None:
        """Rename. Not every server replaces a file that is there."""
        if not self._is_local:
            with suppress(FileNotFoundError):
                self._files.rm_file(path)
        self._files.mv(draft, path)

    def _locate(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except OffsiteProblem:
            raise
        except ImportError:
            package = PACKAGES.get(self._protocol, "that fsspec names for it")
            advice = f": pip install {package}" if self._protocol in PACKAGES else ""
            reason = f"{self._protocol}:// needs the package {package}, which is not installed{advice}."
            raise OffsiteProblem(reason) from None
        except Exception as error:
            raise OffsiteProblem(f"{self.url} {what}: {self._describe(error)}") from error

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "it does not answer in time"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        text = (str(error).strip().splitlines() or [type(error).__name__])[0][:MAX_REASON_LENGTH]
        return text.replace(self._secret, "…") if self._secret else text


def connect(url: str, protocol: str) -> tuple[Any, str]:
    """Return the file system and the path of a URL."""
    import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415  (only where copies are made)

    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Fresh: instances are shared between threads otherwise, with lists of files that others have changed.
    options = {"skip_instance_cache": True, "use_listings_cache": False, **OPTIONS.get(protocol, {})}
    return fsspec.core.url_to_fs(url, **options)


def close(file: IO[bytes]) -> None:
    """Close a file, synced where the operating system can."""
    with suppress(AttributeError, OSError, ValueError):
        file.flush()
        os.fsync(file.fileno())
    file.close()


def abandon(file: Any) -> None:
    """Leave a file that is not complete: an upload to an object store is discarded, not ended."""
    with suppress(Exception):
        if hasattr(file, "discard"):
            file.discard()
        file.closed = True


def call_within(seconds: float, function: Callable[..., Found], *arguments: Any) -> Found:
    """Call a function. Raises TimeoutError if it takes longer; its thread then stays behind until the process ends."""
    result: Future[Found] = Future()

    def run() -> None:
        try:
            result.set_result(function(*arguments))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="off-site", daemon=True).start()
    return result.result(seconds)
