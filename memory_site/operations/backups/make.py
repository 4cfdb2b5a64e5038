"""Make a backup: one snapshot of the database, dumped into a file and counted into a manifest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psycopg
from psycopg import IsolationLevel

from memory_site import __version__
from memory_site.core.leases.leases import HeldLease, hold_lease
from memory_site.core.leases.process import identify_process
from memory_site.operations.backups.contents import (
    fetch_value,
    list_sequences,
    list_tables,
    prepare_session,
    read_contents,
)
from memory_site.operations.backups.database import (
    build_environment,
    connect,
    describe_database,
    get_server_version,
    require_single_server,
)
from memory_site.operations.backups.encryption import EncryptingWriter, get_encryption_key, identify_key
from memory_site.operations.backups.folder import (
    DUMP_SUFFIX,
    ENCRYPTED_SUFFIX,
    PARTIAL_SUFFIX,
    StoredBackup,
    list_stored,
    prepare_directory,
    read_stored,
)
from memory_site.operations.backups.manifest import FORMAT, Manifest, write_manifest
from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.backups.programs import RunningProgram, find_program, read_version, run_program
from memory_site.operations.backups.rows import RowProgress, clean_up, mark_interrupted, store_row
from memory_site.operations.backups.space import require_space
from memory_site.operations.erasures.carry import carry_erasures
from memory_site.operations.files import READ_BYTES, give_to_owner, hash_file, open_private, publish, sync
from memory_site.operations.models import Backup
from sessions_app.commands import get_first_line

LEASE = "backups"
BUSY = "Another process makes, verifies or rotates backups; `list_backups` shows it. Nothing was done."
#: Level 3 takes twice the time for a tenth less, 6 five times for a fifth less; without any, damage goes unnoticed.
COMPRESSION_LEVEL = 1
MAX_LOCK_WAIT_MS = 60_000
POLL_SECONDS = 0.2
#: Of the tables' bytes, before the first backup shows it: vectors are longer as text, and texts are compressed.
USUAL_COMPRESSION = 1.0
#: Of the work: the dump, and behind it the hashes.
DUMP_SHARE = 0.85

#: Gets the share of the work that is done, from 0 to 1, and what is being done.
OnProgress = Callable[[float, str], None]


def make_backup(*, pinned: bool = False, on_progress: OnProgress = lambda share, message: None) -> StoredBackup:
    """Make one backup. Raises BackupProblem, or AlreadyRunning if another process works with the backups."""
    directory = prepare_directory()
    require_single_server()
    with hold_lease(LEASE, BUSY) as lease:
        clean_up(directory)
        stored = Making(directory, lease, on_progress).run(pinned=pinned)
        carry_erasures()  # those of before it had no folder to go to
        return stored


class Making:
    """One backup in the making, by the holder of the lease."""

    def __init__(self, directory: Path, lease: HeldLease, on_progress: OnProgress) -> None:
        self.directory, self.lease, self.key = directory, lease, get_encryption_key()
        self._on_progress = on_progress

    def run(self, *, pinned: bool) -> StoredBackup:
        with open_snapshot() as (snapshot, opened):
            started = fetch_value(opened, "SELECT now()").astimezone(UTC)
            self.name = choose_name(self.directory, started)
            self.row = RowProgress(self.name)
            # After the snapshot: a restored database does not know a backup that was never finished.
            Backup.objects.create(name=self.name, process=identify_process(), started_at=started)
            with self.discarded_on_failure():
                manifest = {"format": FORMAT, "name": self.name, "file": self.path.name}
                manifest |= self.dump(snapshot, opened) | {"started_at": started.isoformat(), "pinned": pinned}
                self.publish(manifest)
        stored = read_stored(self.directory, self.name)
        store_row(stored)
        return stored

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}{ENCRYPTED_SUFFIX if self.key else DUMP_SUFFIX}"

    @property
    def draft(self) -> Path:
        return self.path.with_name(f"{self.path.name}{PARTIAL_SUFFIX}")

    def note(self, share: float, message: str) -> None:
        self.row.note(share, message)
        self._on_progress(share, message)

    @contextmanager
    def discarded_on_failure(self) -> Iterator[None]:
        """Remove a backup that cannot be finished, also one that the user interrupts."""
        try:
            yield
        except BaseException as error:
            for path in (self.draft, self.path):
                path.unlink(missing_ok=True)
            mark_interrupted(self.name, str(error) if isinstance(error, BackupProblem) else type(error).__name__)
            if isinstance(error, OSError):
                raise BackupProblem(f"{self.draft} cannot be written: {error.strerror}.") from None
            if isinstance(error, psycopg.Error):
                raise BackupProblem(f"The rows could not be counted: {get_first_line(error)}") from None
            raise

    def dump(self, snapshot: str, opened: psycopg.Connection[Any]) -> Manifest:
        """Write the draft, and return what the manifest says of its contents."""
        sequences = list_sequences(opened)  # before the dump, whose values may be later
        program = find_program("pg_dump", get_server_version(opened))
        described = describe_database(opened)
        total = self.estimate_bytes(opened)
        require_space(self.directory, total, "a backup")
        self.run_pg_dump(program, snapshot, lambda size: self.note(DUMP_SHARE * min(size / total, 1), "dumping"))
        contents = read_contents(
            opened, lambda share: self.note(DUMP_SHARE + (1 - DUMP_SHARE) * share, "counting and hashing rows")
        )
        return {
            "product": __version__,
            "postgresql": opened.info.parameter_status("server_version"),
            "pg_dump": read_version(program),
            "database": described,
            "table_bytes": sum(table.size_bytes for table in list_tables(opened)),
            "sequences": sequences,
            **contents,
        }

    def estimate_bytes(self, opened: psycopg.Connection[Any]) -> float:
        """Return how large the file will become, by the ratio of the last one."""
        sizes = (each.manifest for each in list_stored(self.directory) if each.manifest.get("table_bytes"))
        last = next(sizes, None)
        ratio = last["size"] / last["table_bytes"] if last else USUAL_COMPRESSION
        return max(ratio * sum(table.size_bytes for table in list_tables(opened)), 1)

    def run_pg_dump(self, program: str, snapshot: str, on_bytes: Callable[[int], None]) -> None:
        argv = [program, "--format=custom", f"--compress={COMPRESSION_LEVEL}", f"--snapshot={snapshot}"]
        argv += ["--no-password", f"--lock-wait-timeout={MAX_LOCK_WAIT_MS}"]
        open_private(self.draft).close()
        if self.key is None:
            with run_program([*argv, f"--file={self.draft}"], build_environment(), low_priority=True) as running:
                on_bytes(0)
                while running.is_running(POLL_SECONDS):
                    on_bytes(self.draft.stat().st_size)
                running.finish()
        else:
            with run_program(argv, build_environment(), low_priority=True, stdout=PIPE) as running:
                self.encrypt(running, self.key, on_bytes)
                running.finish()

    def encrypt(self, running: RunningProgram, key: bytes, on_bytes: Callable[[int], None]) -> None:
        with self.draft.open("wb") as file:
            writer = EncryptingWriter(file, key)
            while piece := running.process.stdout.read(READ_BYTES):  # type: ignore[union-attr]
                writer.write(piece)
                on_bytes(file.tell())
            writer.finish()

    def publish(self, manifest: Manifest) -> None:
        """Give the file its name and write the manifest, in this order: only what has a manifest counts."""
        sync(self.draft)
        give_to_owner(self.draft)
        manifest |= {"size": self.draft.stat().st_size, "sha256": hash_file(self.draft)}
        manifest |= {"encryption": {"key_id": identify_key(self.key)} if self.key else None, "verification": None}
        manifest |= {"written_at": datetime.now(UTC).isoformat()}
        self.lease.check()  # a process that stood still may have been taken for dead
        publish(self.draft, self.path)
        write_manifest(self.directory / f"{self.name}.json", manifest)


@contextmanager
def open_snapshot() -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    """Provide an exported snapshot and the connection whose transaction reads it. Both end with the block."""
    with connect() as opened:
        opened.isolation_level, opened.read_only = IsolationLevel.REPEATABLE_READ, True
        with opened.transaction():
            prepare_session(opened, parallel=False)
            yield fetch_value(opened, "SELECT pg_export_snapshot()"), opened


def choose_name(directory: Path, started: datetime) -> str:
    """Return a name that says when; two of one second get a number."""
    first = f"memory-{started:%Y-%m-%dT%H%M%SZ}"
    names = [first, *(f"{first}-{number}" for number in range(2, 100))]
    taken = {path.name.partition(".")[0] for path in directory.iterdir()}
    taken |= set(Backup.objects.filter(name__startswith=first).values_list("name", flat=True))
    return next(name for name in names if name not in taken)
