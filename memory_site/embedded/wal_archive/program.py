"""The program that PostgreSQL calls for each file of its write-ahead log: `store` archives it, `fetch` brings it back.

    python -I -S -E program.py store SETTINGS.json PATH NAME
    python -I -S -E program.py fetch SETTINGS.json NAME PATH

It runs as PostgreSQL's user in the database's directory, once for 16 MB of log. So it needs the standard library alone
and starts without `site`; other modules may import it. An archived file is named after its content,
`NAME-<SHA-256 in hex>.gz`: what is damaged says so by itself, and comes into being in one step, by its rename.

`store` never lets PostgreSQL die of a full disk. While the archive cannot be written, PostgreSQL keeps the log. When
what waits exceeds the limit, the file is given up: `store` notes a gap and answers success, and PostgreSQL goes on.
"""

import errno
import gzip
import hashlib
import io
import json
import os
import re
import select
import shutil
import signal
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

MB = 1024 * 1024
SEGMENT_BYTES = 16 * MB
#: Files of the log: a segment (also the unfinished last one of a timeline), the mark of a base backup, a history.
WAL_NAME = re.compile(r"[0-9A-F]{8}(?:\.history|[0-9A-F]{16}(?:\.partial|\.[0-9A-F]{8}\.backup)?)")
STORED_NAME = re.compile(rf"(?P<name>{WAL_NAME.pattern})-(?P<hash>[0-9a-f]{{64}})\.gz")
GAPS_FILE, STUCK_FILE = "pitr-gaps.jsonl", "pitr-stuck.pid"
#: Level 1 takes half the time of level 6 and leaves a tenth more.
COMPRESSION_LEVEL = 1
#: Seconds after which an archive that does not answer counts as away.
ARCHIVE_TIMEOUT_SECONDS = 60
#: The archive may not fill the disk of the database: so much stays free, and never more than a twentieth of the disk.
RESERVED_BYTES = 1024 * MB
#: XLogLongPageHeaderData: the system's identifier stands behind the 24 bytes of XLogPageHeaderData.
SYSTEM_IDENTIFIER_OFFSET = 24
#: PostgreSQL gives up recovery when its restore_command ends with more than 125, and else believes that the log ends.
EXIT_FAILED, EXIT_ABORT_RECOVERY = 1, 200


class WalProblem(Exception):
    """A file of the log cannot be archived or fetched. The message says why, and names the file."""


class DamagedFile(WalProblem):
    """The content of an archived file is not what its name says."""


def main(arguments: list[str]) -> int:
    verb, settings_path, *operands = arguments
    try:
        settings = json.loads(Path(settings_path).read_text())
        if verb == "fetch":
            return fetch(settings, *operands)
        store_or_give_up(Path(settings_path), settings, *operands)
    except (WalProblem, OSError, ValueError) as error:
        print(f"WAL archive: {describe(error)}", file=sys.stderr)
        return EXIT_ABORT_RECOVERY if verb == "fetch" else EXIT_FAILED
    return 0


def store_or_give_up(settings_path: Path, settings: dict[str, Any], path: str, name: str) -> None:
    """Archive a file of the log, or give it up if the disk of the database would fill. Raises WalProblem, OSError."""
    if not settings["enabled"]:
        return
    try:
        store_in_time(settings, Path(path), name, settings_path.with_name(STUCK_FILE))
    except (OSError, WalProblem) as error:
        waiting = measure_waiting()
        limit = measure_limit(settings, waiting)
        if waiting <= limit:
            raise
        reason = f"{describe(error)}; {waiting // MB} MB wait, and the limit is {limit // MB} MB"
        note_gap(settings_path.with_name(GAPS_FILE), name, reason)
        print(f"WAL archive: {name} is given up, recovery cannot pass it: {reason}", file=sys.stderr)


def store_in_time(settings: dict[str, Any], path: Path, name: str, stuck_file: Path) -> None:
    """Archive in a child of its own: a network file system may hang so that no signal ends the one who waits for it.

    Raises what the child found, and TimeoutError when it does not end. While it hangs no second one is started.
    """
    if is_stuck(stuck_file):
        raise TimeoutError(errno.ETIMEDOUT, "an earlier attempt still waits for the archive")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(store_in_child(settings, path, name, writer))
    os.close(writer)
    if not select.select([reader], [], [], ARCHIVE_TIMEOUT_SECONDS)[0]:
        os.kill(child, signal.SIGKILL)
        stuck_file.write_text(f"{child} {read_start_time(child)}")
        raise TimeoutError(errno.ETIMEDOUT, "the archive does not answer")
    with os.fdopen(reader) as pipe:
        problem = pipe.read()
    if os.waitpid(child, 0)[1] or problem:
        raise WalProblem(problem or "the archiving process was killed")


def store_in_child(settings: dict[str, Any], path: Path, name: str, writer: int) -> int:
    """Archive, and write what is wrong into the pipe. Return the exit code."""
    try:
        check_reserve(Path(settings["archive"]))
        store(Path(settings["archive"]) / "wal", path, name, settings["system_identifier"])
    except BaseException as error:
        os.write(writer, describe(error).encode())
        return EXIT_FAILED
    return 0


def is_stuck(stuck_file: Path) -> bool:
    """Return whether the child of an earlier call, which was killed, still waits for the system."""
    try:
        process, started = stuck_file.read_text().split(" ")
        os.kill(int(process), 0)
    except (OSError, ValueError):
        return False
    return read_start_time(int(process)) == started


