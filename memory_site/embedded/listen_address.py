"""The address that the site listens on."""

import errno
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Seconds for which the web server of a run that was just killed may occupy the port.
PORT_WAIT_SECONDS = 3
LOOPBACK_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (a name, not a binding)


class Address:
    """A host and a port of this machine."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    @property
    def near(self) -> str:
        """A host that reaches the site from this machine, also if it listens on all addresses."""
        return LOOPBACK_HOSTS.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = f"[{self.near}]" if ":" in self.near else self.near
        return f"http://{host}:{self.port}"

    def get_bind_error(self) -> str | None:
        """Return why the address cannot be listened on, in the system's words, or None if it can."""
        deadline = time.monotonic() + PORT_WAIT_SECONDS
        while (problem := self._try_bind()) is not None:
            if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                return problem.strerror
            time.sleep(0.1)
        return None

    def _try_bind(self) -> OSError | None:
        if not 0 < self.port < 1 << 16:  # the resolver would silently use the port modulo 65536
            return OSError(errno.EINVAL, "there is no such port")
        try:
            family, kind, _, _, target = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(target)
        except OSError as error:
            return error
        return None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the address from other runs while the web server starts, which shares it (SO_REUSEPORT).

        Without SO_REUSEADDR, so that the check of another run fails. Where the system refuses that, nothing is held.
        """
        family, kind, _, _, target = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as held:
            with suppress(OSError):
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                held.bind(target)
            yield

    def answers(self, path: str, host_header: str) -> bool:
        """Return whether a GET of that path gives 200. Proxies of the environment are not used."""
        connection = http.client.HTTPConnection(self.near, self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host_header})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
