"""Copies backups to BACKUP_TARGET and back: the dump first, its manifest last, so that a copy with a manifest is
whole."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from memory_site.operations.backups.folder import (
    FOREIGN,
    LATEST,
    StoredBackup,
    find_stored,
    get_directory,
    leave_out_future,
    list_possible_files,
    prepare_directory,
    read_stored,
)
from memory_site.operations.backups.manifest import parse_manifest
from memory_site.operations.backups.problems import ForeignManifest, ManifestProblem, UnknownBackup
from memory_site.operations.backups.rows import describe_stored
from memory_site.operations.files import write_durably
from memory_site.operations.offsite.target import OffsiteProblem, OnBytes, Target

NOT_SET = "There is no place for copies: name one in BACKUP_TARGET, such as s3://bucket/folder."
MANIFEST_SUFFIX = ".json"
#: A file is sent, and read back.
PASSES = 2

OnShare = Callable[[float], None]


@dataclass(frozen=True)
class CopiedBackup(StoredBackup):
    """A backup at BACKUP_TARGET. `directory` is where it would be fetched to."""

    @property
    def started_at(self) -> datetime:
        started = self.manifest.get("started_at")
        return datetime.fromisoformat(started) if started else datetime.min.replace(tzinfo=UTC)


def open_target() -> Target:
    """Connect to BACKUP_TARGET. Raises OffsiteProblem."""
    if settings.BACKUP_TARGET is None:
        raise OffsiteProblem(NOT_SET)
    return Target(settings.BACKUP_TARGET)


def is_copied(stored: StoredBackup, files: Mapping[str, int]) -> bool:
    """Return whether the target has the file and the manifest as they are here. Verifying and pinning change the
    manifest's size."""
    size = stored.manifest_path.stat().st_size
    return has_file(stored, files) and files.get(stored.manifest_path.name) == size


def has_file(stored: StoredBackup, files: Mapping[str, int]) -> bool:
    return files.get(stored.path.name) == stored.size_bytes and stored.manifest_path.name in files


def copy_backup(stored: StoredBackup, target: Target, on_share: OnShare = lambda share: None) -> None:
    """Copy what the target lacks of a backup, and read it back. Raises OffsiteProblem."""
    if not has_file(stored, target.list_files()):
        target.upload(stored.path, stored.path.name, count_share(PASSES * (stored.size_bytes or 0), on_share))
    target.write(stored.manifest_path.name, stored.manifest_path.read_bytes())


def count_share(total: int, on_share: OnShare) -> OnBytes:
    """Return a function that gets numbers of bytes and reports the share that is done."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_share(min(done / max(total, 1), 1))

    return count


def list_copies(target: Target, directory: Path) -> list[CopiedBackup]:
    """Return the target's backups, youngest first, also those that cannot be read."""
    return sorted(iter_copies(target, directory), key=lambda each: each.started_at, reverse=True)


def list_offsite() -> list[dict[str, Any]]:
    """Return what a list shows of each backup at BACKUP_TARGET. Raises OffsiteProblem."""
    return [describe_stored(copy, None) | {"offsite": "copied"} for copy in list_copies(open_target(), get_directory())]


def iter_copies(target: Target, directory: Path) -> Iterator[CopiedBackup]:
    files = target.list_files()
    for name in files:
        if name.endswith(MANIFEST_SUFFIX):
            yield read_copy(target, directory, name.removesuffix(MANIFEST_SUFFIX), files)


def read_copy(target: Target, directory: Path, name: str, files: Mapping[str, int]) -> CopiedBackup:
    """Return a copy by its manifest, also one that cannot be read. `files` has the sizes of what is there."""
    data = target.read(f"{name}{MANIFEST_SUFFIX}") or b""
    try:
        manifest = parse_manifest(data, f"{name}{MANIFEST_SUFFIX}")
    except ForeignManifest as error:
        return CopiedBackup(name, directory, {}, str(error), is_foreign=True)
    except ManifestProblem as error:
        return CopiedBackup(name, directory, {}, str(error))
    copy = CopiedBackup(name, directory, manifest)
    if manifest["name"] == name and manifest["file"] in list_possible_files(name) and has_file(copy, files):
        return copy
    return CopiedBackup(name, directory, manifest, f"{target.url} has no whole copy of {name}.")


def remove_copy(copy: StoredBackup, target: Target) -> None:
    """Remove the manifest first: a file without a manifest counts as nothing."""
    for name in (copy.manifest_path.name, copy.path.name):
        target.remove(name)


def find_anywhere(name: str, on_share: OnShare = lambda share: None) -> StoredBackup:
    """Return a backup of the folder, or fetch it from BACKUP_TARGET. Raises UnknownBackup, OffsiteProblem."""
    try:
        return find_stored(name)
    except UnknownBackup:
        if settings.BACKUP_TARGET is None:
            raise
        return fetch(name, open_target(), on_share)


def fetch(name: str, target: Target, on_share: OnShare = lambda share: None) -> StoredBackup:
    """Copy a backup from the target into the folder. Its file is compared with the manifest when it is used."""
    copy = choose_copy(name, target)
    directory = prepare_directory()
    target.download(copy.path.name, copy.path, count_share(copy.size_bytes or 0, on_share))
    write_durably(copy.manifest_path, target.read(copy.manifest_path.name) or b"")
    return read_stored(directory, copy.name)


def choose_copy(name: str, target: Target) -> CopiedBackup:
    """Return the copy of that name, or the latest. Raises UnknownBackup, or the copy's problem as OffsiteProblem."""
    copies = list_copies(target, get_directory())
    latest = leave_out_future([copy for copy in copies if not copy.problem])[:1]
    matching = latest if name == LATEST else [copy for copy in copies if copy.name == name]
    if not matching:
        known = ", ".join(copy.name for copy in copies if copy.state != FOREIGN) or "none"
        raise UnknownBackup(f"There is no backup {name!r}, neither in {get_directory()} nor at {target.url} ({known}).")
    if matching[0].problem:
        raise OffsiteProblem(matching[0].problem)
    return matching[0]
