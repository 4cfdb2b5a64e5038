"""Small clusters that archive their log, for the files of this folder; the test database has nothing to do with it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import MB, Postgres
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.pitr import base_backup
from memory_site.operations.pitr.archive_check import force_segment
from memory_site.operations.pitr.base_backup import take_base
from memory_site.operations.pitr.enabling import prepare_archive
from memory_site.operations.pitr.recovery import Recovery
from memory_site.operations.pitr.recovery_server import RecoveryServer
from memory_site.operations.pitr.repository import Base, Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, read_position

NO_SYNC = {"initdb": ("--no-sync",), "postgres": ()}


class Cluster:
    """A data directory whose server archives its log."""

    def __init__(self, path: Path, archive: Path | None = None) -> None:
        self.home = DataDirectory(path / "home")
        self.archive = archive or path / "archive"
        self.server = Postgres(self.home)
        self.repository = Repository(self.archive)
        self.recovery = Recovery(self.home, self.archive)

    def create(self) -> None:
        with self.server, self.connect() as connection:
            self.enable(read_position(connection).system_identifier)

    def enable(self, system_identifier: str, **changes: object) -> None:
        prepare_archive(self.home, self.archive, system_identifier)
        values = {"enabled": True, "archive": str(self.archive), "system_identifier": system_identifier}
        values |= {"max_waiting_bytes": 4096 * MB, "max_wal_bytes": 0, "archive_timeout": 300, "keep_bases": 2}
        self.settings = ArchiveSettings(**values | changes)
        self.settings.write(self.home)

    def connect(self, port: int = 5432):
        return connect_superuser(self.home, port)

    def execute(self, statement: str) -> datetime:
        """Run a statement, and return a time at which it is done."""
        with self.connect() as connection:
            connection.execute(statement)
            return read_position(connection).now

    def rows(self, statement: str, port: int = 5432) -> list[tuple]:
        with self.connect(port) as connection:
            return connection.execute(statement).fetchall()

    def take_base(self) -> Base:
        return take_base(self.home, self.settings)

    def archive_now(self) -> Segment:
        """Archive all that was written; return the segment that is written now."""
        force_segment(self.home, self.repository)
        with self.connect() as connection:
            return read_position(connection).segment

    def plan(self, time: datetime | None):
        return self.recovery.plan(time, self.archive_now())


@contextmanager
def without_waiting_for_the_disk() -> Iterator[None]:
    """Nothing here is about power failures."""
    settings, run, recovery = Postgres._settings, Postgres._run, RecoveryServer._settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Postgres, "_settings", lambda self: [*settings(self), "--fsync=off", "--full_page_writes=off"])
        patch.setattr(
            Postgres, "_run", lambda self, name, *words, **more: run(self, name, *NO_SYNC[name], *words, **more)
        )
        patch.setattr(RecoveryServer, "_settings", lambda self: [*recovery(self), "--fsync=off"])
        patch.setattr(base_backup, "BACKUP_OPTIONS", (*base_backup.BACKUP_OPTIONS, "--no-sync"))
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    with without_waiting_for_the_disk():
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster with a base backup, for all files: each has tables of its own."""
    directory = Path(tempfile.mkdtemp(prefix="pitr-"))
    cluster = Cluster(directory)
    with without_waiting_for_the_disk():
        cluster.create()
        cluster.server.start()
        cluster.base = cluster.take_base()
    yield cluster
    cluster.server.kill()  # an orderly stop would archive first
    shutil.rmtree(directory)
