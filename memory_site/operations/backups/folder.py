"""The folder of backups: what is in it, by name, with the state that its manifests give."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from memory_site.operations.backups.manifest import Manifest, read_manifest, write_manifest
from memory_site.operations.backups.problems import (
    BackupProblem,
    BackupsNotConfigured,
    DamagedBackup,
    ForeignManifest,
    ManifestProblem,
    UnknownBackup,
)
from memory_site.operations.files import hash_file
from memory_site.operations.models import BackupState

LATEST = "latest"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
DUMP_SUFFIX, ENCRYPTED_SUFFIX, PARTIAL_SUFFIX = ".dump", ".dump.enc", ".partial"
MAX_SIZE = 1 << 62  # bytes; a column of the table of backups holds twice as much
FOREIGN = "foreign"
#: What is dated later than that was made by a clock that went wrong.
MAX_CLOCK_ERROR = timedelta(minutes=5)
NOT_CONFIGURED = "There is no directory for backups: name one in BACKUP_DIR, best on another disk than the database's."


AnyBackup = TypeVar("AnyBackup", bound="StoredBackup")


@dataclass(frozen=True)
class StoredBackup:
    """A backup of the folder. `problem` says what its manifest or the presence of its file alone show to be wrong."""

    name: str
    directory: Path
    manifest: Manifest
    problem: str = ""
    is_foreign: bool = False

    @property
    def path(self) -> Path:
        """The file of pg_dump."""
        return self.directory / self.manifest.get("file", f"{self.name}{DUMP_SUFFIX}")

    @property
    def manifest_path(self) -> Path:
        return self.directory / f"{self.name}.json"

    @property
    def state(self) -> str:
        """`written`, `verified`, `bad` or, when its signature is another site's, `foreign`."""
        if self.problem:
            return FOREIGN if self.is_foreign else BackupState.BAD
        return self.verification.get("state", BackupState.WRITTEN)

    @property
    def is_verified(self) -> bool:
        return self.state == BackupState.VERIFIED

    @property
    def message(self) -> str:
        return self.problem or self.verification.get("message", "")

    @property
    def verification(self) -> dict[str, Any]:
        return self.manifest.get("verification") or {}

    @property
    def started_at(self) -> datetime:
        """The time of the snapshot; for a manifest that cannot be read the file's, also that of a dangling link."""
        if "started_at" in self.manifest:
            return datetime.fromisoformat(self.manifest["started_at"])
        return datetime.fromtimestamp(self.manifest_path.lstat().st_mtime, UTC)

    @property
    def size_bytes(self) -> int | None:
        return self.manifest.get("size")

    @property
    def pinned(self) -> bool:
        return bool(self.manifest.get("pinned"))

    @property
    def encrypted(self) -> bool:
        return self.manifest.get("encryption") is not None

    def change(self, **values: Any) -> "StoredBackup":
        """Write the manifest with other values, signed again. Return the backup as it is then."""
        changed = self.manifest | values
        write_manifest(self.manifest_path, changed)
        return replace(self, manifest=changed)

    def delete(self) -> None:
        """Delete the manifest first: a file without a manifest counts as nothing."""
        self.manifest_path.unlink(missing_ok=True)
        for suffix in (DUMP_SUFFIX, ENCRYPTED_SUFFIX):
            (self.directory / f"{self.name}{suffix}").unlink(missing_ok=True)


def get_directory() -> Path:
    """Return the folder, which may not exist yet. Raises BackupsNotConfigured."""
    if settings.BACKUP_DIR is None:
        raise BackupsNotConfigured(NOT_CONFIGURED)
    return Path(settings.BACKUP_DIR)


def prepare_directory() -> Path:
    """Create the folder if it is missing, mode 0700, and return it. Raises BackupProblem."""
    directory = get_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise BackupProblem(f"{directory} cannot be written: give it to the user that the site runs as.")
        if settings.EMBEDDED and directory.stat().st_uid == 0:
            settings.HOME.chown_to_servers(directory)  # the archive of their log is in it
    except OSError as error:
        raise BackupProblem(f"{directory} cannot be used for backups: {error.strerror}.") from None
    return directory


