"""Whenever a restore is killed, the site has its old database or the new one, and the next restore succeeds."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
from django.conf import settings as project
from django.core.management import CommandError, call_command
from django.db import connection

from memories.models import Memory
from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups import restore as backups_restore
from memory_site.operations.backups.database import connect, connect_to_server
from memory_site.operations.backups.rotate import rotate_backups
from memory_site.operations.restore import databases, restoration, swap
from tests.memories.users.test_erasure import ERASED_USER, SECRET_WORD, erase_user, find_lines
from tests.memory_site.operations.restore.conftest import LIVE, list_site_databases, read_tables
from tests.stack.stack import wait_until

pytestmark = pytest.mark.django_db
#: Functions at whose call the process is killed, and which call it is. At the last one the old database has lost its
#: name already, in a transaction.
MOMENTS = [
    (restoration, "compare_with_manifest", 1),
    (restoration, "replay", 1),
    (swap, "give_name", 1),
    (swap, "give_name", 2),
]


def kill_at_call(monkeypatch, module: object, name: str, number: int, request: int = signal.SIGKILL) -> None:
    original, calls = getattr(module, name), []

    def call(*arguments: object, **options: object) -> object:
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), request)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, call)


def restore_in_child(prepare: Callable[[], None], name: str) -> int:
    """Restore in a process of its own. Return the signal that ended it, 0 if it ended by itself."""
    connection.close()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            call_command("restore", name, replace=LIVE)
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(("module", "function", "call"), MOMENTS)
def test_a_killed_restore_leaves_the_old_database(site, stored, monkeypatch, module, function, call):
    site.add("stored after the backup")
    before = read_tables(LIVE)
    assert restore_in_child(lambda: kill_at_call(monkeypatch, module, function, call), stored.name) == signal.SIGKILL
    assert read_tables(LIVE) == before
    assert site.get("/summary").status_code == 200


def test_a_restore_that_was_killed_behind_the_swap_is_complete(site, stored, monkeypatch):
    site.add("stored after the backup")
    run = swap.Swap.run

    def run_and_die(*arguments: object) -> None:
        run(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    assert restore_in_child(lambda: monkeypatch.setattr(swap.Swap, "run", run_and_die), stored.name) == signal.SIGKILL
    assert not Memory.objects.filter(content="stored after the backup").exists()
    assert len(databases.list_kept()) == 1


def test_the_next_restore_drops_what_a_killed_one_left(site, stored, monkeypatch, capsys):
    restore_in_child(lambda: kill_at_call(monkeypatch, restoration, "replay", 1), stored.name)
    assert f"{LIVE}_restoring" in list_site_databases()
    wait_until(lambda: not is_restoring(), 60, "the killed restore's session has ended")
    call_command("restore", stored.name, replace=LIVE)
    [kept] = databases.list_kept()
    assert list_site_databases() == sorted([LIVE, f"{LIVE}_filled", kept.name])


def test_rotation_drops_what_a_killed_restore_left_and_not_what_one_fills(site, stored, monkeypatch):
    restore_in_child(lambda: kill_at_call(monkeypatch, backups_restore, "find_program", 1), stored.name)
    draft = f"{LIVE}_restoring"
    assert draft in list_site_databases()
    wait_until(lambda: not is_restoring(), 60, "the killed restore's session has ended")
    with databases.hold_draft(LIVE):
        rotate_backups()
        assert draft in list_site_databases()
    rotate_backups()
    assert draft not in list_site_databases()


def is_restoring() -> bool:
    try:
        with databases.hold_draft(LIVE):
            return False
    except AlreadyRunning:
        return True


def test_a_terminated_restore_leaves_nothing(site, stored, monkeypatch):
    kill = partial(kill_at_call, monkeypatch, restoration, "compare_with_manifest", 1, signal.SIGTERM)
    assert restore_in_child(kill, stored.name) == 0
    assert list_site_databases() == [LIVE, f"{LIVE}_filled"]


@pytest.mark.parametrize("comment", ["'Precious.'", "NULL"])
def test_a_database_of_that_name_that_is_not_ours_stays(untouched, comment):
    with connect_to_server() as opened:
        opened.execute(f"CREATE DATABASE {LIVE}_restoring")
        opened.execute(f"COMMENT ON DATABASE {LIVE}_restoring IS {comment}")
        try:
            assert databases.drop_draft(LIVE) is False
        finally:
            opened.execute(f"DROP DATABASE {LIVE}_restoring")


def test_a_second_restore_does_nothing(stored):
    with connect_to_server() as opened:
        opened.execute(databases.LOCK_SQL, [LIVE])
        with pytest.raises(CommandError, match="Another restore is at work. Nothing was done."):
            call_command("restore", stored.name, replace=LIVE)


class Visitor(threading.Thread):
    """Writes and reads all the time, with a new connection after each error, like the processes of a site."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.acknowledged: list[tuple[int, int]] = []  # a visit, and the database that it was paid to, by its oid
        self.errors, self.ended = [], threading.Event()
        self.start()

    def run(self) -> None:
        visit = self.number * 1_000_000
        while not self.ended.is_set():
            try:
                with connect_directly() as opened:
                    database = read_oid(opened)
                    while not self.ended.is_set():
                        visit += 1
                        opened.execute("INSERT INTO django_session VALUES (%s, '', now())", [f"visit {visit}"])
                        self.acknowledged.append((visit, database))
                        time.sleep(0.001)
            except psycopg.Error as error:
                self.errors.append(error)

    def list_visits(self, database: int) -> set[int]:
        return {visit for visit, visited in tuple(self.acknowledged) if visited == database}


