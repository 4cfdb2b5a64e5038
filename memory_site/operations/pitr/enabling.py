"""Switches archiving of the log on and off for the embedded server, and restarts it where PostgreSQL demands that."""

import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.processes import succeeds
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.files import write_durably
from memory_site.operations.pitr.problems import PitrProblem
from memory_site.operations.pitr.repository import SYSTEM_FILE, Repository
from memory_site.operations.pitr.server import connect_superuser, fetch_row
from memory_site.operations.pitr.timelines import note_unknown_era

RESTART_TIMEOUT_SECONDS = 120
ARCHIVE_MODE_SQL = "SELECT current_setting('archive_mode')"


def prepare_archive(home: DataDirectory, archive: Path, system_identifier: str) -> None:
    """Create the archive of a database, mode 0700, writable for the user of the server. Raises PitrProblem."""
    repository = Repository(archive)
    try:
        parent = [archive.parent] if home.path in archive.parents or not archive.parent.exists() else []
        archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (*parent, archive, repository.wal, repository.bases):
            directory.mkdir(mode=0o700, exist_ok=True)
            home.chown_to_servers(directory)
        claim(repository, system_identifier)
        home.chown_to_servers(archive / SYSTEM_FILE)
    except OSError as error:
        raise PitrProblem(f"{error.filename or archive} cannot be used as archive: {error.strerror}.") from None
    require_writable(home, repository.wal)


def continue_timeline(archive: Path, timeline: int) -> None:
    """Note since when the site runs on its timeline, if the archive does not know it."""
    note_unknown_era(archive, timeline, {int(name[:8], 16) for name in Repository(archive).list_stored()})


def claim(repository: Repository, system_identifier: str) -> None:
    """Note whose archive it is. Raises PitrProblem if it is another database's."""
    known = repository.system_identifier
    if known is None:
        write_durably(repository.path / SYSTEM_FILE, f"{system_identifier}\n".encode())
    elif known != system_identifier:
        raise PitrProblem(
            f"{repository.path} is the archive of another database ({known}, this one is {system_identifier}): "
            "move it away, or set another BACKUP_DIR."
        )


def require_writable(home: DataDirectory, directory: Path) -> None:
    """Raise PitrProblem if the user of the server cannot write there: a parent may be closed to it."""
    user = Postgres(home).run_as
    if not succeeds([*user.prefix, "test", "-w", str(directory)], user.owner):
        raise PitrProblem(f"{directory} cannot be written by the user that PostgreSQL runs as: set another BACKUP_DIR.")


def is_archiving(connection: psycopg.Connection) -> bool:
    """Return whether the running server archives its log; it decides so when it starts."""
    return fetch_row(connection, ARCHIVE_MODE_SQL)[0] == "on"


def disable(home: DataDirectory) -> bool:
    """Have the archive program archive nothing, at once. Return whether it did before."""
    settings = ArchiveSettings.read(home)
    if settings is None or not settings.enabled:
        return False
    replace(settings, enabled=False).write(home)
    return True


def restart_served_database(home: DataDirectory) -> None:
    """Stop the server of a running site, whose supervisor starts it again with the stored settings.

    Requests get 503 for that second or two. Raises PitrProblem if it does not come back.
    """
    server = Postgres(home)
    with suppress(OSError, ValueError, psutil.Error):
        psutil.Process(int(server.pid_file.read_text().split()[0])).send_signal(signal.SIGINT)
    deadline = time.monotonic() + RESTART_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError, OSError), connect_superuser(home) as connection:
            if is_archiving(connection):
                return
        time.sleep(0.2)
    raise PitrProblem("PostgreSQL does not archive yet: stop `serve` and start it again, then repeat this.")