def list_stored(directory: Path | None = None) -> list[StoredBackup]:
    """Return every backup of the folder, youngest first. Raises BackupProblem.

    Files whose names no backup can have are left alone.
    """
    directory = directory or get_directory()
    try:
        names = [path.stem for path in directory.glob("*.json")] if directory.exists() else []
        found = [read_stored(directory, name) for name in names if NAME_PATTERN.fullmatch(name)]
        present = [each for each in found if os.path.lexists(each.manifest_path)]  # not deleted meanwhile
        return sorted(present, key=lambda each: each.started_at, reverse=True)
    except OSError as error:
        raise BackupProblem(f"{directory} cannot be read: {error.strerror}.") from None


def read_stored(directory: Path, name: str) -> StoredBackup:
    """Return the backup of that name, also one that cannot be read."""
    path = directory / f"{name}.json"
    try:
        manifest = read_manifest(path)
    except ForeignManifest as error:
        return StoredBackup(name, directory, describe_foreign(path), str(error), is_foreign=True)
    except ManifestProblem as error:
        return StoredBackup(name, directory, {}, str(error))
    stored = StoredBackup(name, directory, manifest)
    return replace(stored, problem=find_obvious_problem(stored))


def describe_foreign(path: Path) -> Manifest:
    """Return what a list shows of a manifest of another site: time, size and file, if they can be true."""
    manifest = read_manifest(path, trust_foreign=True)
    try:
        started = datetime.fromisoformat(manifest["started_at"]).astimezone(UTC)
        size, file = int(manifest["size"]), manifest["file"]
    except (KeyError, TypeError, ValueError, OverflowError):
        return {}
    if not 0 <= size < MAX_SIZE or file not in list_possible_files(path.stem):
        return {}
    encryption: dict[str, str] | None = {} if file.endswith(ENCRYPTED_SUFFIX) else None
    return {"started_at": started.isoformat(), "size": size, "file": file, "encryption": encryption}


def list_possible_files(name: str) -> tuple[str, str]:
    return f"{name}{DUMP_SUFFIX}", f"{name}{ENCRYPTED_SUFFIX}"


def find_obvious_problem(stored: StoredBackup) -> str:
    """Return what is wrong without reading the file; empty: nothing is."""
    if stored.manifest["name"] != stored.name or stored.manifest["file"] not in list_possible_files(stored.name):
        return f"{stored.manifest_path.name} is the manifest of another backup, {stored.manifest['name']}."
    if not stored.path.exists():
        return f"{stored.path.name} is missing."
    size = stored.path.stat().st_size
    if size != stored.size_bytes:
        return f"{stored.path.name} has {size:,} bytes instead of {stored.size_bytes:,}."
    return ""


def find_stored(name: str) -> StoredBackup:
    """Return a backup by its name, or by `latest`, which is the youngest that this site made. Raises UnknownBackup."""
    directory = get_directory()
    if name == LATEST:
        own = [each for each in list_stored(directory) if each.manifest and not each.is_foreign]
        if not own:
            raise UnknownBackup(f"There is no backup in {directory}; `backup` makes one.")
        return leave_out_future(own)[0]
    if NAME_PATTERN.fullmatch(name) is None or not (directory / f"{name}.json").exists():
        known = ", ".join(each.name for each in list_stored(directory)[:10]) or "none yet"
        raise UnknownBackup(f"There is no backup {name!r} in {directory} (existing: {known}).")
    return read_stored(directory, name)


def leave_out_future(backups: Sequence[AnyBackup]) -> Sequence[AnyBackup]:
    """Return the backups without those that are dated in the future; all if none of the others is verified."""
    limit = datetime.now(UTC) + MAX_CLOCK_ERROR
    past = [each for each in backups if each.started_at <= limit]
    return past if any(each.is_verified for each in past) else backups


def check_file(stored: StoredBackup, on_share: Callable[[float], None] = lambda share: None) -> None:
    """Read the whole file and compare it with the manifest. Raises DamagedBackup, which names it."""
    if stored.problem:
        raise DamagedBackup(stored.problem)
    done = 0

    def note(size: int) -> None:
        nonlocal done
        done += size
        on_share(done / max(stored.size_bytes or 1, 1))

    try:
        digest = hash_file(stored.path, note)
    except OSError as error:
        raise DamagedBackup(f"{stored.path.name} cannot be read: {error.strerror}.") from None
    if digest != stored.manifest["sha256"]:
        raise DamagedBackup(f"{stored.path.name} is damaged: its SHA-256 is not the manifest's.")
