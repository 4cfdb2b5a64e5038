"""A primary and its streaming standby, with the broker that a site beside them needs. Each can be frozen and killed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import Postgres
from memory_site.operations.selftest.scratch_site import wait_until
from tests.new_site import copy_new_site
from tests.stack.stack import frozen_family


class QuickPostgres(Postgres):
    """A server that survives every death but that of the machine, and starts without writing all its files again."""

    def _settings(self) -> list[str]:
        return [*super()._settings(), "-c", "fsync=off"]


class Standby(QuickPostgres):
    """A copy of a running server, which follows it from then on."""

    def __init__(self, home: DataDirectory, primary: DataDirectory) -> None:
        super().__init__(home)
        self.primary = primary

    def _create_data_directory(self) -> None:
        source = f"host={self.primary.sockets} user=postgres password={self.primary.secret('postgres')}"
        self.data.mkdir(mode=0o700)
        self.home.chown_to_servers(self.data)
        self._run("pg_basebackup", "-d", source, "-D", str(self.data), "-R", "-c", "fast", "-X", "stream")


class Cluster:
    """Both servers in one directory. The standby's role `memory` has the primary's password."""

    def __init__(self, directory: Path) -> None:
        self.primary = QuickPostgres(DataDirectory(directory / "p"))
        self.standby = Standby(DataDirectory(directory / "s"), self.primary.home)
        self.broker = Broker(self.primary.home)

    def start(self) -> None:
        copy_new_site(self.primary.home.path)
        self.broker.launch()
        self.primary.start()
        self.standby.start()
        self.broker.wait_until_ready()

    def stop(self) -> None:
        for server in (self.standby, self.primary, self.broker):
            server.kill()

    def build_url(self, *servers: Postgres, **options: str) -> str:
        """Return an address with one host or several."""
        hosts = ",".join(str(server.home.sockets) for server in servers)
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://memory:{self.primary.home.secret('database')}@/memory?host={hosts}{more}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a site that finds the primary wherever it is, and reads the standby under two names."""
        replica = self.build_url(self.standby)
        return {
            "DATABASE_URL": self.build_url(self.primary, self.standby, target_session_attrs="read-write"),
            "DATABASE_REPLICA_URLS": f"{replica},{replica}",
            "REDIS_URL": self.primary.home.broker_url,
            "SECRET_KEY": "not a secret: the key of a site that a test has started",
            "HTTPS": "false",
        }

    def execute(self, server: Postgres, sql: str) -> list[tuple]:
        """Run a statement as the superuser."""
        password = self.primary.home.secret("postgres")
        where = {"host": str(server.home.sockets), "user": "postgres", "password": password, "dbname": "memory"}
        with psycopg.connect(**where, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def promote(self) -> None:
        # Without waiting inside: the recovery that goes on meanwhile may cancel the statement that waits for its end.
        self.execute(self.standby, "SELECT pg_promote(wait => false)")
        wait_until(lambda: not self.execute(self.standby, "SELECT pg_is_in_recovery()")[0][0], 60, "it is the primary")

    def copy_anew(self) -> None:
        """Make the standby a new copy of the primary, as after a promotion that was taken back."""
        self.standby.stop()
        shutil.rmtree(self.standby.data)
        self.standby.start()


def kill(server: Postgres) -> None:
    """End a server with all its children, which are in sessions of their own."""
    for process in find_family(server):
        with suppress(psutil.NoSuchProcess):  # a child ends by itself, also because the server has ended
            process.kill()
    server.kill()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """The server accepts connections, because the kernel does, and answers nothing."""
    with frozen_family(psutil.Process(server.pid)):
        yield


def find_family(server: Postgres) -> list[psutil.Process]:
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]
