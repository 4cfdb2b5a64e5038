"""The one place that speaks HTTP: one request, one JSON answer, in bounded time and memory."""

import contextlib
import json
import socket
import threading
from time import monotonic
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url

from .base import EmbedderUnavailable

CONNECT_SECONDS = 2.0
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
READ_CHUNK_BYTES = 64 * 1024
#: Connections kept open to one server; more may be open for a moment.
MAX_IDLE_CONNECTIONS = 16


class JsonServer:
    """A server that takes and gives JSON. Used by many threads at once.

    No redirects are followed (a key would travel with them) and nothing is tried twice (who calls
    knows better when to come back). Messages name host and port, never a key or a body.
    """

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self.has_key = bool(api_key)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._pools = PoolManager(
            maxsize=MAX_IDLE_CONNECTIONS, headers=headers | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        )
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        try:
            return parse_url(self.base_url).netloc or "the configured address"
        except LocationParseError:
            return "the configured address"

    def check(self) -> list[str]:
        """What is wrong with the address, in sentences."""
        try:
            url = parse_url(self.base_url)
        except LocationParseError:
            return ["The address of the embedding server cannot be read."]
        if url.scheme not in ("http", "https") or not url.host or url.auth:
            return ["The address of the embedding server must be http://host or https://host, without a password."]
        return []

    def post(self, path: str, body: dict[str, Any], seconds: float) -> tuple[int, bytes]:
        """Status and body of the answer, whatever the status. Raises EmbedderUnavailable."""
        ends = monotonic() + seconds
        try:
            answer = self._post(path, json.dumps(body).encode(), seconds)
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise EmbedderUnavailable(f"The embedding server at {self.place} cannot be reached.") from error
        except SSLError as error:
            raise EmbedderUnavailable(f"The embedding server at {self.place} has no certificate we trust.") from error
        except HTTPError as error:
            fault = "broke off its answer" if monotonic() < ends else f"did not answer within {seconds:.3g} seconds"
            raise EmbedderUnavailable(f"The embedding server at {self.place} {fault}.") from error
        except ValueError:  # a header that cannot be sent; the library's own message shows the key
            raise EmbedderUnavailable("The key of the embedding server has characters that cannot be sent.") from None
        if monotonic() >= ends:  # cut off by the watchdog in an answer without a length
            raise EmbedderUnavailable(
                f"The embedding server at {self.place} did not answer within {seconds:.3g} seconds."
            )
        return answer

    def _post(self, path: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        response = self._pools.request(
            "POST",
            self.base_url + path,
            body=body,
            timeout=Timeout(connect=min(CONNECT_SECONDS, seconds), total=seconds),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            return response.status, self._read(response)
        finally:
            response.watchdog.cancel()
            response.close()  # gives up a connection whose answer was not read to its end, and no other

    def _read(self, response: BaseHTTPResponse) -> bytes:
        content = bytearray()
        while piece := response.read(READ_CHUNK_BYTES):
            content += piece
            if len(content) > MAX_RESPONSE_BYTES:
                raise EmbedderUnavailable(f"The embedding server at {self.place} gives too large an answer.")
        return bytes(content)


class _DeadlineMixin:
    """A connection whose socket is shut when its time is over.

    A socket's own timeout starts anew with every byte, so a server that trickles could hold us for hours.
    """

    def getresponse(self) -> BaseHTTPResponse:
        watchdog = threading.Timer(self.timeout, _shut_down_socket, [self.sock])
        watchdog.daemon = True
        watchdog.start()
        try:
            response = super().getresponse()
        except BaseException:
            watchdog.cancel()
            raise
        response.watchdog = watchdog
        return response


class _Connection(_DeadlineMixin, HTTPConnection):
    pass


class _SecureConnection(_DeadlineMixin, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _shut_down_socket(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        # Not the method of a TLS socket, which would touch state that the reading thread is using.
        socket.socket.shutdown(opened, socket.SHUT_RDWR)
