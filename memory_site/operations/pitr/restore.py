"""Recovers a time for good: into a directory of its own, or in the place of the site's database."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.wal_archive.program import WalProblem, store
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.erasures.carry import find_ledger
from memory_site.operations.erasures.ledger import LedgerProblem, read_ledger
from memory_site.operations.erasures.replay import replay
from memory_site.operations.files import sync
from memory_site.operations.management.commands.migrate import Command as MigrateCommand
from memory_site.operations.pitr.problems import PitrProblem, RecoveryFailed
from memory_site.operations.pitr.recovery import (
    COPY_PREFIX,
    Plan,
    Recovered,
    Recovery,
    check_pages,
    count_invalid_indexes,
)
from memory_site.operations.pitr.recovery_server import RECOVERY_PORT
from memory_site.operations.pitr.repository import Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser
from memory_site.operations.pitr.timelines import note_era

AT_FDCWD, RENAME_EXCHANGE = -100, 2
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Restored:
    """What was recovered, how many erasures were repeated in it, and where the database before it is now."""

    recovered: Recovered
    erasures: int
    old_directory: Path | None


def check_target(recovery: Recovery, target: Path) -> None:
    """Raise PitrProblem for a directory inside the archive or the database, which only their own files may be in."""
    for directory in (recovery.repository.path, recovery.home.path / "postgres"):
        if target.resolve().is_relative_to(directory.resolve()):
            raise PitrProblem(f"{target} is inside {directory}: name a new directory elsewhere.")


def restore_beside(recovery: Recovery, plan: Plan, target: Path, advance: Advance) -> Restored:
    """Recover into a new directory, and leave it there with its server stopped. Raises PitrProblem."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PitrProblem(f"{target} exists and is not empty: name a new directory.")
    with recovery.recover(plan, target, advance) as recovered:
        erasures = finish_database(recovery)
    check_pages(recovery.home, target)
    return Restored(recovered, erasures, None)


def replace_database(
    recovery: Recovery, plan: Plan, advance: Advance, finish: Callable[[Recovery], int] | None = None
) -> Restored:
    """Recover and put the result in the place of the database, which is kept under another name.

    The caller holds the data directory, and no server runs in it. Raises PitrProblem; then nothing was changed.
    """
    home = recovery.home
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    copy = home.path / f"{COPY_PREFIX}{stamp}"
    with recovery.recover(plan, copy, advance) as recovered:
        erasures = (finish or finish_database)(recovery)
    check_pages(home, copy)
    mark_log(home, copy, recovered.timeline)
    old = exchange(home.path / "postgres", copy, stamp)
    if archives_into(home, recovery.repository):
        archive_history(home, recovery.repository, recovered.timeline)
        note_era(recovery.repository.path, recovered.timeline, plan.current_timeline, datetime.now(UTC))
    return Restored(recovered, erasures, old)


def archives_into(home: DataDirectory, repository: Repository) -> bool:
    """Return whether the archive is this data directory's own. Another machine, on which someone only tries a
    recovery, changes nothing of it; `pitr enable` makes it the machine's own."""
    settings = ArchiveSettings.read(home)
    return settings is not None and settings.enabled and Path(settings.archive) == repository.path


def finish_database(recovery: Recovery) -> int:
    """Bring the recovered database to this release and erase again what was erased later. Return how many erasures.

    Raises RecoveryFailed.
    """
    with use_database_at(RECOVERY_PORT):
        migrate = MigrateCommand()
        migrate.erases_again = False  # here a ledger that is not whole is an error
        call_command(migrate, verbosity=0, interactive=False, skip_checks=True)
        erasures = repeat_erasures()
    with connect_superuser(recovery.home, RECOVERY_PORT) as superuser:
        if invalid := count_invalid_indexes(superuser):
            recovery.report(f"{invalid} indexes are invalid, as they were at that time: `maintain` rebuilds them.")
    return erasures


def repeat_erasures() -> int:
    """Erase in the recovered database what was erased later. Return the number of erasures. Raises RecoveryFailed."""
    path = find_ledger()
    if path is None:
        return 0
    try:
        ledger = read_ledger(path)
        ledger.require_whole()
    except LedgerProblem as error:
        raise RecoveryFailed(str(error)) from None
    return len(replay(ledger.entries.values()))


@contextmanager
def use_database_at(port: int) -> Iterator[None]:
    """Point Django's connection to the server at another port of the same directory of sockets."""
    connection.close()
    before = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = str(port)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["PORT"] = before


def mark_log(home: DataDirectory, data: Path, timeline: int) -> None:
    """Have the server archive the history of the new timeline, and not the old one's segments a second time: its copies
    may lack what the archive's have."""
    status = data / "pg_wal" / "archive_status"
    for path in (data / "pg_wal").iterdir():
        segment = Segment.parse(path.name)
        if segment and segment.timeline < timeline:
            mark(home, status / f"{path.name}.done")
    mark(home, status / f"{timeline:08X}.history.ready")


def archive_history(home: DataDirectory, repository: Repository, timeline: int) -> None:
    """Archive the history now, so that no further recovery takes the same number before the server starts."""
    history = home.path / "postgres" / "pg_wal" / f"{timeline:08X}.history"
    with suppress(OSError, WalProblem):  # the server will archive it when it can
        home.chown_to_servers(store(repository.wal, history, history.name, ""))


def mark(home: DataDirectory, path: Path) -> None:
    path.with_suffix(".ready").unlink(missing_ok=True)
    path.touch(mode=0o600)
    home.chown_to_servers(path)


def exchange(live: Path, recovered: Path, stamp: str) -> Path | None:
    """Give the recovered directory the place of the live one in one step. Return where the live one is now.

    So at no moment there is none: a start then would create an empty database. Systems and file systems that cannot
    exchange names need two steps.
    """
    if not live.exists():
        recovered.rename(live)
        sync(live.parent)
        return None
    ready = live.with_name(f"{live.name}.recovered-{stamp}")  # a name that no clean-up removes
    recovered.rename(ready)
    old = live.with_name(f"{live.name}.before-{stamp}")
    if not swap_names(live, ready):
        live.rename(old)
        ready.rename(live)
    else:
        ready.rename(old)
    sync(live.parent)
    return old


def swap_names(one: Path, other: Path) -> bool:
    """Exchange two names atomically (renameat2 of Linux). Return False where the system or file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    names = (os.fsencode(path) for path in (one, other))
    return renameat2(AT_FDCWD, next(names), AT_FDCWD, next(names), RENAME_EXCHANGE) == 0
