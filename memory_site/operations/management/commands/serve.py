"""`manage.py serve`: run the whole site with one command, which stops everything that it started."""

import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import psutil
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import NotSupportedError, OperationalError, connection

from memory_site.core.leases.process import format_process_name
from memory_site.core.logs.setup import JSON, get_higher_level
from memory_site.core.releases.compatibility import find_release
from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectoryError
from memory_site.embedded.listen_address import Address
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.processes import Child
from memory_site.embedded.services import launch_servers
from memory_site.embedded.supervisor import Supervisor
from memory_site.operations.metrics.shared_directory import share_directory
from memory_site.operations.models import Heartbeat, ProcessKind
from sessions_app.bootstrap import create_first_credentials
from sessions_app.commands import get_first_line

EXIT_USAGE_ERROR = 2
#: Seconds in which the web server must answer, and deaths of one program after which `serve` gives up.
READY_TIMEOUT_SECONDS = 120
MAX_PROGRAM_DEATHS = 3
NOTED_INTERVAL_SECONDS = 0.3
NO_WEB_EMBEDDED = "--no-web needs DATABASE_URL and REDIS_URL: without them all parts run on one machine."
#: Clients that one web process accepts at once; as many again wait in the kernel's queue. Granian raises its limit of
#: open files itself.
MAX_CONNECTIONS = 2048


class Command(BaseCommand):
    help = "Run the site: database and broker (unless DATABASE_URL is set), web server, worker and scheduler."

    # Run by `_serve`, after what fails more often: a busy port, a second `serve`.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parts = parser.add_mutually_exclusive_group()
        parts.add_argument("--no-worker", action="store_true", help="run neither worker nor scheduler")
        parts.add_argument(
            "--no-web", action="store_true", help="run worker and scheduler only; another machine has the web server"
        )
        parser.add_argument(
            "--no-first-key", action="store_true", help="leave creating the first API key to a later run"
        )

    def handle(self, *, host: str, port: int, no_worker: bool, no_web: bool, no_first_key: bool, **_: object) -> None:
        address = None if no_web else Address(host, port)
        if no_web and settings.EMBEDDED:
            raise CommandError(NO_WEB_EMBEDDED, returncode=EXIT_USAGE_ERROR)
        self.create_first_key = not no_first_key and not no_web
        try:
            with settings.HOME.lock(address.url) if address and settings.EMBEDDED else nullcontext():
                if address:
                    check_port(address)
                held = address.hold() if address else nullcontext()
                with held, self._share_metrics(), Supervisor() as supervisor:
                    self._serve(supervisor, address, no_worker)
        except DataDirectoryError as error:
            raise CommandError(str(error), returncode=EXIT_USAGE_ERROR) from error
        except (OperationalError, NotSupportedError) as error:
            raise CommandError(f"The database cannot be used: {get_first_line(error)}") from error
        except KeyboardInterrupt:
            self.stdout.write("stopped")

    @contextmanager
    def _share_metrics(self) -> Iterator[None]:
        """Have the programs count in one directory inside the block, or each for itself if there is none."""
        with ExitStack() as stack:
            try:
                stack.enter_context(share_directory())
            except OSError as error:
                self.stderr.write(f"/metrics will show each web process by itself: {error}")
            yield

    def _serve(self, supervisor: Supervisor, address: Address | None, no_worker: bool) -> None:
        if settings.EMBEDDED:
            self._report("Starting PostgreSQL and Valkey")
            start_servers(supervisor)
        self._migrate()
        self._print_first_run()
        connection.close()  # this process needs it no longer
        programs = build_programs(address, no_worker)
        self._report(f"Starting {', '.join(program.name for program in programs)}")
        for program in programs:
            supervisor.add_program(program)
        self.check()
        if address:
            self._wait_for_web(supervisor, address)
        else:
            self._wait_for_worker(supervisor, programs[-1])
        self.stdout.write(f"ready in {time.time() - psutil.Process().create_time():.1f} s")
        self.stdout.flush()
        supervisor.watch()

    def _migrate(self) -> None:
        """Migrate the database, but not one of a newer release with which this one works: so that a machine can restart
        in the middle of an upgrade, or go back to the earlier release."""
        found = find_release()
        if found is not None and found.is_newer and not found.refuses_us:
            self._report(f"{found.explain()} It is not migrated")
            return
        self._report("Migrating the database")
        call_command("migrate", verbosity=0, interactive=False, skip_checks=True)

    def _wait_for_web(self, supervisor: Supervisor, address: Address) -> None:
        self._report("Loading the API and the console")
        wait_until_live(supervisor, lambda: address.answers("/health/live", pick_allowed_host()))
        self._print_addresses(address)

    def _wait_for_worker(self, supervisor: Supervisor, worker: Child) -> None:
        wait_until_live(supervisor, lambda: is_noted(worker))
        self.stdout.write(f"  Worker {format_process_name(worker.pid)}")

    def _report(self, step: str) -> None:
        self.stderr.write(f"{step} …", lambda text: text)
        self.stderr.flush()

    def _print_first_run(self) -> None:
        """Print the first key and password at once and on stdout alone: they cannot be shown a second time."""
        made = create_first_credentials() if self.create_first_key else None
        if made is not None:
            self.stdout.write("Created, and shown only once:")
            self.stdout.write(f"  API key         {made.key}")
            self.stdout.write(f"  Admin password  {made.admin_password}  (user admin)")
            self.stdout.flush()

    def _print_addresses(self, address: Address) -> None:
        self.stdout.write(f"  API    {address.url}/api/v1/")
        self.stdout.write(f"  Docs   {address.url}/api/v1/docs")
        self.stdout.write(f"  MCP    {address.url}/mcp")
        self.stdout.write(f"  Admin  {address.url}/admin/")
        if settings.EMBEDDED:
            self.stdout.write(f"  Data   {settings.HOME.path}")
            self.stdout.write(f"  Logs   {settings.HOME.logs}")