def read_start_time(process: int) -> str:
    """Return when a process began, which tells it from a later one of that number; empty where no /proc says so."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def store(directory: Path, path: Path, name: str, system_identifier: str) -> Path:
    """Archive a file durably and return its archived path. Nothing happens if it was archived before.

    Raises WalProblem if another file of that name was, or if it is of another database; OSError.
    """
    data = path.read_bytes()
    check_origin(data, name, system_identifier)
    for stored, content in read_stored(directory, name):
        if content != data:
            raise WalProblem(f"{name} was archived before with another content, as {stored.name}")
        return stored
    packed = pack(data, int(path.stat().st_mtime))
    target = directory / f"{name}-{hashlib.sha256(packed).hexdigest()}.gz"
    write_durably(target, packed)
    return target


def check_origin(data: bytes, name: str, system_identifier: str) -> None:
    """Raise WalProblem for a segment that another database wrote."""
    if not re.fullmatch(r"[0-9A-F]{24}(?:\.partial)?", name):
        return
    if len(data) < SYSTEM_IDENTIFIER_OFFSET + 8:
        raise WalProblem(f"{name} is cut: it has {len(data)} bytes")
    (found,) = struct.unpack_from("=Q", data, SYSTEM_IDENTIFIER_OFFSET)
    if str(found) != system_identifier:
        raise WalProblem(f"{name} is of the database {found}, and this is the archive of {system_identifier}")


def find_stored(directory: Path, name: str) -> list[Path]:
    """Return the archived files of that name: one, or two if one was damaged."""
    with os.scandir(directory) as entries:
        found = [entry.name for entry in entries if entry.name.startswith(f"{name}-")]
    return [directory / each for each in sorted(found) if STORED_NAME.fullmatch(each)]


def read_stored(directory: Path, name: str) -> list[tuple[Path, bytes]]:
    """Return the whole archived files of that name with their contents. A damaged one is put aside."""
    found = []
    for stored in find_stored(directory, name):
        try:
            found.append((stored, unpack(stored)))
        except DamagedFile:
            stored.rename(stored.with_name(f"{stored.name}.damaged"))
    return found


def pack(data: bytes, finished_at: int) -> bytes:
    """Compress; the header of gzip says when PostgreSQL wrote the last of it (seconds of the epoch)."""
    buffer = io.BytesIO()
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=buffer, mtime=finished_at
    ) as file:
        file.write(data)
    return buffer.getvalue()


def unpack(stored: Path) -> bytes:
    """Return what was archived. Raises DamagedFile, OSError."""
    packed = read_checked(stored)
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{stored.name} is damaged: {error}") from None


def read_checked(stored: Path) -> bytes:
    """Return the bytes of an archived file. Raises DamagedFile if they are not those that its name promises."""
    match = STORED_NAME.fullmatch(stored.name)
    packed = stored.read_bytes()
    if match is None or hashlib.sha256(packed).hexdigest() != match["hash"]:
        raise DamagedFile(f"{stored.name} is damaged: its content is not what its name says")
    return packed


def write_durably(target: Path, data: bytes) -> None:
    """Write a file, mode 0600, so that it is there completely or not at all, also after a crash."""
    draft = target.with_name(f"{target.name}.partial")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    draft.rename(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_reserve(archive: Path) -> None:
    """Raise OSError if the archive is on the database's disk, and that is nearly full."""
    if os.stat(archive).st_dev != os.stat("pg_wal").st_dev:
        return
    info = os.statvfs(archive)
    reserve = min(RESERVED_BYTES, info.f_blocks * info.f_frsize // 20)
    if info.f_bavail * info.f_frsize < reserve:
        raise OSError(errno.ENOSPC, f"less than {reserve // MB} MB are free on the disk of the database")


def measure_waiting() -> int:
    """Return the bytes of the log that PostgreSQL keeps because they are not archived."""
    return sum(entry.name.endswith(".ready") for entry in os.scandir("pg_wal/archive_status")) * SEGMENT_BYTES


def measure_limit(settings: dict[str, Any], waiting: int) -> int:
    """Return the bytes of the log that may wait for the archive: half of what is free beyond PostgreSQL's own growth.

    It removes or reuses segments only at a checkpoint, and lets them become `max_wal_bytes` until then.
    """
    info = os.statvfs("pg_wal")
    present = sum(entry.stat().st_size for entry in os.scandir("pg_wal") if entry.is_file())
    growth = max(0, settings["max_wal_bytes"] - (present - waiting))
    return min(settings["max_waiting_bytes"], max(0, info.f_bavail * info.f_frsize - growth) // 2)


def note_gap(path: Path, name: str, reason: str) -> None:
    """Note which file is missing and why. If the disk is full, the hole in the archive has to say it alone."""
    line = json.dumps({"segment": name, "at": int(time.time()), "reason": reason}) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(line)
    except OSError as error:
        print(f"WAL archive: the gap cannot be noted: {describe(error)}", file=sys.stderr)


def fetch(settings: dict[str, Any], name: str, path: str) -> int:
    """Bring back a file of the log: from the archive, or from the log of the server that wrote it.

    Returns 0, or 1 if neither has it, which tells PostgreSQL that the log ends. Raises DamagedFile and OSError, which
    must not pass for the end of the log.
    """
    damage: DamagedFile | None = None
    for stored in find_stored(Path(settings["archive"]) / "wal", name):
        try:
            Path(path).write_bytes(unpack(stored))
            return 0
        except DamagedFile as error:
            damage = error
    for directory in filter(None, [settings["live_wal"]]):
        if (Path(directory) / name).is_file():
            shutil.copyfile(Path(directory) / name, path)
            return 0
    if damage is not None:
        raise damage
    return EXIT_FAILED


def describe(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
