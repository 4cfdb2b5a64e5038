"""A site for tests: `manage.py serve` and everything it starts, on a data directory of its own, used by HTTP.

It knows nothing of the operator's site: no variable of it, no .env, no address.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import urllib3
from psycopg.conninfo import make_conninfo

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.processes import die_with_parent
from memory_site.settings import BASE_DIR, SCRATCH_VARIABLE, Environment

MANAGE = BASE_DIR / "manage.py"
#: Seconds for things that are not what a test is about.
START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS, COMMAND_TIMEOUT_SECONDS = 120, 60, 180
#: What is killed ends when it gets the processor the next time.
KILL_TIMEOUT_SECONDS = 60
#: Above those of well-known services. Linux says here which ports it chooses by itself.
FIRST_PORT, EPHEMERAL_PORTS = 10_000, Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Between two looks at a condition: often at first, less later, because most of them ask the site, which has work.
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 0.25
#: What identifies a child of `serve` in its command line; the first word may be a path.
PROCESS_MATCHERS: dict[str, Callable[[list[str]], bool]] = {
    "web": lambda words: "granian" in words,
    "worker": lambda words: "celery" in words and "worker" in words,
    "beat": lambda words: "celery" in words and "beat" in words,
    "postgres": lambda words: words[0].endswith("/postgres"),
    "broker": lambda words: "valkey-server" in words[0],
}


class SiteFailed(Exception):
    """The scratch site did not do in time what everything else needs."""


def build_environment(**ours: str) -> dict[str, str]:
    """Return this process's environment with none of the product's variables but those given."""
    known = {name.upper() for name in Environment.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in known}
    return inherited | {SCRATCH_VARIABLE: "1"} | ours


def find_free_port() -> int:
    """Return a port without a listener. It stays free until it is used: the system gives it to no other program that
    leaves the choice to it."""
    chosen_by_us = range(FIRST_PORT, read_first_ephemeral_port())
    while True:
        port = secrets.choice(chosen_by_us) if chosen_by_us else 0
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]


def read_first_ephemeral_port() -> int:
    """Return the first of the ports that the system chooses for connections and listeners; 0 where it does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(EPHEMERAL_PORTS.read_text().split()[0])
    return 0


