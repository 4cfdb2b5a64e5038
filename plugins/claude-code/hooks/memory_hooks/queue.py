"""Requests that wait for the site."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

from .api import REFUSALS, Answer, Away, call
from .locks import locked, make_folder
from .settings import Settings

MAX_QUEUED, MAX_QUEUE_BYTES = 500, 8 * 1024 * 1024
#: For which another hook may hold the file, which it does for an instant.
LOCK_SECONDS = 1.0
#: Of an id and a path.
WORD = re.compile(r"[!-~]+")
#: Answers that no repetition will change.
FINAL_STATUSES = (400, 413, 422)

#: `id`, which is its Idempotency-Key, `path` and `body`.
Request = dict[str, Any]


class Queue:
    """Requests that wait for the site, in their order, in one file for each address and key.

    Everything passes through it, so that a hook that is killed while it sends leaves its request there. A request keeps
    the Idempotency-Key that it was given, so that the site does it once.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        place = hashlib.sha256(f"{settings.url}\n{settings.key}".encode()).hexdigest()[:16]
        self.path = settings.folder / f"queue-{place}.jsonl"

    def add(self, requests: list[Request]) -> None:
        """Keep requests, at the cost of the oldest if there are too many. Raise OSError if they cannot be kept."""
        make_folder(self.settings.folder)
        with self._lock(time.monotonic() + LOCK_SECONDS):
            waiting = self._read()
            ids = {each["id"] for each in waiting}
            waiting += [each for each in requests if each["id"] not in ids]
            self._write(waiting[-MAX_QUEUED:])

    def send(self, deadline: float) -> int | None:
        """Send what waits, until the deadline or until the site is away. Return the status if it refuses the key."""
        with contextlib.suppress(Away, OSError):
            if self.path.exists():
                return self._send_waiting(deadline)
        return None

    def send_unkept(self, requests: list[Request], deadline: float) -> bool:
        """Send requests that could not be kept; return whether the site has done them."""
        try:
            return all(is_final(self._call(each, deadline)) for each in requests)
        except Away:
            return False

    def _send_waiting(self, deadline: float) -> int | None:
        with locked(self.path.with_suffix(".sending"), deadline):
            for request in self._iter_waiting(deadline):
                answer = self._call(request, deadline)
                if not is_final(answer):
                    return answer.status if answer.status in REFUSALS and answer.is_problem else None
                self._remove(request["id"], deadline)
        return None

    def _call(self, request: Request, deadline: float) -> Answer:
        return call(self.settings, request["path"], request["body"], deadline, request["id"])

    def _iter_waiting(self, deadline: float) -> Iterator[Request]:
        """Return the first request, which the caller removes or stops at, until there is none."""
        while True:
            with self._lock(deadline):
                waiting = self._read()
            if not waiting:
                return
            yield waiting[0]

    def _remove(self, request_id: str, deadline: float) -> None:
        with self._lock(deadline):
            self._write([each for each in self._read() if each["id"] != request_id])

    def _lock(self, deadline: float) -> contextlib.AbstractContextManager[None]:
        return locked(self.path.with_suffix(".lock"), deadline)

    def _read(self) -> list[Request]:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [request for request in map(read_request, lines) if request]

    def _write(self, requests: list[Request]) -> None:
        lines = [json.dumps(each) + "\n" for each in requests]
        while sum(map(len, lines)) > MAX_QUEUE_BYTES:
            del lines[0]
        draft = self.path.with_suffix(".draft")
        descriptor = os.open(str(draft), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)


def read_request(line: bytes) -> Request | None:
    """Return a request, or None for a broken line or what no header can carry: it would hold up what comes after it."""
    try:
        request = json.loads(line)
        request = {name: request[name] for name in ("id", "path", "body")}
        is_sendable = all(WORD.fullmatch(request[name]) for name in ("id", "path"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return request if is_sendable else None


def is_final(answer: Answer) -> bool:
    """Return whether the site has done it, or never will. A page of something else is no answer of the site."""
    if answer.status < 300:
        return isinstance(answer.body, dict)
    return answer.status in FINAL_STATUSES and answer.is_problem
