"""The data directory of the embedded services: data, sockets, logs and secrets."""

import fcntl
import hashlib
import json
import os
import pwd
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured

#: An empty file whose name identifies the owner and the layout, so that its creation is one atomic step.
LAYOUT_MARKER = "memory-site-layout-1"
LAYOUT_MARKER_PREFIX = "memory-site-layout-"
#: Files that an empty volume may contain.
IGNORED_FILES = {"lost+found"}
#: Bytes of a socket's path: the size of sockaddr_un.sun_path less one for the terminating zero.
MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
#: Fixed rather than $TMPDIR: all processes of one data directory must find the same sockets.
SHORT_SOCKET_PARENT = Path("/tmp")  # noqa: S108  (the directory below it is checked for its owner)
SECRET_BYTES = 32


class DataDirectoryError(ImproperlyConfigured):
    """The data directory cannot be used. The docstring of each subclass is its message."""

    def __init__(self, **facts: object) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()).format(**facts))


class ForeignDirectory(DataDirectoryError):
    """{path} holds files that are not Memory Site's: name a new or empty directory in DATA_DIR."""


class IncompatibleLayout(DataDirectoryError):
    """{path} was created by another release of Memory Site ({marker}): use that release, or name a new DATA_DIR."""


class UnusableDataDirectory(DataDirectoryError):
    """{path} cannot be used as data directory ({reason}): name another one in DATA_DIR, or set DATABASE_URL."""


class UnsafeSocketDirectory(DataDirectoryError):
    """{path} belongs to someone else or is open to others: remove it, or name a shorter DATA_DIR."""


class DataDirectoryInUse(DataDirectoryError):
    """{path} is already {use} by process {pid}{place}."""


class Owner(NamedTuple):
    """The user and group, by number, that the embedded servers run as."""

    uid: int
    gid: int


class DataDirectory:
    """A data directory. The constructor touches nothing on disk; `prepare`, `secret` and `lock` do."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"DataDirectory({str(self.path)!r})"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def broker_socket(self) -> Path:
        return self.sockets / "broker.sock"

    @property
    def broker_url(self) -> str:
        """The broker's address for Celery."""
        return f"redis+socket://{quote(str(self.broker_socket))}"

    @property
    def database(self) -> dict[str, str]:
        """The entry of the embedded server for Django's DATABASES."""
        return {
            "HOST": str(self.sockets),
            "PORT": "5432",
            "NAME": "memory",
            "USER": "memory",
            "PASSWORD": self.secret("database"),
        }

    @cached_property
    def sockets(self) -> Path:
        """The directory of the sockets: inside this one, or a short one if a socket's path would be too long."""
        inside = self.path / "run"
        if len(os.fsencode(inside / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH_BYTES:
            return inside
        name = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return SHORT_SOCKET_PARENT / f"memory_site-{name}"

    @property
    def owner(self) -> Owner | None:
        """The user that the servers run as when this process is root, which PostgreSQL refuses; else None."""
        if os.geteuid() != 0:
            return None
        info = self.path.stat()
        return Owner(info.st_uid, info.st_gid) if info.st_uid != 0 else get_nobody_user()

    def prepare(self) -> None:
        """Create what is missing of the directory, mode 0700. Raises DataDirectoryError if it must not be used."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim_directory()
            self._restrict_permissions(self.path)
            for directory in (self.path / "secrets", self.logs, self.sockets):
                directory.mkdir(mode=0o700, exist_ok=True)
            self._check_sockets()
            self._chown_to_user(self.path / LAYOUT_MARKER)
            self._chown_to_user(self.path / "secrets")
            self.chown_to_servers(self.path, self.logs, self.sockets)
        except OSError as error:
            raise UnusableDataDirectory(path=self.path, reason=error.strerror) from error

    def secret(self, name: str) -> str:
        """Return the secret of that name, 43 url-safe characters; the first call creates it."""
        self.prepare()
        path = self.path / "secrets" / name
        try:
            with _lock_directory(path.parent, fcntl.LOCK_EX):
                if not path.exists():
                    self._write_secret(path)
                return path.read_text()
        except OSError as error:
            raise UnusableDataDirectory(path=path, reason=error.strerror) from error

    @contextmanager
    def lock(self, url: str = "") -> Iterator[None]:
        """Lock the directory for this process, which serves it at `url` (empty: a command uses it for a while).

        Raises DataDirectoryInUse, which names the holder, if another process has it. The operating system releases
        the lock when the process ends, however it ends.
        """
        self.prepare()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            self._write_lock_holder(file, url)
            yield

    @contextmanager
    def hold_shared(self, *, last: bool = False) -> Iterator[None]:
        """Hold the directory together with other users; `last` waits until they have gone and keeps new ones out."""
        self.prepare()
        with _lock_directory(self.path, fcntl.LOCK_EX if last else fcntl.LOCK_SH):
            yield

    def _write_lock_holder(self, file, url: str) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(path=self.path, **_parse_lock_holder(file.read())) from None
        self._chown_to_user(file.fileno())
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "url": url}))
        file.flush()

    def _claim_directory(self) -> None:
        names = set(os.listdir(self.path)) - IGNORED_FILES
        if LAYOUT_MARKER in names:
            return
        for name in names:
            if name.startswith(LAYOUT_MARKER_PREFIX):
                raise IncompatibleLayout(path=self.path, marker=name)
        # Another process may have claimed it since the listing.
        if names and not (self.path / LAYOUT_MARKER).exists():
            raise ForeignDirectory(path=self.path)
        (self.path / LAYOUT_MARKER).touch(mode=0o600)

    def _restrict_permissions(self, directory: Path) -> None:
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:
            directory.chmod(0o700)

    def _check_sockets(self) -> None:
        """Refuse a directory that another user may have created, or replaced by a link, in a shared parent."""
        info = self.sockets.lstat()
        ours = {os.geteuid(), self.owner.uid if self.owner else os.geteuid()}
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in ours or info.st_mode & 0o077:
            raise UnsafeSocketDirectory(path=self.sockets)

    def chown_to_servers(self, *paths: Path) -> None:
        """Make files readable to the servers if they run as another user."""
        owner = self.owner
        for path in paths:
            if owner and path.stat().st_uid != owner.uid:
                os.lchown(path, *owner)

    def _chown_to_user(self, file: Path | int) -> None:
        """Give what root creates in a user's directory to that user; `nobody` gets no secrets."""
        if self.owner is None or self.owner == get_nobody_user():
            return
        if isinstance(file, int):
            os.fchown(file, *self.owner)
        else:
            os.lchown(file, *self.owner)  # not the target of a link of that user

    def _write_secret(self, path: Path) -> None:
        draft = path.with_name(f".{path.name}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            self._chown_to_user(descriptor)
            file.write(secrets.token_urlsafe(SECRET_BYTES))
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)


def get_nobody_user() -> Owner:
    """Return the system's user without rights."""
    entry = pwd.getpwnam("nobody")
    return Owner(entry.pw_uid, entry.pw_gid)


@contextmanager
def _lock_directory(directory: Path, kind: int) -> Iterator[None]:
    """Hold a lock of the operating system, shared or exclusive, on a directory; wait for other holders."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _parse_lock_holder(note: str) -> dict[str, object]:
    try:
        known = json.loads(note)
    except ValueError:  # taken a moment ago, and not written yet
        known = {"pid": "unknown", "url": ""}
    url = known["url"]
    return {"pid": known["pid"], "use": "served" if url else "used", "place": f" at {url}" if url else ""}
