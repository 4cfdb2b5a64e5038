"""Base backups by pg_basebackup: written under a name of its own, checked, and then named as whole."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import MB, Postgres, find_bin_directory
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.backups.manifest import write_manifest
from memory_site.operations.files import hash_file, sync
from memory_site.operations.pitr.base_check import PG_MANIFEST, check_base
from memory_site.operations.pitr.problems import PitrProblem
from memory_site.operations.pitr.repository import Base, Repository
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, fetch_row, read_position

#: What pg_basebackup reports: kilobytes done and in all.
PROGRESS = re.compile(rb"(\d+)/(\d+) kB")
#: Options of pg_basebackup: a copy whose log comes with it, and the SHA-256 of each file.
BACKUP_OPTIONS = (
    *("--format", "plain", "--wal-method", "stream", "--checkpoint", "fast"),
    *("--manifest-checksums", "SHA256", "--progress", "--no-password"),
)
Progress = Callable[[int, int], None]
SIZE_SQL = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"


def ignore_progress(done: int, total: int) -> None:
    pass


def take_base(home: DataDirectory, settings: ArchiveSettings, progress: Progress = ignore_progress) -> Base:
    """Make a base backup of the running server, check it, and remove what it makes superfluous.

    `progress` gets bytes done and in all. Raises PitrProblem, OperationalError; what is not whole is removed.
    """
    repository = Repository(Path(settings.archive))
    with connect_superuser(home) as connection:
        require_space(repository.bases, read_size(connection))
        base = write_base(home, repository, connection, progress)
    home.chown_to_servers(repository.bases / f"{base.name}.json")
    remove_superfluous(repository, settings.keep_bases, checked={base.name})
    return base


def read_size(connection: psycopg.Connection) -> int:
    return fetch_row(connection, SIZE_SQL)[0]


def require_space(directory: Path, size: int) -> None:
    """Raise PitrProblem if a copy of the database does not fit."""
    free = shutil.disk_usage(directory).free
    if free < size * 1.1 + 64 * MB:
        raise PitrProblem(
            f"{directory} has {free // MB:,} MB free, and the copy of the database needs {size // MB:,} MB."
        )


def write_base(home: DataDirectory, repository: Repository, connection: psycopg.Connection, progress: Progress) -> Base:
    """Copy the database under the name of a draft, check it, and give it its name. Raises PitrProblem."""
    started = read_position(connection)
    name = f"base-{started.now.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
    with draft_directory(repository.bases / f"{name}.partial") as draft:
        run_pg_basebackup(home, draft, progress)
        ended = fetch_row(connection, "SELECT clock_timestamp()")[0]
        manifest = build_manifest(draft, name, started.now, ended, started.system_identifier)
        require_good(Base(name, draft, manifest))
        draft.rename(repository.bases / name)
    sync(repository.bases)
    write_manifest(repository.bases / f"{name}.json", manifest)
    return Base(name, repository.bases / name, manifest)


@contextmanager
def draft_directory(path: Path) -> Iterator[Path]:
    """Name a directory that is removed unless the block renames it."""
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_pg_basebackup(home: DataDirectory, target: Path, progress: Progress) -> None:
    """Copy the server's data with the log that makes the copy consistent. Raises PitrProblem."""
    user = Postgres(home).run_as
    argv = [
        *user.prefix,
        str(find_bin_directory() / "pg_basebackup"),
        *("--pgdata", str(target), *BACKUP_OPTIONS),
        *("--host", str(home.sockets), "--port", "5432", "--username", "postgres"),
    ]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGPASSWORD": home.secret("postgres")}
    with subprocess.Popen(  # noqa: S603  (a program of the wheel)
        argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **user.credentials
    ) as process:
        try:
            said = report_progress(process, progress)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise PitrProblem(f"The base backup failed: {said}")


def report_progress(process: subprocess.Popen, progress: Progress) -> str:
    """Report the figures that the program writes, and return the last line that holds none."""
    said = b""
    assert process.stderr is not None  # noqa: S101  (for the type checker)
    for line in iter(lambda: read_until_return(process.stderr), b""):
        if match := PROGRESS.search(line):
            progress(int(match[1]) * 1024, int(match[2]) * 1024)
        elif line.strip():
            said = line.strip()
    return said.decode(errors="replace")


def read_until_return(stream: Any) -> bytes:
    """Return what a program wrote up to the end of a line or its return to the line's begin."""
    line = b""
    while (character := stream.read(1)) and character not in b"\r\n":
        line += character
    return line + character


def build_manifest(directory: Path, name: str, started: datetime, ended: datetime, system: str) -> dict[str, Any]:
    """Return our manifest. It has the checksums of what PostgreSQL's does not cover."""

    (wal_range,) = json.loads((directory / PG_MANIFEST).read_bytes())["WAL-Ranges"]
    own = [directory / PG_MANIFEST, *(path for path in (directory / "pg_wal").rglob("*") if path.is_file())]
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {
        "format": 1,
        "name": name,
        "started_at": started.isoformat(),
        "written_at": ended.isoformat(),
        "system_identifier": system,
        "postgresql": (directory / "PG_VERSION").read_text().strip(),
        "timeline": wal_range["Timeline"],
        "start_lsn": wal_range["Start-LSN"],
        "stop_lsn": wal_range["End-LSN"],
        "files": len(files),
        "size": sum(path.stat().st_size for path in files),
        "own_files": {str(path.relative_to(directory)): [path.stat().st_size, hash_file(path)] for path in own},
    }


def require_good(base: Base) -> None:
    if problems := check_base(base):
        raise PitrProblem(f"The base backup was written wrongly, and is removed: {problems[0]}")


def remove_superfluous(repository: Repository, keep: int, checked: Set[str] = frozenset()) -> None:
    """Remove all but the newest base backups, and the log that only older ones need.

    One that is damaged does not count, so the last good one stays. Those in `checked` were checked a moment ago.
    """
    remove_drafts(repository)
    repository.remove_leftovers()
    bases = repository.list_bases()
    good: list[Base] = []
    for base in reversed(bases):
        if len(good) < keep and (base.name in checked or not check_base(base)):
            good.append(base)
    if len(good) < keep:
        return
    for base in bases:
        if base.written_at < good[-1].written_at:
            remove_base(repository, base)
    remove_log_before(repository, min(base.start for base in good))


def remove_drafts(repository: Repository) -> None:
    """Remove what interrupted base backups left: a draft, and a directory whose manifest was not written."""
    for path in repository.bases.iterdir():
        if path.is_dir() and not path.with_name(f"{path.name}.json").exists():
            shutil.rmtree(path, ignore_errors=True)


def remove_base(repository: Repository, base: Base) -> None:
    """Remove the manifest first: a directory without one is no base backup."""
    (repository.bases / f"{base.name}.json").unlink(missing_ok=True)
    shutil.rmtree(base.directory, ignore_errors=True)


def remove_log_before(repository: Repository, position: int) -> None:
    """Remove the archived segments before the one that holds a position, of every timeline. Histories stay."""
    for name, path in repository.list_stored().items():
        segment = Segment.parse(name[:24])
        if segment and segment.number < Segment.at(segment.timeline, position).number:
            path.unlink(missing_ok=True)
