"""Requests that wait for the site."""

import stat
import threading
import time

import pytest
from memory_hooks import queue as queues
from memory_hooks.locks import locked
from memory_hooks.queue import Queue

from tests.plugins.claude_code import make_request


def test_queue_keeps_order_once_and_is_bounded(settings, monkeypatch):
    queue = Queue(settings)
    queue.add([make_request(1), make_request(2)])
    queue.add([make_request(2), make_request(3)])
    assert [each["id"] for each in queue._read()] == ["id-1", "id-2", "id-3"]
    monkeypatch.setattr(queues, "MAX_QUEUED", 2)
    queue.add([make_request(4)])
    assert [each["id"] for each in queue._read()] == ["id-3", "id-4"]
    monkeypatch.setattr(queues, "MAX_QUEUE_BYTES", 60)
    queue.add([make_request(5)])
    assert [each["id"] for each in queue._read()] == ["id-5"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in settings.folder.iterdir()} == {0o600}


def test_queue_survives_a_broken_line(settings):
    queue = Queue(settings)
    queue.add([make_request(1)])
    with queue.path.open("ab") as file:
        file.write(b'{"id": "half\n\xff\n{"id": 1}\n' + b"[" * 100_000 + b"\n")
    queue.add([make_request(2)])
    assert [each["id"] for each in queue._read()] == ["id-1", "id-2"]


def test_queues_of_other_keys_are_apart(settings):
    Queue(settings).add([make_request(1)])
    assert Queue(settings._replace(key="other"))._read() == []


def test_parallel_additions_are_all_kept(settings):
    threads = [
        threading.Thread(target=Queue(settings).add, args=[[make_request(10 * thread + number)]])
        for thread in range(8)
        for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Queue(settings)._read()) == 40


def test_request_that_no_header_can_carry_does_not_stand_in_the_way(settings):
    queue = Queue(settings)
    queue.add([make_request(1) | {"path": "/sessions/a b"}, make_request(2) | {"id": "a\r\nb"}, make_request(3)])
    assert [each["id"] for each in queue._read()] == ["id-3"]


def test_queue_that_another_process_holds_is_not_waited_for(settings, monkeypatch):
    monkeypatch.setattr(queues, "LOCK_SECONDS", 0.05)
    queue = Queue(settings)
    queue.add([make_request(1)])
    with locked(queue.path.with_suffix(".lock"), time.monotonic()):
        with pytest.raises(TimeoutError):
            queue.add([make_request(2)])
        queue.send(time.monotonic() + 0.05)
    assert [each["id"] for each in queue._read()] == ["id-1"]