def run_manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a management command to its end."""
    argv = [sys.executable, str(MANAGE), *arguments]
    env = build_environment(**environment)
    return subprocess.run(  # noqa: S603  (this program)
        argv, env=env, cwd="/", capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS
    )


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> float:
    """Return the seconds until the condition held. Raise SiteFailed, which says what was waited for."""
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        if waited > seconds:
            raise SiteFailed(f"Not within {seconds:.0f} s: {what}")
        time.sleep(min(max(MIN_PAUSE_SECONDS, waited / 20), MAX_PAUSE_SECONDS))
    return time.monotonic() - started


def find_processes(directory: Path) -> list[psutil.Process]:
    """Find processes that work in the directory, or have it in environment or command line, whatever their parent."""
    return [process for process in psutil.process_iter() if _belongs_to(process, str(directory))]


def _belongs_to(process: psutil.Process, directory: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        data_dir = process.environ().get("DATA_DIR", "")
        return any(text.startswith(directory) for text in (process.cwd(), data_dir)) or directory in str(
            process.cmdline()
        )
    except psutil.Error:
        return False  # it has ended, or is another user's


class ScratchSite:
    """One `manage.py serve` on a data directory of its own."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.arguments = arguments
        self.data = directory / "data"
        self.environment = environment | {"DATA_DIR": str(self.data)}
        self.port = find_free_port()
        self.output, self.errors = directory / "stdout", directory / "stderr"
        self.process: subprocess.Popen | None = None
        self.key = self.password = ""
        self.http = urllib3.PoolManager(maxsize=16, retries=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What `serve` has written to stdout since it was started."""
        return self.output.read_text()

    def start(self) -> Self:
        """Run until it prints that it is ready; store the key and the password if it prints them."""
        with self.output.open("w") as output, self.errors.open("w") as errors:
            argv = [sys.executable, str(MANAGE), "serve", *(self.arguments or ("--port", str(self.port)))]
            env = build_environment(**self.environment)
            # Of a thread that ends first it would be the child.
            is_main = threading.current_thread() is threading.main_thread()
            orphaned = die_with_parent(signal.SIGTERM) if is_main else None
            self.process = subprocess.Popen(  # noqa: S603  (this program)
                argv, env=env, cwd="/", stdout=output, stderr=errors, preexec_fn=orphaned
            )
        wait_until(lambda: "ready in" in self.said or self.ended, START_TIMEOUT_SECONDS, "serve is ready")
        if self.ended:
            raise SiteFailed(self.errors.read_text())
        self.key = self._search_output(r"API key +(mem_\S+)") or self.key
        self.password = self._search_output(r"Admin password +(\S+)") or self.password
        return self

    def _search_output(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        return found[1] if found else ""

    @property
    def server(self) -> subprocess.Popen:
        """The process of `serve`. Raises SiteFailed before the start."""
        if self.process is None:
            raise SiteFailed("The scratch site was not started.")
        return self.process

    @property
    def ended(self) -> bool:
        return self.server.poll() is not None

    def stop(self, request: signal.Signals = signal.SIGTERM) -> list[str]:
        """Ask it to stop. Return the processes that are left, which are then killed, and have ended on return."""
        self.http.clear()
        if not self.ended:
            self.server.send_signal(request)
            try:
                self.server.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        left = find_processes(self.data)
        described = [str(process) for process in left]
        for process in left:
            with suppress(psutil.NoSuchProcess):  # it has ended by itself meanwhile
                process.kill()
        with suppress(SiteFailed):
            wait_until(lambda: not find_processes(self.data), KILL_TIMEOUT_SECONDS, "what was killed has ended")
        return described

    def call(
        self, method: str, path: str, body: Any = None, *, timeout: float = 60, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Call an operation of the API, with our key. A header's underscores are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Authorization": f"Bearer {self.key}"} | named
        return self.http.request(method, f"{self.url}/api/v1{path}", json=body, headers=named, timeout=timeout)

    def page(self, path: str, token: str = "") -> urllib3.BaseHTTPResponse:
        """Get any address of the site, as a visitor or as the holder of a key."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.request("GET", self.url + path, headers=headers, timeout=60)

    def connect(self) -> psycopg.Connection:
        """Open a connection of our own to its database."""
        names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}
        database = DataDirectory(self.data).database
        address = make_conninfo(**{theirs: database[ours] for theirs, ours in names.items()})
        return psycopg.connect(address, autocommit=True)

    def rows(self, sql: str) -> list[tuple]:
        """Ask the database itself."""
        with self.connect() as connection:
            return connection.execute(sql).fetchall()

    def part(self, name: str) -> psutil.Process | None:
        """Find the child that is the web server, the worker, beat, postgres or the broker, if it runs."""
        for child in psutil.Process(self.server.pid).children():
            try:
                if child.status() != psutil.STATUS_ZOMBIE and PROCESS_MATCHERS[name](child.cmdline() or [""]):
                    return child
            except psutil.NoSuchProcess:
                continue
        return None

    def kill(self, name: str, *, spare: psutil.Process | None = None) -> int:
        """End a part and what it has started, without a word. Return its process id. Raises SiteFailed without it."""
        part = self.part(name)
        if part is None:
            raise SiteFailed(f"There is no {name} to kill.")
        family = [part, *part.children(recursive=True)]
        for process in family:
            if process == spare:
                continue
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return part.pid

    def is_back(self, name: str, killed: int) -> bool:
        """Return whether a part runs that is not the one that was killed."""
        part = self.part(name)
        return part is not None and part.pid != killed


@contextmanager
def create_short_directory() -> Iterator[Path]:
    """Provide a directory and remove it. Its path is short, because a Unix socket's has little room."""
    path = Path(tempfile.mkdtemp(prefix="memory-site-scratch-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def run_scratch_site(**environment: str) -> Iterator[ScratchSite]:
    """Run a site with nothing in it, and remove it with every process it started. Raises SiteFailed."""
    with create_short_directory() as directory:
        site = ScratchSite(directory, EMBEDDER="hashing", **environment)
        try:
            yield site.start()
        finally:
            if site.process:
                site.stop()
