"""The short step in which one database takes another one's name.

A rename locks the database before it waits for its last sessions to end, and new connections wait for the lock. So one
transaction renames both while a second connection ends the sessions: there is no moment at which a site finds no
database, and a process that is killed leaves the old one in place. Before the last session, ours, leaves the old
database, it looks for erasures that came in meanwhile.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, ObjectInUse

from memory_site.operations.backups.database import comment_on, connect_to_server
from memory_site.operations.backups.problems import BackupProblem
from sessions_app.commands import get_first_line

MAX_ATTEMPTS = 5
POLL_SECONDS = 0.01
# PostgreSQL's own processes have no user; they leave when the rename asks them to.
LIST_SESSIONS_SQL = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND usesysid IS NOT NULL"
END_SQL = "SELECT pg_terminate_backend(%s)"
# The lock of the rename, which keeps new sessions out.
IS_LOCKED_SQL = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE pid = %s AND locktype = 'object' AND classid = 'pg_database'::regclass
        AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND mode = 'AccessExclusiveLock' AND granted
)
"""

Connection = psycopg.Connection[Any]


class CannotSwap(BackupProblem):
    """The restored database could not take the place of the old one, which goes on."""


class Swap:
    """Gives `draft` the name `live`, and the database that has it the name `kept`.

    `comment` is written on the old one.
    """

    def __init__(self, draft: str, live: str, kept: str, comment: str) -> None:
        self.draft, self.live, self.kept, self.comment = draft, live, kept, comment

    def run(self, session: BaseDatabaseWrapper, catch_up: Callable[[], bool], complete: Callable[[], None]) -> None:
        """Swap. Raises CannotSwap; the old database goes on then.

        `session` is in the old database, and the last to leave it. `catch_up` is called when no other session is
        there and none can come in. It returns whether nothing was missing; when something was, others are let in again,
        `complete` is called, and the step is repeated.
        """
        self.session = session
        for _ in range(MAX_ATTEMPTS):
            self.session.ensure_connection()  # while it is there, the rename cannot happen
            if self.attempt(catch_up):
                return
            complete()
        raise CannotSwap(f"The database {self.live} is used by sessions that come back: stop what opens them.")

    def attempt(self, catch_up: Callable[[], bool]) -> bool:
        with connect_to_server() as gate, connect_to_server() as watcher, ThreadPoolExecutor(1) as thread:
            renaming = thread.submit(self.rename, gate)
            try:
                if self.empty(watcher, gate.info.backend_pid, renaming) and catch_up():
                    self.session.close()
                    return self.wait_for(renaming)
            finally:
                if not renaming.done():
                    gate.cancel()
        return False

    def rename(self, gate: Connection) -> None:
        """Wait, up to five seconds, until no session is in the old database, and give both their new names."""
        with gate.transaction():
            give_name(gate, self.live, self.kept)
            comment_on(gate, self.kept, self.comment)
            give_name(gate, self.draft, self.live)
            comment_on(gate, self.live, None)

    def empty(self, watcher: Connection, gate_pid: int, renaming: Future[None]) -> bool:
        """End all sessions in the old database but ours. Return whether none is left and none can come in."""
        while not renaming.done():
            has_others = self.end_sessions(watcher)
            if not has_others and watcher.execute(IS_LOCKED_SQL, [gate_pid, self.live]).fetchone() == (True,):
                return not self.end_sessions(watcher)
            time.sleep(POLL_SECONDS)
        return False

    def end_sessions(self, watcher: Connection) -> bool:
        """End all sessions but ours. Return whether there were any."""
        ours = self.session.connection.info.backend_pid
        pids = [pid for (pid,) in watcher.execute(LIST_SESSIONS_SQL, [self.live]).fetchall() if pid != ours]
        for pid in pids:
            self.end_session(watcher, pid)
        return bool(pids)

    def end_session(self, watcher: Connection, pid: int) -> None:
        try:
            watcher.execute(END_SQL, [pid])
        except InsufficientPrivilege:
            raise CannotSwap(
                f"A session in {self.live} belongs to a role that this one may not end (process {pid} of the server): "
                "stop what opened it."
            ) from None

    def wait_for(self, renaming: Future[None]) -> bool:
        """Return whether the names were given; a session may have been in the way. Raises CannotSwap."""
        try:
            renaming.result()
        except ObjectInUse:
            return False
        except psycopg.Error as error:
            raise CannotSwap(f"{self.draft} cannot take the place of {self.live}: {get_first_line(error)}") from None
        return True


def give_name(opened: Connection, name: str, new_name: str) -> None:
    opened.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)))
