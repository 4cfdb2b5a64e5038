"""The site's MCP server for clients that start programs and speak to them by standard input and output.

Run it as `python -m memory_client.mcp_stdio`, or as `manage.py mcp`. Each line of standard input is a message, which is
posted to the site; its answer is a line of standard output, where nothing else is written. The site decides everything.
While it is away each request gets an error, and the program goes on until its input ends.
"""

import argparse
import base64
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import IO, Any

import httpx2

from memory_client.calls import API_PATH, fill_path

DEFAULT_URL, DEFAULT_PATH = "http://127.0.0.1:8000", "/mcp"
TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS = 120.0, 5.0
#: Calls that are answered at the same time.
MAX_CALLS = 16
#: What may be held of one line. The site reads less, and says so.
MAX_LINE_BYTES, CHUNK_BYTES = 64 * 2**20, 2**20
EXIT_USAGE_ERROR = 2
PARSE_ERROR, INVALID_REQUEST, SITE_ERROR = -32700, -32600, -32000
META_VERSION = "io.modelcontextprotocol/protocolVersion"
#: Where a message names what it is about, which since 2026-07-28 a header repeats.
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
HEADER_SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
HEADERS = {"user": "X-Memory-User", "project": "X-Memory-Project", "session": "X-Memory-Session"}

Message = dict[str, Any]


class Proxy:
    """Posts messages to the site and writes its answers."""

    def __init__(self, client: httpx2.Client, address: str, output: IO[bytes]) -> None:
        self._client, self._address, self._output = client, address, output
        #: Apart from the one of the ids: lines are read on while an answer waits for the client to read it.
        self._output_lock, self._lock = threading.Lock(), threading.Lock()
        #: Ids of requests whose answer the client waits for, as JSON: 1 and "1" are two.
        self._awaited: set[str] = set()
        self._version: str | None = None

    def run(self, lines: IO[bytes]) -> None:
        """Answer every line until there is none, then wait for what is still being answered."""
        with ThreadPoolExecutor(MAX_CALLS) as pool:
            for line in read_lines(lines):
                if line is None:
                    self._write(build_error(None, INVALID_REQUEST, f"A message may take {MAX_LINE_BYTES >> 20} MB."))
                elif line.strip():
                    self._take(line, pool.submit)

    def _take(self, line: bytes, submit: Callable[..., Any]) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._write(build_error(None, PARSE_ERROR, "A message must be one line of JSON."))
            return
        if not isinstance(message, dict):
            self._write(build_error(None, INVALID_REQUEST, "A message must be a JSON object: batches are not served."))
        elif not isinstance(message.get("id"), str | int | float | None):
            self._write(build_error(None, INVALID_REQUEST, "The id of a message must be a text or a number."))
        elif message.get("method") == "notifications/cancelled":
            self._cancel(message)
        else:
            with self._lock:
                self._awaited.add(json.dumps(message.get("id")))
            # What follows the first message needs the version that it agrees on.
            run = self._answer if message.get("method") == "initialize" else partial(submit, self._answer)
            run(message, line)

    def _cancel(self, message: Message) -> None:
        """Leave out the answer to a cancelled request. The site finishes the call: there is nothing to undo."""
        params = message.get("params")
        request_id = params.get("requestId") if isinstance(params, dict) else None
        if isinstance(request_id, str | int | float):
            with self._lock:
                self._awaited.discard(json.dumps(request_id))

    def _answer(self, message: Message, line: bytes) -> None:
        request_id = message.get("id")
        # The site names none where it could not read the message, and the client would wait for ever.
        answer = self._try(message, line) | {"id": request_id}
        key = json.dumps(request_id)
        with self._lock:
            is_awaited = key in self._awaited
            self._awaited.discard(key)
        if is_awaited and request_id is not None:
            self._write(answer)

    def _try(self, message: Message, line: bytes) -> Message:
        """Return the site's answer to a message, or an error of ours."""
        request_id = message.get("id")
        try:
            return self._ask(message, line)
        except httpx2.HTTPError as error:
            place = describe_address(self._address)
            text = f"Memory Site at {place} cannot be reached ({type(error).__name__}). Start it and try again."
            return build_error(request_id, SITE_ERROR, text)
        except Exception as error:  # whatever it was, the program goes on
            return build_error(request_id, SITE_ERROR, f"The message failed ({type(error).__name__}).")

    def _ask(self, message: Message, line: bytes) -> Message:
        response = self._client.post(self._address, content=line, headers=self._build_headers(message))
        answer = read_answer(response)
        if answer is None:
            return build_error(message.get("id"), SITE_ERROR, explain_response(response))
        if message.get("method") == "initialize":
            self._version = read_version(answer)
        return answer

    def _build_headers(self, message: Message) -> dict[str, str]:
        """Return the headers that the protocol asks for beside a message."""
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        version = meta.get(META_VERSION) if isinstance(meta, dict) else None
        if not isinstance(version, str):
            return {"MCP-Protocol-Version": self._version} if self._version else {}
        method = str(message.get("method"))
        headers = {"MCP-Protocol-Version": encode_header(version), "Mcp-Method": encode_header(method)}
        name = params.get(NAMED_BY.get(method, ""))
        return headers | ({"Mcp-Name": encode_header(name)} if isinstance(name, str) else {})

    def _write(self, answer: Message) -> None:
        """Write an answer. Where the client is gone, so is who waited for it."""
        text = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
        with self._output_lock, suppress(OSError, ValueError):
            write_all(self._output, text + b"\n")


