"""Recovers a time into a new data directory: chooses a base backup, checks and copies it, replays the log."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import Postgres, find_bin_directory
from memory_site.operations.pitr.base_backup import require_space
from memory_site.operations.pitr.base_check import check_base
from memory_site.operations.pitr.problems import LogEnded, NotRecoverable, RecoveryFailed
from memory_site.operations.pitr.recovery_server import (
    RECOVERY_PORT,
    RecoveryServer,
    RecoveryTarget,
    recovery_files,
    reset_passwords,
)
from memory_site.operations.pitr.repository import Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, fetch_row
from memory_site.operations.pitr.wal_report import WalArchive, list_needed
from memory_site.operations.pitr.windows import Window, choose_windows, list_windows

#: Directories whose names begin so are removed when nothing works on them.
COPY_PREFIX = "postgres.recovering-"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How a time is recovered: from which base backup, along which timeline, with how many segments at most.

    `current_timeline` is the one that the site ran on last.
    """

    window: Window
    time: datetime | None
    segments: int
    current_timeline: int

    @property
    def target(self) -> RecoveryTarget:
        return RecoveryTarget(self.time, self.window.timeline)


@dataclass(frozen=True)
class Recovered:
    """What came of a recovery. `seconds` is the time from the first byte copied until the database answered."""

    base: str
    last_transaction_at: datetime | None
    timeline: int
    seconds: float


class Recovery:
    """Recovers a database's archive beside the server of `home`.

    `live_wal` is the log of the server that wrote the archive: what did not reach the archive is taken from there.
    """

    def __init__(self, home: DataDirectory, archive: Path, report: Report = lambda text: None) -> None:
        self.home, self.report = home, report
        self.repository = Repository(archive)
        self.live_wal = home.path / "postgres" / "pg_wal"

    def plan(self, time: datetime | None, current: Segment | None = None) -> Plan:
        """Choose the newest base backup that is good, this site's, and holds the time. Raises NotRecoverable.

        `current` is the segment that the server writes; None when it does not run.
        """
        archive = WalArchive(self.repository, self.live_wal if self.live_wal.is_dir() else None)
        end = current or archive.find_newest_end()
        windows = choose_windows(list_windows(archive, end), time)
        own = [window for window in windows if not window.base.foreign]
        if not own:
            raise NotRecoverable(windows[0].base.foreign)
        for window in own:
            if problems := check_base(window.base):
                self.report(f"The base backup {window.base.name} is damaged ({problems[0]}); an older one is used.")
                continue
            needed = list_needed(window.base.first_segment, archive.get_history(window.timeline), end)
            return Plan(window, time, sum(1 for _ in needed) + 1, end.timeline)
        raise NotRecoverable("Every base backup that holds this time is damaged: `pitr check` names the files.")

    @contextmanager
    def recover(
        self, plan: Plan, data: Path, advance: Callable[[int], None] = lambda segments: None, *, durable: bool = True
    ) -> Iterator[Recovered]:
        """Recover into the new directory `data` and keep its server running inside the block; stop it then.

        `advance` gets the segments as they are replayed. Connect with `connect_superuser(home, RECOVERY_PORT)`. Raises
        RecoveryFailed and PitrProblem; `data` is removed then.
        """
        started = time.monotonic()
        require_space(data.parent, plan.window.base.manifest["size"])
        with removed_on_failure(data):
            copy_base(self.home, plan.window.base.directory, data)
            live_wal = str(self.live_wal) if self.live_wal.is_dir() else None
            settings = json.dumps({"archive": str(self.repository.path), "live_wal": live_wal})
            with recovery_files(data, self.home, settings):
                server = RecoveryServer(self.home, data, plan.target, durable=durable)
                try:
                    server.launch()
                    wait_until_recovered(server, plan, advance)
                    yield self._describe(plan, time.monotonic() - started)
                finally:
                    server.stop()

    @contextmanager
    def recovered_copy(self, plan: Plan, advance: Callable[[int], None] = lambda segments: None) -> Iterator[Recovered]:
        """Recover into a copy that is removed at the end of the block."""
        data = self.home.path / f"{COPY_PREFIX}copy"
        try:
            with self.recover(plan, data, advance, durable=False) as recovered:
                yield recovered
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def _describe(self, plan: Plan, seconds: float) -> Recovered:
        with connect_superuser(self.home, RECOVERY_PORT) as connection:
            reset_passwords(self.home, connection)
            last, name = fetch_row(
                connection, "SELECT pg_last_xact_replay_timestamp(), pg_walfile_name(pg_current_wal_lsn())"
            )
        return Recovered(plan.window.base.name, last, int(name[:8], 16), seconds)


def wait_until_recovered(server: RecoveryServer, plan: Plan, advance: Callable[[int], None]) -> None:
    """Wait until the plan's time is reached, or the end of a timeline that the site left later: it wrote no more."""
    try:
        server.wait_until_recovered(advance)
    except LogEnded:
        if plan.window.timeline == plan.current_timeline:
            raise
        server.go_on_to_the_end()
        server.wait_until_recovered(advance)


@contextmanager
def removed_on_failure(directory: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def copy_base(home: DataDirectory, source: Path, target: Path) -> None:
    """Copy a base backup, for the user that PostgreSQL runs as. PostgreSQL demands mode 0700."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    target.chmod(0o700)
    if home.owner is not None:
        for parent, directories, files in os.walk(target):
            for name in (".", *directories, *files):
                os.lchown(os.path.join(parent, name), *home.owner)


def check_pages(home: DataDirectory, data: Path) -> None:
    """Read every page of a stopped database and compare its checksum. Raises RecoveryFailed."""
    user = Postgres(home).run_as
    result = subprocess.run(  # noqa: S603  (a program of the wheel)
        [*user.prefix, str(find_bin_directory() / "pg_checksums"), "--check", "-D", str(data)],
        **user.credentials,
        cwd="/",
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RecoveryFailed(f"The recovered database is damaged: {result.stderr.strip().splitlines()[0]}")


def count_invalid_indexes(connection: psycopg.Connection) -> int:
    return fetch_row(connection, "SELECT count(*) FROM pg_index WHERE NOT indisvalid")[0]
