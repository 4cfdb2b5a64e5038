"""Which memory the local file belongs to: one namespace of one site. Nothing of it is sent to another one.

A url and a key say little: the url may lead to another site tomorrow, and the key may be of another namespace. The
server says what the key opens (`GET /key`). The file remembers that from the first contact on. Each process asks again
before it sends or loads anything, and whenever the server was away since.
"""

import math
import sqlite3
import time

import msgspec

from memory_client.hybrid.database import Database
from memory_client.hybrid.delivery import Requests
from memory_client.hybrid.errors import ForeignFile

#: For so long the server's word counts while no request fails.
TRUSTED_SECONDS = 60.0
URL, ORIGIN = "url", "origin"


class Namespace(msgspec.Struct):
    id: int
    name: str


class Key(msgspec.Struct):
    """What the server says of the key."""

    site: str
    namespace: Namespace

    @property
    def origin(self) -> str:
        """Never that of another namespace. A rename and another key of the namespace leave it as it is."""
        return f"{self.site}/{self.namespace.id}"


class Origin:
    """`may_differ`: the server or its namespace moved, so that what the file remembers is replaced once.

    Raises ForeignFile for a file of another url.
    """

    def __init__(self, database: Database, client: Requests, url: str, may_differ: bool) -> None:
        self.database, self.client, self.path, self.may_differ = database, client, database.path, may_differ
        self.prepare()
        with database.write() as connection:
            if not is_used(connection):
                connection.execute("DELETE FROM settings WHERE name IN (?, ?)", (URL, ORIGIN))
            known = read_setting(connection, URL)
            if known not in (None, url) and not may_differ:
                raise ForeignFile(self.path, f"another server, {known}")
            write_setting(connection, URL, url)

    def prepare(self) -> None:
        """Forget what was asked; in a forked process too."""
        self._asked_at = self._doubted_at = -math.inf
        self.error: ForeignFile | None = None

    def doubt(self) -> None:
        """Ask again before the next request: what comes back after a failure may be another server."""
        self._doubted_at, self.error = time.monotonic(), None

    def require(self) -> None:
        """Raise ForeignFile if the server has said that the file belongs elsewhere."""
        if error := self.error:
            raise ForeignFile(self.path, error.owner)

    def check(self) -> None:
        """Ask what the key opens, unless that is known. Raises ForeignFile, MemoryClientError."""
        now = time.monotonic()
        if self.error or self._asked_at <= self._doubted_at or now - self._asked_at > TRUSTED_SECONDS:
            error = self._compare(self.client.request("GET", "/key", type=Key))
            self._asked_at = now
            if self._doubted_at < now:  # an answer from before says nothing of the server that is there now
                self.error = error
            if error:  # whatever another thread doubts meanwhile: nothing is sent on this answer
                raise ForeignFile(self.path, error.owner)
        self.require()

    def _compare(self, key: Key) -> ForeignFile | None:
        """Remember what the server says, if nothing is known. Return what is wrong."""
        with self.database.write() as connection:
            known = read_setting(connection, ORIGIN)
            if known in (None, key.origin) or self.may_differ:
                write_setting(connection, ORIGIN, key.origin)
                self.may_differ = False
                return None
        same_site = known.partition("/")[0] == key.site
        return ForeignFile(self.path, "another namespace of the server" if same_site else "another site")


def is_used(connection: sqlite3.Connection) -> bool:
    """Return whether the file has anything of a user."""
    return connection.execute("SELECT 1 FROM scopes WHERE kind = 'user' LIMIT 1").fetchone() is not None


def read_setting(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def write_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))