def read_oid(opened: psycopg.Connection) -> int:
    """Return what tells the new database from the old one, which had the same name."""
    return opened.execute("SELECT oid::int FROM pg_database WHERE datname = current_database()").fetchone()[0]


def connect_directly() -> psycopg.Connection:
    database = project.DATABASES["default"]
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    return psycopg.connect(**{ours: database[theirs] for ours, theirs in names.items()}, dbname=LIVE, autocommit=True)


def test_visitors_lose_nothing_that_was_acknowledged_after_the_swap(site, stored):
    visitors = [Visitor(number) for number in range(3)]
    wait_until(lambda: all(visitor.acknowledged for visitor in visitors), 60, "visits before the swap")
    call_command("restore", stored.name, replace=LIVE)
    with connect(LIVE) as opened:
        restored = read_oid(opened)
    for visitor in visitors:
        wait_until(lambda each=visitor: len(each.list_visits(restored)) > 20, 60, "visits after the swap")
        visitor.ended.set()
        visitor.join()
    assert {type(error) for visitor in visitors for error in visitor.errors} <= {
        psycopg.errors.AdminShutdown,
        psycopg.OperationalError,  # a connection that waited for the rename finds no database of that name
    }
    with connect(LIVE) as opened:
        found = {int(key.split()[1]) for (key,) in opened.execute("SELECT session_key FROM django_session").fetchall()}
    for visitor in visitors:
        assert visitor.errors
        assert visitor.list_visits(restored) <= found


def test_an_erasure_while_the_backup_is_restored_is_repeated_before_the_swap(site, stored, monkeypatch):
    first_time = swap.Swap.run

    def erase_and_run(*arguments: object) -> None:
        thread = threading.Thread(target=erase_in_thread, args=(site,))
        thread.start()
        thread.join()
        first_time(*arguments)

    monkeypatch.setattr(swap.Swap, "run", erase_and_run)
    call_command("restore", stored.name, replace=LIVE)
    assert find_lines(ERASED_USER, SECRET_WORD) == []
    assert Memory.objects.filter(user_id="ada").count() == 6


def erase_in_thread(site) -> None:
    with databases.use_database(LIVE):
        assert erase_user(site).status_code == 200


@pytest.fixture
def superusers_session(site) -> Iterator[None]:
    database = project.DATABASES["default"]
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=LIVE,
        user="postgres",
        password=project.HOME.secret("postgres"),
    ):
        yield


def test_sessions_that_cannot_be_ended_stop_the_swap_and_not_the_site(site, stored, superusers_session):
    before = read_tables(LIVE)
    with pytest.raises(CommandError, match="belongs to a role that this one may not end"):
        call_command("restore", stored.name, replace=LIVE)
    assert read_tables(LIVE) == before
    assert site.get("/summary").status_code == 200
    assert list_site_databases() == [LIVE, f"{LIVE}_filled"]
