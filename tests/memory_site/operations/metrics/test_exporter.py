"""The port of a worker: what it answers, and how many connections it takes."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread
from wsgiref.simple_server import WSGIServer

import pytest
import urllib3

from memory_site.operations.metrics import exporter


@pytest.fixture
def server(monkeypatch) -> Iterator[WSGIServer]:
    monkeypatch.setattr(exporter.SilentHandler, "timeout", 600)
    server = exporter.build_server(0)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server: WSGIServer, method: str, path: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request(method, f"http://127.0.0.1:{server.server_port}{path}", timeout=60, retries=False)


def test_it_has_one_address_that_is_read_with_a_key(server):
    assert [ask(server, *what).status for what in (("GET", "/"), ("POST", "/metrics"), ("GET", "/metrics"))] == [
        404,
        405,
        401,
    ]
    assert ask(server, "GET", "/metrics").headers["Content-Type"] == "application/problem+json"


def test_idle_connections_keep_no_more_than_their_places(server):
    with ExitStack() as stack:
        for _ in range(exporter.MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(server.server_address))
        with socket.create_connection(server.server_address, timeout=60) as late:
            assert late.recv(1) == b""
    while True:  # their places are free when their threads have noticed
        try:
            assert ask(server, "GET", "/").status == 404
            return
        except urllib3.exceptions.ProtocolError:
            continue


def test_a_port_that_is_taken_stops_no_worker(server, settings, caplog):
    settings.METRICS_PORT = server.server_port
    exporter.start_exporter()
    assert "does not serve METRICS_PORT" in caplog.text


def test_it_is_off_by_default(monkeypatch, settings):
    assert settings.METRICS_PORT == 0
    monkeypatch.setattr(exporter, "build_server", lambda port: pytest.fail("a port was opened"))
    exporter.start_exporter()