def read_lines(source: IO[bytes]) -> Iterator[bytes | None]:
    """Yield each line, None for one that is too long to be held."""
    while line := source.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := source.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def write_all(output: IO[bytes], text: bytes) -> None:
    """Write to a stream that may take a part at a time: it has no buffer, which would be written again at the end."""
    left = memoryview(text)
    while left:
        left = left[output.write(left) :]


def read_answer(response: httpx2.Response) -> Message | None:
    """Return a response's message, None if it holds none."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and answer.get("jsonrpc") == "2.0" else None


def read_version(answer: Message) -> str | None:
    """Return the version that an answer to `initialize` agrees on."""
    result = answer.get("result")
    version = result.get("protocolVersion") if isinstance(result, dict) else None
    return version if isinstance(version, str) else None


def describe_address(address: str) -> str:
    """Return an address without a password."""
    return re.sub(r"//[^/]*@", "//", address)


def explain_response(response: httpx2.Response) -> str:
    """Return why the site refused a message before reading it."""
    if response.status_code == 401:
        return "Memory Site refuses the key: set MEMORY_KEY to one of its API keys."
    try:
        problem = response.json()
        errors = [f"{each['field']}: {each['message']}" for each in problem.get("errors", [])]
        return f"Memory Site answers {response.status_code}. {' '.join([problem['detail'], *errors])}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"Memory Site answers {response.status_code}, and not as an MCP server does: is the address right?"


def build_error(request_id: Any, code: int, text: str) -> Message:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}


def encode_header(text: str) -> str:
    """Return a text as a header's value: as it is, or in base64 if a header cannot hold it."""
    if HEADER_SAFE.fullmatch(text) and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode(errors='replace')).decode()}?="


def build_address(url: str, path: str, user: str | None) -> str:
    """Return the address of the endpoint; with `user`, of the one that is limited to this user."""
    path = path.rstrip("/") + fill_path("/users/{*user}", user=user) if user else path
    return url.rstrip("/").removesuffix(API_PATH).rstrip("/") + "/" + path.lstrip("/")


def add_arguments(parser: argparse.ArgumentParser, url: str | None = None) -> None:
    """Declare the options, whose defaults are variables of the environment."""
    environment = os.environ
    parser.add_argument("--url", default=environment.get("MEMORY_URL") or url or DEFAULT_URL, help="MEMORY_URL")
    parser.add_argument("--key", default=environment.get("MEMORY_KEY"), help="MEMORY_KEY: better there than here")
    parser.add_argument("--path", default=DEFAULT_PATH, help="/mcp, /mcp/graph or /mcp/chatgpt")
    parser.add_argument("--user", help="limit everything to this user")
    parser.add_argument("--project", default=environment.get("MEMORY_PROJECT"), help="where a call names none")
    parser.add_argument("--session", default=environment.get("MEMORY_SESSION"), help="where a call names none")


def serve(options: argparse.Namespace, lines: IO[bytes], output: IO[bytes]) -> None:
    """Answer the lines with what the site says."""
    given = {"project": options.project, "session": options.session}
    headers = {HEADERS[name]: value.encode() for name, value in given.items() if value}
    sent = {
        "Authorization": f"Bearer {options.key}".encode(),
        "Accept": b"application/json, text/event-stream",
        "Content-Type": b"application/json",
        **headers,
    }
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every address, and a user is part of one
    timeout = httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    with httpx2.Client(headers=sent, timeout=timeout) as client:
        Proxy(client, build_address(options.url, options.path, options.user), output).run(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m memory_client.mcp_stdio", description=__doc__.partition("\n")[0])
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    options.key = (options.key or "").strip()
    if problem := find_problem(options):
        if sys.stderr is not None:
            print(problem, file=sys.stderr)
        return EXIT_USAGE_ERROR
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # like SIGTERM: at once, whatever is being answered
    for stream in (sys.stdin, sys.stdout):
        os.set_blocking(stream.fileno(), True)  # a client may share its own end, which does not wait
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as output:
        sys.stdout = sys.stderr  # so that nothing else is written among the messages
        serve(options, sys.stdin.buffer, output)
    return 0


def find_problem(options: argparse.Namespace) -> str | None:
    """Return why the program cannot start."""
    if sys.stdin is None or sys.stdout is None:
        return "Standard input and output are needed: MCP clients start this program and speak to it by them."
    if not options.key or not options.key.isascii() or not options.key.isprintable():
        return "A key is needed: set MEMORY_KEY to one of the site's API keys."
    for name in ("user", "project", "session"):
        value = getattr(options, name)
        if value and not value.isprintable():
            return f"--{name} must be text without control characters."
    return None


if __name__ == "__main__":
    sys.exit(main())
