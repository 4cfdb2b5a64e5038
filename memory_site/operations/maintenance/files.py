"""Damaged pages in the server's files, found by a base backup into nothing: the server reads every file and compares
the checksum of each page, and what it would send is thrown away on its side.

A page that changes meanwhile is not compared. Nothing is found without data checksums.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from subprocess import PIPE, STDOUT, Popen

from django.conf import settings
from django.db import connection

from memory_site.embedded.postgres import find_bin_directory
from memory_site.operations.maintenance.findings import fetch
from memory_site.operations.maintenance.pages import FILE, DamagedPage, name_file

# `--checkpoint=fast`: the backup begins at a checkpoint, which is up to minutes away.
ARGUMENTS = (
    "--target=blackhole",
    "--wal-method=none",
    "--no-manifest",
    "--checkpoint=fast",
    "--progress",
    "--no-password",
)
FAILURE = re.compile(r'checksum verification failed in file "(?P<file>[^"]+)", block (?P<block>\d+)')
PROGRESS = re.compile(r"(\d+)/(\d+) kB")
#: What pg_basebackup says when a checksum was wrong, which is no failure here.
CHECKSUM_ERROR = "checksum error occurred"
SELECT_RIGHTS_SQL = """
SELECT current_setting('data_checksums')::bool, rolreplication OR rolsuper,
       (SELECT oid::text FROM pg_database WHERE datname = current_database())
FROM pg_roles WHERE rolname = current_user
"""


class FilesNotChecked(Exception):
    """The files cannot be compared with their checksums. The message says why."""


@dataclass(frozen=True)
class Access:
    """A program, and what it needs to connect with the right of REPLICATION."""

    program: str
    host: str
    port: str
    user: str
    password: str


def find_access() -> Access:
    """Return how a base backup can be made: in embedded mode by the server's superuser, else by the site's role.

    Raises FilesNotChecked.
    """
    has_checksums, may_replicate, _ = fetch(SELECT_RIGHTS_SQL)[0]
    if not has_checksums:
        raise FilesNotChecked("data checksums are off (pg_checksums --enable, while the server is stopped)")
    ours = connection.settings_dict
    if settings.EMBEDDED:
        program, password = str(find_bin_directory() / "pg_basebackup"), settings.HOME.secret("postgres")
        return Access(program, ours["HOST"], ours["PORT"], "postgres", password)
    if not may_replicate or settings.DATABASE_POOLER:
        raise FilesNotChecked("the role of DATABASE_URL has no right of REPLICATION, or a pooler stands between")
    program = shutil.which("pg_basebackup") or ""
    if not program:
        raise FilesNotChecked("pg_basebackup is not in PATH")
    return Access(program, ours["HOST"], str(ours["PORT"] or 5432), ours["USER"], ours["PASSWORD"])


def read_files() -> Iterator[tuple[int, int, list[DamagedPage]]]:
    """Read every file of the server. Yield kilobytes read, kilobytes in all, and the damaged pages so far.

    Raises FilesNotChecked.
    """
    access, found, last = find_access(), [], ""
    with start(access) as process:
        try:
            for line in iter_lines(process):
                if failure := FAILURE.search(line):
                    found.append(describe_page(failure["file"], int(failure["block"]), line))
                if progress := PROGRESS.search(line):
                    yield int(progress[1]), int(progress[2]), found
                else:
                    last = line or last
        finally:
            process.kill()
    if process.returncode > 0 and CHECKSUM_ERROR not in last:
        raise FilesNotChecked(last.removeprefix("pg_basebackup: error: "))


def start(access: Access) -> Popen:
    return subprocess.Popen(  # noqa: S603  (PostgreSQL's own program)
        [access.program, "-h", access.host, "-p", access.port, "-U", access.user, *ARGUMENTS],
        env={"PGPASSWORD": access.password, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"},
        stdin=subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
    )


def iter_lines(process: Popen) -> Iterator[str]:
    """Yield lines; one of progress ends with a carriage return on a terminal, else with a line feed."""
    assert process.stdout is not None  # noqa: S101  (PIPE)
    for line in process.stdout:
        yield line.strip()
    process.wait()


def describe_page(file: str, block: int, line: str) -> DamagedPage:
    """Return the page by the name of its relation; by that of its file if that is another database's."""
    match = FILE.search(file)
    own = fetch(SELECT_RIGHTS_SQL)[0][2]
    is_own = match is not None and match["database"] in (own, None)
    name, kind = (name_file(file) if is_own else None) or (file, "file")
    return DamagedPage(name, kind, block, line.removeprefix("WARNING:").strip())
