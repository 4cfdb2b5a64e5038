"""Requests to the site."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any, NamedTuple

from .locks import make_folder
from .settings import Settings

#: After a site that took too long, it is left alone for so long. A refused connection costs no time.
REST_SECONDS = 30.0
#: A request that had less time says nothing about the site.
MIN_FAIR_SECONDS = 0.3
#: Of an answer. A longer one is no answer of the site.
MAX_ANSWER_BYTES = 8 * 1024 * 1024
#: Statuses of a wrong key, and of one that lacks a scope.
REFUSALS = UNAUTHORIZED, FORBIDDEN = 401, 403


class Answer(NamedTuple):
    status: int
    body: Any
    is_problem: bool


class Away(Exception):
    """The site does not answer, or not in time."""


class Refused(Exception):
    """The site does not accept the key. Its argument is the status."""


def call(settings: Settings, path: str, body: Any, deadline: float, key: str | None = None) -> Answer:
    """POST to the API, or GET without a body. Raise Away.

    A thread of its own asks: the limit of a socket holds for each part of an answer, and for no look-up of a name.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0 or is_resting(settings) or not settings.url.startswith(("http://", "https://")):
        raise Away
    answers: list[Answer] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # whatever it is, there is no answer
            answers.append(fetch(settings, path, body, seconds, key))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    if seconds > MIN_FAIR_SECONDS and time.monotonic() >= deadline - 0.05:
        rest(settings)
    raise Away


def fetch(settings: Settings, path: str, body: Any, seconds: float, key: str | None) -> Answer:
    import urllib.error  # noqa: PLC0415  (a third of the start of a hook that sends nothing)
    import urllib.request  # noqa: PLC0415

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        """The key goes to the site alone."""

        def redirect_request(self, *_: Any) -> None:
            return None

    headers = {"Authorization": f"Bearer {settings.key}", "Content-Type": "application/json"}
    headers.update({"Idempotency-Key": key} if key else {})
    data = None if body is None else json.dumps(body).encode("ascii")
    request = urllib.request.Request(f"{settings.url}/api/v1{path}", data, headers)  # noqa: S310
    try:
        response = urllib.request.build_opener(NoRedirects).open(request, timeout=seconds)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return read_answer(response)


def read_answer(response: Any) -> Answer:
    """Return the answer, without a body if that is no JSON of a site."""
    is_problem = "problem+json" in (response.headers.get("Content-Type") or "")
    text = response.read(MAX_ANSWER_BYTES + 1) or b"null"
    try:
        if len(text) <= MAX_ANSWER_BYTES:
            return Answer(response.code, json.loads(text), is_problem)
    except (ValueError, RecursionError):
        pass
    return Answer(response.code, None, False)


def build_session_path(session_id: Any, part: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return f"/sessions/{quote(str(session_id), safe='')}/{part}"


def is_resting(settings: Settings) -> bool:
    try:
        return 0 <= time.time() - (settings.folder / "resting").stat().st_mtime < REST_SECONDS
    except OSError:
        return False


def rest(settings: Settings) -> None:
    """Spare the next prompts the time that a site without an answer takes."""
    with contextlib.suppress(OSError):
        make_folder(settings.folder)
        (settings.folder / "resting").touch()
