"""A data directory that no site has used yet, made once for all workers: its database is migrated and empty."""

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from memory_site.embedded.data_dir import LAYOUT_MARKER, DataDirectory
from memory_site.operations.selftest.scratch_site import run_manage
from tests import NEW_SITE_VARIABLE

#: What a first start does not make quickly by itself.
KEPT = (LAYOUT_MARKER, "secrets", "postgres")


def copy_new_site(path: Path) -> None:
    """Make a data directory in a fraction of the time that its migration takes, with the owners that servers need."""
    path.mkdir(mode=0o700, parents=True)
    source = make_new_site()
    shutil.chown(path, source.stat().st_uid, source.stat().st_gid)
    copy_files(*(source / name for name in KEPT), to=path)


def copy_new_database(home: DataDirectory) -> None:
    """Give a data directory without a database that of a new site, and the passwords with which it is reached."""
    source = make_new_site()
    copy_files(source / "postgres", to=home.path)
    copy_files(*(source / "secrets" / name for name in ("postgres", "database")), to=home.path / "secrets")


def copy_files(*files: Path, to: Path) -> None:
    """Copy files and directories with their owners."""
    subprocess.run(["cp", "--archive", *map(str, files), str(to)], check=True)


@cache
def make_new_site() -> Path:
    """Return the original, which the first caller makes while others wait."""
    directory = Path(os.environ[NEW_SITE_VARIABLE])
    draft, made = directory / "draft", directory / "new-site"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            result = run_manage("migrate", "--skip-checks", DATA_DIR=str(draft), EMBEDDER="hashing")
            assert result.returncode == 0, result.stderr
            draft.rename(made)
    return made
