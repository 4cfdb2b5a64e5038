"""A way to a site that can be closed, stalled, or cut after the site has done its work."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.ports import hold_port


class Relay:
    """A port of this machine. Each connection carries one request; `before_answer` runs when the site has answered."""

    def __init__(self, target_port: int) -> None:
        self.holder = hold_port()
        self.target_port, self.port = target_port, self.holder.getsockname()[1]
        self.before_answer: Callable[[], bool] = lambda: True
        self.stalled = threading.Event()
        self.connections = 0
        self.listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> Self:
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()
        return self

    def close(self) -> None:
        """Refuse connections from now on."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def end(self) -> None:
        """Refuse them for good, and give the port back."""
        self.close()
        self.holder.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.stalled.is_set():
                client.recv(1)
                threading.Event().wait(60)
            with socket.create_connection(("127.0.0.1", self.target_port)) as site:
                threading.Thread(target=pump, args=[client, site], daemon=True).start()
                answer = site.recv(65536)
                if self.before_answer():
                    client.sendall(answer)
                    pump(site, client)
                client.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other thread


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
