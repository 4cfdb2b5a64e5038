"""HTTP to embedding servers: one request, one JSON response, in bounded time and memory."""

import io
import json
import socket
from functools import partial
from http.client import HTTPResponse
from time import monotonic
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url

from .base import EmbedderUnavailable

CONNECT_SECONDS = 2.0
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
READ_CHUNK_BYTES = 64 * 1024
#: Connections kept open to one server; more may be open for a moment.
MAX_IDLE_CONNECTIONS = 16


class JsonServer:
    """A server that takes and returns JSON. Safe to use from several threads.

    It follows no redirects, which would carry the key elsewhere, and retries nothing, because callers retry.
    Messages name host and port, never a key or a body.
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
        """Return what is wrong with the address, in sentences."""
        try:
            url = parse_url(self.base_url)
        except LocationParseError:
            return ["The address of the embedding server cannot be read."]
        if url.scheme not in ("http", "https") or not url.host or url.auth:
            return ["The address of the embedding server must be http://host or https://host, without a password."]
        return []

    def post(self, path: str, body: dict[str, Any], seconds: float) -> tuple[int, bytes]:
        """Return status and body of the response, whatever the status. Raises EmbedderUnavailable."""
        ends = monotonic() + seconds
        try:
            return self._post(path, json.dumps(body).encode(), seconds)
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise EmbedderUnavailable(f"The embedding server at {self.place} cannot be reached.") from error
        except SSLError as error:
            raise EmbedderUnavailable(f"The embedding server at {self.place} has no trusted certificate.") from error
        except HTTPError as error:
            late = isinstance(error, TimedOut) or monotonic() >= ends
            fault = f"did not answer within {seconds:.3g} seconds" if late else "broke off its answer"
            raise EmbedderUnavailable(f"The embedding server at {self.place} {fault}.") from error
        except ValueError:  # a header that cannot be sent; the library's own message shows the key
            raise EmbedderUnavailable("The key of the embedding server has characters that cannot be sent.") from None

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
            response.close()  # returns the connection to the pool only if the response was read to its end

    def _read(self, response: BaseHTTPResponse) -> bytes:
        content = bytearray()
        while piece := response.read(READ_CHUNK_BYTES):
            content += piece
            if len(content) > MAX_RESPONSE_BYTES:
                raise EmbedderUnavailable(f"The embedding server at {self.place} sends too large a response.")
        return bytes(content)


class _DeadlineReader(io.RawIOBase):
    """The bytes of a socket until a moment of the monotonic clock, then TimeoutError.

    A socket's own timeout starts again with every byte, so a server that sends one byte at a time could hold a thread
    for hours.
    """

    def __init__(self, raw: socket.SocketIO, opened: socket.socket, ends: float) -> None:
        self.raw, self.socket, self.ends = raw, opened, ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self.ends - monotonic()
        if seconds <= 0:
            raise TimeoutError
        self.socket.settimeout(seconds)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    """A response whose headers and body arrive before `ends`, or not at all."""

    def __init__(self, opened: socket.socket, *args: Any, ends: float, **options: Any) -> None:
        super().__init__(opened, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(cast(socket.SocketIO, self.fp.detach()), opened, ends))


class _DeadlineMixin:
    """A connection whose timeout bounds the whole response."""

    timeout: Any
    response_class: Any

    def getresponse(self) -> Any:
        self.response_class = partial(_DeadlineResponse, ends=monotonic() + self.timeout)
        return super().getresponse()  # type: ignore[misc]  # of the connection that this is mixed into


class _Connection(_DeadlineMixin, HTTPConnection):
    pass


class _SecureConnection(_DeadlineMixin, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls: Any = _SecureConnection
