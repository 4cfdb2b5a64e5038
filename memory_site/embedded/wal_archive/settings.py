"""The settings of recovery to a moment, in the data directory, and those of PostgreSQL that follow from them.

PostgreSQL's settings are computed at each of its starts, so that they name this release's program, wherever it and the
data directory are now. Its archive program reads the file at each call: what it says there holds at once.
"""

import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.wal_archive import program

SETTINGS_FILE = "pitr.json"
PROGRAM = Path(program.__file__).resolve()
#: Of the virtual environment's interpreter: it starts without `site`, so it needs nothing but the standard library.
PYTHON = Path(sys.executable).resolve()


@dataclass(frozen=True)
class ArchiveSettings:
    """What `pitr enable` stored. `archive` is the directory of base backups and log, `max_wal_bytes` PostgreSQL's
    max_wal_size.
    """

    enabled: bool
    archive: str
    system_identifier: str
    max_waiting_bytes: int
    max_wal_bytes: int
    archive_timeout: int
    keep_bases: int

    @classmethod
    def read(cls, home: DataDirectory) -> Self | None:
        """Return the settings, or None if recovery to a moment was never enabled here."""
        try:
            return cls(**json.loads((home.path / SETTINGS_FILE).read_text()))
        except FileNotFoundError:
            return None

    def write(self, home: DataDirectory) -> None:
        path = home.path / SETTINGS_FILE
        program.write_durably(path, json.dumps(asdict(self), indent=1).encode())
        home.chown_to_servers(path)


def build_server_settings(home: DataDirectory) -> dict[str, str]:
    """Return PostgreSQL's settings that archive its log, or none."""
    settings = ArchiveSettings.read(home)
    if settings is None or not settings.enabled:
        return {}
    return {
        "archive_mode": "on",
        "archive_command": f'{build_command("store", home.path / SETTINGS_FILE)} "%p" "%f"',
        "archive_timeout": str(settings.archive_timeout),
    }


def list_programs(home: DataDirectory) -> tuple[Path, ...]:
    """Return the files that PostgreSQL's user must be able to read to archive the log."""
    return (PYTHON, PROGRAM) if build_server_settings(home) else ()


def build_restore_command(settings_file: Path) -> str:
    """Return PostgreSQL's restore_command, which reads `{archive, live_wal}` from the file."""
    return f'{build_command("fetch", settings_file)} "%f" "%p"'


def build_command(verb: str, settings_file: Path) -> str:
    words = [str(PYTHON), "-I", "-S", "-E", str(PROGRAM), verb, str(settings_file.resolve())]
    return shlex.join(words).replace("%", "%%")
