"""Sites that are none, or not well."""

import os
import socket
import time

import pytest
from memory_hooks import api
from memory_hooks.api import Away, call, is_resting
from memory_hooks.events import submit_prompt
from memory_hooks.queue import Queue

from tests.plugins.claude_code import make_request
from tests.plugins.claude_code.servers import read_request, serve

ODD_ANSWERS = {
    "nothing": b"",
    "nonsense": b"nonsense\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/stolen\r\nContent-Length: 0\r\n\r\n",
    "page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
    "error": b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\n{",
    "not-found": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
}


PROMPT = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "When does the harbour open?"}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_what_is_no_memory_site_is_told_nothing_twice_and_loses_no_turn(name, settings):
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        text = ODD_ANSWERS[name]
        connection.sendall(text % connection.getsockname()[1] if name == "redirect" else text)

    with serve(settings, answer) as settings:
        assert submit_prompt(settings, PROMPT) == {}
        queue = Queue(settings)
        queue.add([make_request(1)])
        queue.send(time.monotonic() + 60)
        assert queue._read() == [make_request(1)]
    assert not any(b"/stolen" in request for request in asked)


SLOW_PARTS = {"headers": b"X-A: b\r\n", "body": b"\r\n\r\n" + b" " * 20}


@pytest.mark.parametrize("part", SLOW_PARTS)
def test_answer_that_drips_holds_no_prompt_up_and_the_site_is_left_alone(part, settings, monkeypatch):
    monkeypatch.setattr(api, "MIN_FAIR_SECONDS", 0.0)

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n")
        while True:
            connection.sendall(SLOW_PARTS[part])
            time.sleep(0.05)

    with serve(settings._replace(seconds=0.8), answer) as settings:
        began = time.monotonic()
        assert submit_prompt(settings, PROMPT) == {}
        assert time.monotonic() - began < 60, "the server drips without end"
        assert is_resting(settings)


def test_of_an_endless_answer_only_so_much_is_read(settings, monkeypatch):
    monkeypatch.setattr(api, "MAX_ANSWER_BYTES", 100_000)
    sent = []

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
        while True:
            sent.append(connection.send(b"1," * 10_000))

    with serve(settings, answer) as settings:
        assert call(settings, "/context", {}, time.monotonic() + 60) == (200, None, False)
    assert sum(sent) < 50_000_000


def test_answer_of_ten_thousand_lists_in_each_other_is_none(settings):
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000)

    with serve(settings, answer) as settings:
        assert call(settings, "/context", {}, time.monotonic() + 60) == (200, None, False)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clock_that_jumps_leaves_no_site_alone_for_long(seconds, settings):
    api.rest(settings)
    moment = time.time() + seconds
    os.utime(settings.folder / "resting", (moment, moment))
    assert not is_resting(settings)


def test_address_that_is_no_web_address_is_not_opened(settings):
    with pytest.raises(Away):
        call(settings._replace(url="file:///etc"), "/passwd", None, time.monotonic() + 1)
