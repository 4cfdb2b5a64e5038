"""A server that replays the log onto a copy of a base backup, beside the site's own server, and is then asked."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import find_bin_directory
from memory_site.embedded.processes import Server, choose_run_as
from memory_site.embedded.wal_archive.settings import PROGRAM, PYTHON, build_restore_command
from memory_site.operations.pitr.problems import LogEnded, RecoveryFailed
from memory_site.operations.pitr.server import connect_superuser, fetch_row

#: The site's server has 5432 in the same directory of sockets.
RECOVERY_PORT = 5433
#: Seconds without a further segment after which recovery counts as stuck.
STALL_SECONDS = 600
POLL_SECONDS = 0.05
SETTINGS_FILE, HBA_FILE = "recovery-settings.json", "recovery-hba.conf"
#: A user who reaches the socket, in a directory of mode 0700, may read the data's files as well.
HBA = "local all all trust\n"
RESTORED_LINE, STOPPING_LINE = "restored log file", "recovery stopping"
ENDED_LINE = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True)
class RecoveryTarget:
    """Where recovery stops: at a time or at the end of the log (None), on a timeline."""

    time: datetime | None
    timeline: int

    def build_settings(self) -> dict[str, str]:
        target = {"recovery_target_time": format_postgres_time(self.time)} if self.time else {}
        return target | {"recovery_target_timeline": str(self.timeline), "recovery_target_action": "promote"}


def format_postgres_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


class RecoveryServer(Server):
    """The server of a copy. It archives nothing, listens on a socket, and is ready when recovery has ended.

    One that is thrown away need not be durable.
    """

    def __init__(self, home: DataDirectory, data: Path, target: RecoveryTarget, *, durable: bool) -> None:
        self.home, self.data, self.target, self.durable = home, data, target, durable
        self.pid_file = data / "postmaster.pid"
        super().__init__(
            "recovery",
            [],
            home.logs / "recovery.log",
            stop_signal=signal.SIGINT if durable else signal.SIGQUIT,  # an orderly end writes everything to disk
            escalation_signal=signal.SIGQUIT,
        )

    def launch(self) -> None:
        binary = find_bin_directory() / "postgres"
        self.user = choose_run_as(
            self.home.owner, "PostgreSQL", (binary, PYTHON, PROGRAM, self.data, self.home.path), self.stop_signal
        )
        self.argv = [str(binary), "-D", str(self.data), *self._settings()]
        super().launch()

    def _settings(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": '"{}"'.format(str(self.home.sockets).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "port": str(RECOVERY_PORT),
            "hba_file": str(self.data / HBA_FILE),
            "archive_mode": "off",
            "fsync": "on" if self.durable else "off",
            "hot_standby": "off",
            "max_connections": "60",
            "max_wal_size": "2GB",
            "restore_command": build_restore_command(self.data / SETTINGS_FILE),
            "log_error_verbosity": "terse",
            "log_line_prefix": "%m [%p] ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "dynamic_shared_memory_type": "mmap",
            **self.target.build_settings(),
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def stop_leftover(self) -> None:
        """Remove the socket's lock file too: it names a process only by its id, and a zombie counts as alive."""
        super().stop_leftover()
        (self.home.sockets / f".s.PGSQL.{RECOVERY_PORT}.lock").unlink(missing_ok=True)

    @property
    def ready(self) -> bool:
        try:
            lines = self.pid_file.read_text().splitlines()
            return lines[7].strip() == "ready" and int(lines[0]) == self.pid
        except (OSError, IndexError, ValueError):
            return False

    def read_log(self) -> list[str]:
        """Return all lines of this run."""
        if self.log is None:
            return []
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()

    def go_on_to_the_end(self) -> None:
        """Start again without a time: recovery goes on where it stood, to the end of the timeline."""
        self.target = replace(self.target, time=None)
        self.launch()

    def wait_until_recovered(self, advance: Callable[[int], None]) -> None:
        """Wait until the target is reached; `advance` gets the segments as they are replayed.

        The end of pg_ctl says nothing about it. Raises RecoveryFailed, which says how far it came.
        """
        replayed, moved_at = 0, time.monotonic()
        while not self.ready:
            if not self.running:
                raise self.explain()
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise RecoveryFailed(f"Recovery stands still: {self._last_log_line()} (its log: {self.log})")
            lines = sum(RESTORED_LINE in line for line in self.read_log())
            if lines > replayed:
                advance(lines - replayed)
                replayed, moved_at = lines, time.monotonic()
            time.sleep(POLL_SECONDS)
        self.require_target()

    def require_target(self) -> None:
        with connect_superuser(self.home, RECOVERY_PORT) as connection:
            in_recovery = fetch_row(connection, "SELECT pg_is_in_recovery()")[0]
        if in_recovery or (self.target.time and not any(STOPPING_LINE in line for line in self.read_log())):
            raise self.explain()

    def explain(self) -> RecoveryFailed:
        """Say why recovery ended and how far it came, in PostgreSQL's words."""
        lines = self.read_log()
        came = [line.rsplit("at log time ", 1)[1] for line in lines if "last completed transaction was at" in line]
        how_far = f" It came to {came[-1]}." if came else ""
        if any(ENDED_LINE in line for line in lines):
            return LogEnded(f"The log ends before the asked time.{how_far} `--to latest` recovers what there is.")
        reasons = [line for line in lines if "FATAL" in line or "WAL archive:" in line]
        reason = (reasons or [self._last_log_line()])[0]
        return RecoveryFailed(f"The asked time was not reached: {shorten(reason)}.{how_far} Its log: {self.log}")


def shorten(line: str) -> str:
    """Return a line of the log without time, process and level."""
    return line.split("FATAL:")[-1].strip().rstrip(".")


def remove_copy(home: DataDirectory, data: Path) -> None:
    """Remove what an interrupted recovery left, and end its server if that is still at work."""
    RecoveryServer(home, data, RecoveryTarget(None, 1), durable=False).stop_leftover()
    shutil.rmtree(data, ignore_errors=True)


@contextmanager
def recovery_files(data: Path, home: DataDirectory, fetch_settings: str) -> Iterator[None]:
    """Put what a recovering server reads into its copy, and take it out again."""
    files = {SETTINGS_FILE: fetch_settings, HBA_FILE: HBA, "recovery.signal": ""}
    for name, text in files.items():
        (data / name).write_text(text)
        (data / name).chmod(0o600)
        home.chown_to_servers(data / name)
    try:
        yield
    finally:
        for name in files:
            (data / name).unlink(missing_ok=True)


def reset_passwords(home: DataDirectory, connection: psycopg.Connection) -> None:
    """Give the roles the passwords of this data directory: the copy may come from another one that is lost."""
    for role, secret in (("postgres", "postgres"), ("memory", "database")):
        verifier = connection.pgconn.encrypt_password(home.secret(secret).encode(), role.encode(), b"scram-sha-256")
        connection.execute(f"ALTER ROLE {role} PASSWORD '{verifier.decode()}'")
