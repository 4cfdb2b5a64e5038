"""The bridge between Django, which is synchronous, and the SDK, which is not.

The SDK reads and writes messages on an event loop, which runs on the request's own thread. Whatever touches the
database runs there too, while the loop stands still: its connection, its place among the admitted requests, the actor
of its changes and the ids in its log lines are those of every other request.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpResponse

from memory_site.core.http.problems import Problem, problem_response
from memory_site.mcp_server.event_loops import event_loops
from memory_site.mcp_server.servers import EXCHANGE, get_application
from memory_site.mcp_server.subject import Subject
from sessions_app.auth import ApiRequest

log = logging.getLogger(__name__)
#: Between two jobs the SDK only reads and writes messages. Only a fault takes it longer.
MAX_SILENCE_SECONDS = 30.0
STUCK = Problem(503, "The server could not answer in time.", headers={"Retry-After": "5"})
#: Some clients accept less than the SDK demands, or say nothing; some write the type of their JSON in capitals, which
#: the SDK does not know. They all get JSON.
NEGOTIATED = ((b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json"))
#: How the SDK's answer to a body that is no message begins; pages of pydantic's errors follow.
NOT_A_MESSAGE = b'"message":"Validation error: '
ONE_MESSAGE = "The body must be one message of JSON-RPC 2.0: an object with jsonrpc, method and, to get an answer, id."
HIDDEN_HEADERS = frozenset({"accept", "authorization", "content-type", "cookie"})


class Exchange:
    """A request and its answer; `request` and `subject` are what the tools need to know."""

    def __init__(self, request: ApiRequest, subject: Subject, loop: asyncio.AbstractEventLoop) -> None:
        self.request, self.subject, self._loop = request, subject, loop
        self._job: Callable[[], None] | None = None
        self.status, self.headers, self.body = 500, [], b""  # type: int, list[tuple[bytes, bytes]], bytes
        self._unread = True

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function while the loop stands still, and return its result. Called on the event loop."""
        outcome = self._loop.create_future()
        self._job = partial(settle, outcome, function, arguments)
        self._loop.stop()
        return await outcome

    def serve(self, profile: str) -> None:
        """Have the SDK answer, and do its jobs in between. Raises Problem."""
        served = self._loop.create_task(self._serve(profile))
        served.add_done_callback(lambda _: self._loop.stop())
        self._run_loop()
        while not served.done():
            self._do_job()
            self._run_loop()
        served.result()

    def _run_loop(self) -> None:
        """Run the loop until there is a job or the answer."""
        silence = self._loop.call_later(MAX_SILENCE_SECONDS, self._loop.stop)
        self._loop.run_forever()
        silence.cancel()

    def _do_job(self) -> None:
        job, self._job = self._job, None
        if job is None:
            log.error("The Model Context Protocol's event loop does not answer")
            raise STUCK
        job()

    async def _serve(self, profile: str) -> None:
        application = await get_application(profile)
        await application(self._build_scope(), self._receive, self._send)

    def _build_scope(self) -> dict[str, Any]:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.request.headers.items()
            if name.lower() not in HIDDEN_HEADERS
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.request.method,
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": b"",
            "headers": [*headers, *NEGOTIATED],
            EXCHANGE: self,
        }

    async def _receive(self) -> dict[str, Any]:
        if not self._unread:
            await self._loop.create_future()  # until the SDK stops waiting: a disconnect is not noticed
        self._unread = False
        return {"type": "http.request", "body": self.request.body, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message.get("headers", [])
        else:
            self.body += message.get("body", b"")


def settle(outcome: asyncio.Future, function: Callable[..., Any], arguments: tuple) -> None:
    """Set a future to what a function returns or raises."""
    try:
        outcome.set_result(function(*arguments))
    except Exception as error:  # it is the SDK that answers
        outcome.set_exception(error)


def answer(request: ApiRequest, profile: str, subject: Subject) -> HttpResponse:
    """Answer one message of the protocol."""
    request.body  # noqa: B018  (read here, not while a loop is lent: a client may send it slowly)
    try:
        with event_loops.lend() as loop:
            exchange = Exchange(request, subject, loop)
            exchange.serve(profile)
    except Problem as problem:
        return problem_response(request, problem)
    body = explain_refusal(exchange.body) if exchange.status == 400 else exchange.body
    response = HttpResponse(body, status=exchange.status)
    del response["Content-Type"]
    for name, value in exchange.headers:
        if name != b"content-length":
            response[name.decode("latin-1")] = value.decode("latin-1")
    return response


def explain_refusal(body: bytes) -> bytes:
    """Return the SDK's answer to a request that it refuses, with a sentence where it shows its types."""
    if NOT_A_MESSAGE not in body:
        return body
    answer = json.loads(body)
    answer["error"]["message"] = ONE_MESSAGE
    return json.dumps(answer).encode()