def check_port(address: Address) -> None:
    """Raise CommandError if the address cannot be listened on."""
    reason = address.get_bind_error()
    if reason is not None:
        where = f"port {address.port} of {address.host}"
        raise CommandError(f"Cannot listen on {where} ({reason}): choose another --port.", returncode=EXIT_USAGE_ERROR)


def start_servers(supervisor: Supervisor) -> None:
    """Start PostgreSQL and the broker under the supervisor's watch."""
    broker, postgres = Broker(settings.HOME), Postgres(settings.HOME)
    supervisor.add_server(broker)
    supervisor.add_server(postgres)
    launch_servers(broker, postgres)


def build_programs(address: Address | None, no_worker: bool) -> list[Child]:
    """Return the programs in the order in which they are stopped: the web server first, the worker last.

    Without an address there is no web server.
    """
    web = [build_program("web", signal.SIGTERM, *build_granian_arguments(address))] if address else []
    background = [
        build_program("beat", signal.SIGKILL, *CELERY_ARGUMENTS, *BEAT_ARGUMENTS),
        build_program("worker", signal.SIGKILL, *CELERY_ARGUMENTS, *WORKER_ARGUMENTS),
    ]
    return web if no_worker else [*web, *background]


def build_program(name: str, death_signal: signal.Signals, *arguments: str) -> Child:
    """Return a program that runs a module with this Python, in any working directory.

    `death_signal` is sent when `serve` dies. SIGKILL is right for programs without children of their own: a worker that
    finished its task first would outlive `serve`.
    """
    path = os.pathsep.join(filter(None, (str(settings.BASE_DIR), os.environ.get("PYTHONPATH"))))
    log = settings.HOME.logs / f"{name}.log" if settings.EMBEDDED else None
    env = {**os.environ, "PYTHONPATH": path}
    return Child(name, [sys.executable, "-m", *arguments], log=log, env=env, death_signal=death_signal)


#: Quiet: a banner is no line of a log. Without checks, for which each would load the API: `serve` runs them once.
CELERY_ARGUMENTS = ("celery", "-A", "memory_site", "--quiet", "--skip-checks")
WORKER_ARGUMENTS = ("worker", "--pool", "threads", "--concurrency", "4", "--without-mingle", "--without-gossip")
BEAT_ARGUMENTS = ("beat", "--pidfile=")
GRANIAN_JSON_LOG = settings.BASE_DIR / "memory_site/core/logs/granian.json"


def build_granian_arguments(address: Address) -> tuple[str, ...]:
    """Return the web server's command line. Requests beyond its threads wait in its queue, then in the kernel's."""
    return (
        *("granian", "--interface", "wsgi", "--no-ws", "--host", address.host, "--port", str(address.port)),
        *("--workers", str(settings.WEB_WORKERS), "--blocking-threads", str(settings.WEB_THREADS)),
        *("--backlog", str(MAX_CONNECTIONS), "--backpressure", str(MAX_CONNECTIONS)),
        *("--respawn-failed-workers", "--respawn-interval", "0.5", "--workers-kill-timeout", "4"),
        *("--log-level", get_higher_level(settings.LOG_LEVEL, "WARNING").lower()),
        *(("--log-config", str(GRANIAN_JSON_LOG)) if settings.LOG_FORMAT == JSON else ()),
        "memory_site.wsgi:application",
    )


def wait_until_live(supervisor: Supervisor, answers: Callable[[], bool]) -> None:
    """Wait for the web server, or else the worker. Raises CommandError if a program keeps dying or takes too long."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS

    def live() -> bool:
        if supervisor.count_deaths() >= MAX_PROGRAM_DEATHS:
            raise CommandError("A program of the site does not stay up: its last lines are above.")
        if time.monotonic() > deadline:
            raise CommandError(f"The site was not ready within {READY_TIMEOUT_SECONDS} seconds: see the logs.")
        return answers()

    supervisor.watch(until=live)


def is_noted(worker: Child) -> bool:
    """Return whether the worker has noted its first heartbeat. Waits a moment, because it is called in a loop."""
    time.sleep(NOTED_INTERVAL_SECONDS)
    try:
        return Heartbeat.objects.filter(name=f"{ProcessKind.WORKER} {format_process_name(worker.pid)}").exists()
    except OperationalError:
        return False
    finally:
        connection.close()


def pick_allowed_host() -> str:
    """Return a host name that ALLOWED_HOSTS accepts, for the health check."""
    names = [name.lstrip(".") for name in settings.ALLOWED_HOSTS if name != "*"]
    return names[0] if names else "localhost"
