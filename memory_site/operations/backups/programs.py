"""PostgreSQL's client programs: found in the right version, run at low priority, ended with this process."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil
from django.conf import settings

from memory_site.embedded.postgres import find_bin_directory
from memory_site.embedded.processes import NotInstalled, die_with_parent
from memory_site.operations.backups.problems import BackupProblem

LOW_PRIORITY = 10
MAX_ERROR_LENGTH, MAX_ERROR_BYTES = 300, 1024 * 1024
#: How pg_dump and pg_restore begin a line.
PREFIX = re.compile(r"^pg_\w+: (error|warning|detail|hint): ", re.MULTILINE)


def find_program(name: str, server_version: int) -> str:
    """Return the path of the oldest program that is no older than the server's major version. Raises BackupProblem."""
    versions = {path: read_version(path) for path in list_candidates(name)}
    if fitting := [path for path, version in versions.items() if version >= server_version]:
        return min(fitting, key=lambda path: versions[path])
    found = f"{name} {max(versions.values())} is older than the server" if versions else f"{name} was not found"
    raise BackupProblem(f"{found}: install the client programs of PostgreSQL {server_version} or newer.")


def list_candidates(name: str) -> list[str]:
    """Return the bundled program and the system's, the better one first: the bundled one knows no TLS."""
    found = []
    with suppress(NotInstalled):
        bundled = find_bin_directory() / name
        found = [str(bundled)] if bundled.exists() else []
    system = shutil.which(name)
    candidates = [*found, *([system] if system else [])]
    return candidates if settings.EMBEDDED else candidates[::-1]


@cache
def read_version(path: str) -> int:
    """Return the major version of a program, 0 if it does not say."""
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r"\(PostgreSQL\) (\d+)", result.stdout)
    return int(match[1]) if match else 0


@contextmanager
def run_program(
    argv: Sequence[str], environment: Mapping[str, str], *, low_priority: bool, **streams: Any
) -> Iterator["RunningProgram"]:
    """Run a program inside the block and kill it if the block raises. `finish` waits for it."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  (PostgreSQL's programs)
            argv,
            env={**os.environ, "LC_ALL": "C", **environment},
            stdin=streams.get("stdin", subprocess.DEVNULL),
            stdout=streams.get("stdout", subprocess.DEVNULL),
            stderr=errors,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        try:
            if low_priority:
                lower_priority(process.pid)
            yield RunningProgram(Path(argv[0]).name, process, errors)
        finally:
            end(process)


def lower_priority(pid: int) -> None:
    """Let other processes go first, for the processor and for the disk."""
    with suppress(psutil.Error, OSError, AttributeError):
        process = psutil.Process(pid)
        process.nice(LOW_PRIORITY)
        process.ionice(psutil.IOPRIO_CLASS_BE, 7)  # Linux only


def end(process: subprocess.Popen) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    if process.poll() is None:
        process.kill()
    process.wait()


class RunningProgram:
    """A program that runs, with what it writes to stderr."""

    def __init__(self, name: str, process: subprocess.Popen, errors: IO[bytes]) -> None:
        self.name, self.process, self._errors = name, process, errors

    def is_running(self, seconds: float) -> bool:
        """Wait so long at most. Return whether it still runs."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def finish(self, harmless: str | None = None) -> None:
        """Wait for its end. Raises ProgramFailed, unless all of its errors hold the text `harmless`."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        code = self.process.wait()
        errors = self.read_errors() if code else []
        serious = [line for line in errors if harmless is None or harmless not in line]
        if serious or code not in (0, int(bool(errors))):
            raise ProgramFailed(self.name, serious[0] if serious else f"exit code {code}")

    def read_errors(self) -> list[str]:
        """Return its errors, a line each. What follows them may hold the content of a row."""
        self._errors.seek(0)
        lines = self._errors.read(MAX_ERROR_BYTES).decode(errors="replace").splitlines()
        errors = [line for line in lines if "error: " in line] or lines[-1:]
        return [PREFIX.sub("", line).strip()[:MAX_ERROR_LENGTH] for line in errors]


class ProgramFailed(BackupProblem):
    """A program of PostgreSQL ended with an error."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} failed: {reason}")
        self.reason = reason
