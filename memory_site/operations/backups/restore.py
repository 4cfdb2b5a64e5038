"""Restore a backup into a new database: everything but its owner and grants, which belong to a server."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE

from memory_site.operations.backups.database import (
    build_environment,
    connect,
    connect_to_server,
    create_database,
    drop_database,
    get_server_version,
)
from memory_site.operations.backups.encryption import decrypt_file
from memory_site.operations.backups.folder import StoredBackup
from memory_site.operations.backups.programs import RunningProgram, find_program, read_version, run_program

MAX_JOBS = 4
POLL_SECONDS = 0.5
#: pg_restore sets it from this version on, and an older server does not know it.
UNKNOWN_SETTING, UNKNOWN_SETTING_VERSION = 'unrecognized configuration parameter "transaction_timeout"', 17
LIST_EXTENSIONS_SQL = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'"
SIZE_SQL = "SELECT pg_database_size(datname) FROM pg_database WHERE datname = %s"

#: Gets the share of the expected bytes that the new database has, from 0 to 1.
OnShare = Callable[[float], None]


def restore_into(
    database: str,
    backup: StoredBackup,
    *,
    jobs: int | None = None,
    gentle: bool = False,
    owner: str | None = None,
    comment: str | None = None,
    on_share: OnShare = lambda share: None,
) -> float:
    """Create a database and restore a backup into it. Return the seconds. After a failure there is no database.

    `jobs` is how many processes load tables and build indexes, by default one per processor, at most MAX_JOBS; an
    encrypted backup is read as a stream, by one. `gentle` takes one, at low priority. All belongs to the role `owner`,
    by default to the one that connects. `comment` is written on the database before anything is in it. Raises
    BackupProblem.
    """
    started = time.monotonic()
    create_database(database, backup.manifest["database"], owner, comment)
    try:
        with connect_to_server() as opened:
            version = get_server_version(opened)
        program = find_program("pg_restore", version)
        restoring = Restoring(program, database, backup, gentle=gentle, owner=owner, on_share=on_share)
        if read_version(program) >= UNKNOWN_SETTING_VERSION > version:
            restoring.harmless = UNKNOWN_SETTING
        restoring.run(1 if gentle or backup.encrypted else jobs or min(os.cpu_count() or 1, MAX_JOBS))
    except BaseException:
        with suppress(Exception):  # what went wrong first matters more
            drop_database(database)
        raise
    return time.monotonic() - started


class Restoring:
    """One run of pg_restore into an empty database. It ends at the first error, but for a `harmless` one."""

    harmless: str | None = None

    def __init__(
        self, program: str, database: str, backup: StoredBackup, *, gentle: bool, owner: str | None, on_share: OnShare
    ) -> None:
        self.program, self.database, self.backup, self.gentle = program, database, backup, gentle
        self.owner, self.on_share = owner, on_share
        self.expected = max(backup.manifest["database"].get("bytes", 0), 1)

    def run(self, jobs: int) -> None:
        with self.write_list() as wanted:
            argv = [self.program, "--no-owner", "--no-privileges", "--no-password"]
            argv += [] if self.harmless else ["--exit-on-error"]
            argv += [f"--dbname={self.database}", f"--use-list={wanted}"]
            if self.backup.encrypted:
                with run_program(argv, self.build_environment(), low_priority=self.gentle, stdin=PIPE) as running:
                    self.feed(running)
            else:
                argv += [f"--jobs={jobs}", str(self.backup.path)]
                with run_program(argv, self.build_environment(), low_priority=self.gentle) as running:
                    self.wait(running)

    def build_environment(self) -> dict[str, str]:
        """Return the variables of the program. No commit waits for the disk: an interrupted restore is repeated."""
        chosen = {"synchronous_commit": "off"} | ({"max_parallel_maintenance_workers": "0"} if self.gentle else {})
        chosen |= {"role": self.owner} if self.owner else {}
        return build_environment(self.database, **chosen)

    @contextmanager
    def write_list(self) -> Iterator[Path]:
        """Write the list of what is to be restored: all but an extension that the new database has already.

        It came with template1, belongs to another role, and its comment could not be set.
        """
        with connect(self.database) as opened:
            present = {f" EXTENSION - {name} " for (name,) in opened.execute(LIST_EXTENSIONS_SQL).fetchall()}
            present |= {f" COMMENT - EXTENSION {name[len(' EXTENSION - ') :]}" for name in present}
        lines = [line for line in self.read_list() if not any(each in f"{line} " for each in present)]
        with tempfile.NamedTemporaryFile("w", prefix="memory-site-restore-", suffix=".list") as file:
            file.write("\n".join(lines))
            file.flush()
            yield Path(file.name)

    def read_list(self) -> list[str]:
        """Return the lines of the dump's table of contents. Into a file: a full pipe would stop program and reader."""
        source = [] if self.backup.encrypted else [str(self.backup.path)]
        streams = {"stdin": PIPE} if self.backup.encrypted else {}
        with tempfile.TemporaryFile() as lines:
            argv = [self.program, "--list", *source]
            with run_program(argv, {}, low_priority=self.gentle, stdout=lines, **streams) as running:
                if self.backup.encrypted:
                    write_beginning(self.backup.path, running)
                running.finish()
            lines.seek(0)
            return lines.read().decode().splitlines()

    def feed(self, running: RunningProgram) -> None:
        """Decrypt into the program's input. Nothing of it is on a disk in plain text."""
        with connect_to_server() as watching, suppress(BrokenPipeError):  # `finish` says why the program ended
            noted = time.monotonic()
            for piece in decrypt_file(self.backup.path):
                running.process.stdin.write(piece)  # type: ignore[union-attr]
                if time.monotonic() - noted > POLL_SECONDS:
                    noted = time.monotonic()
                    self.note_size(watching)
            running.process.stdin.close()  # type: ignore[union-attr]
            self.watch(running, watching)
        running.finish(self.harmless)

    def wait(self, running: RunningProgram) -> None:
        with connect_to_server() as watching:
            self.watch(running, watching)
        running.finish(self.harmless)

    def watch(self, running: RunningProgram, watching) -> None:
        while running.is_running(POLL_SECONDS):
            self.note_size(watching)

    def note_size(self, watching) -> None:
        row = watching.execute(SIZE_SQL, [self.database]).fetchone()
        self.on_share(min(row[0] / self.expected, 0.99) if row else 0)


def write_beginning(path: Path, running: RunningProgram) -> None:
    """Decrypt into a program's input until it has read enough."""
    with suppress(BrokenPipeError):
        for piece in decrypt_file(path):
            running.process.stdin.write(piece)  # type: ignore[union-attr]
