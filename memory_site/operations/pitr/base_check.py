"""Checks a base backup against PostgreSQL's `backup_manifest`, as pg_verifybackup does, and against our own manifest.

PostgreSQL's manifest has size and SHA-256 of every file but those of the log, and its own SHA-256. Ours has those of
the log and of that manifest, and is signed. So every changed bit of every file is found, and named with its file.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_site.operations.files import hash_file
from memory_site.operations.pitr.repository import Base

PG_MANIFEST = "backup_manifest"
#: The manifest's last line; its checksum covers everything before that line.
MANIFEST_CHECKSUM = re.compile(rb'\A(?P<body>.*\n)"Manifest-Checksum": "(?P<hash>[0-9a-f]{64})"\}\n\Z', re.DOTALL)
Advance = Callable[[int], None]


def ignore_progress(done: int) -> None:
    pass


@dataclass(frozen=True)
class FileProblem:
    """What is wrong with a file of a base backup; its path is relative to the backup."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


@dataclass(frozen=True)
class ExpectedFile:
    size: int
    sha256: str


def check_base(base: Base, advance: Advance = ignore_progress) -> list[FileProblem]:
    """Return what is wrong with a base backup, in the order of the paths. `advance` gets the bytes read, bit by bit."""
    expected = dict(list_own_files(base.manifest))
    try:
        listed = read_pg_manifest(base.directory / PG_MANIFEST, base.manifest["system_identifier"])
    except (OSError, ValueError) as error:
        # Without its list nothing more can be said of the other files.
        return [FileProblem(PG_MANIFEST, describe(error)), *check_files(base.directory, expected, advance)]
    return list(check_directory(base.directory, listed | expected, advance))


def list_own_files(manifest: dict[str, Any]) -> Iterator[tuple[str, ExpectedFile]]:
    for path, (size, sha256) in manifest["own_files"].items():
        yield path, ExpectedFile(size, sha256)


def read_pg_manifest(path: Path, system_identifier: str) -> dict[str, ExpectedFile]:
    """Return the files that PostgreSQL's manifest lists. Raises OSError, and ValueError that says what is wrong."""
    match = MANIFEST_CHECKSUM.match(path.read_bytes())
    if match is None:
        raise ValueError("is no whole manifest: it does not end with its checksum")
    if hashlib.sha256(match["body"]).hexdigest() != match["hash"].decode():
        raise ValueError("is damaged: its checksum is another one")
    manifest = json.loads(match["body"] + b'"Manifest-Checksum": ""}')
    if str(manifest.get("System-Identifier", system_identifier)) != system_identifier:
        raise ValueError(f"is of the database {manifest['System-Identifier']}, not {system_identifier}")
    return {get_path(each): parse_file(each) for each in manifest["Files"]}


def get_path(entry: dict[str, Any]) -> str:
    """Return a file's path. One that is no UTF-8 is written in hex."""
    return entry["Path"] if "Path" in entry else os.fsdecode(bytes.fromhex(entry["Encoded-Path"]))


def parse_file(entry: dict[str, Any]) -> ExpectedFile:
    if entry.get("Checksum-Algorithm") != "SHA256":
        raise ValueError(f"has no SHA-256 of {get_path(entry)}")
    return ExpectedFile(entry["Size"], entry["Checksum"])


def check_directory(directory: Path, expected: dict[str, ExpectedFile], advance: Advance) -> Iterator[FileProblem]:
    """Compare a directory with what it must contain: nothing missing, nothing more, and each file as it was."""
    found = set(list_files(directory))
    problems = [FileProblem(path, "is in the backup, but not in its manifest") for path in found - expected.keys()]
    problems += check_files(directory, expected, advance)
    yield from sorted(problems, key=lambda problem: problem.path)


def list_files(directory: Path) -> Iterator[str]:
    """Yield the relative paths of everything but directories. One that cannot be listed shows by its missing files."""
    for parent, directories, files in os.walk(directory):
        links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(parent, name), directory)


def check_files(directory: Path, expected: dict[str, ExpectedFile], advance: Advance) -> list[FileProblem]:
    checked = ((path, check_file(directory / path, expected[path], advance)) for path in sorted(expected))
    return [FileProblem(path, problem) for path, problem in checked if problem]


def check_file(path: Path, expected: ExpectedFile, advance: Advance) -> str | None:
    """Return what is wrong with a file, or None."""
    try:
        if path.is_symlink() or not path.is_file():
            return "is missing" if not os.path.lexists(path) else "is no regular file"
        if (size := path.stat().st_size) != expected.size:
            return f"has {size:,} bytes instead of {expected.size:,}"
        return None if hash_file(path, advance) == expected.sha256 else "is damaged: its SHA-256 is another one"
    except OSError as error:
        return describe(error)


def describe(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
