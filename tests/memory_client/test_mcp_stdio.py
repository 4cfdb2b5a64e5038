"""The program that passes MCP messages on: whatever a client writes or a server answers, it speaks nothing but the
protocol, answers each request by its id, and ends without a stack trace."""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from memory_client import mcp_stdio
from tests.memory_client.servers import Answer, running
from tests.ports import hold_port

KEY = "mem_0123456789abcdef_secret"
LARGE = "x" * 200_000


def ask(request_id, method="ping", **params) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode() + b"\n"


def result_of(request, **result) -> Answer:
    return Answer(body={"jsonrpc": "2.0", "id": json.loads(request.body).get("id"), "result": result})


def options_for(url: str, **options) -> argparse.Namespace:
    given = {"key": KEY, "path": "/mcp", "user": None, "project": None, "session": None}
    return argparse.Namespace(url=url, **given | options)


def exchange(answer, *lines: bytes) -> dict:
    """Return what is written for the lines while a server answers so, by id."""
    output = io.BytesIO()
    with running(answer) as server:
        mcp_stdio.serve(options_for(server.url), io.BytesIO(b"".join(lines)), output)
    written = [json.loads(line) for line in output.getvalue().splitlines()]
    assert len({json.dumps(each["id"]) for each in written}) == len(written)
    return {each["id"]: each for each in written}


# Servers that are none


@pytest.mark.parametrize(
    "body",
    [
        '{"jsonrpc": "2.0", "id": 0, "result": null}',
        '{"jsonrpc": "2.0", "id": 0, "result": ["2025-11-25"]}',
        '{"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": 5}}',
        '{"jsonrpc": "2.0", "id": "another", "result": {}}',
        '{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Parse error"}}',
        '{"jsonrpc": "2.0", "id": 0, "result": ' + "[" * 100_000 + "}",
        '{"jsonrpc": "2.0", "id": 0, "resu',
        "[1, 2]",
        "",
        b"\xff\xfe",
    ],
    ids=str,
)
def test_every_request_is_answered_by_its_id(body):
    answers = exchange(lambda request: Answer(body=body), ask(0, "initialize"), ask(1), ask("1"))
    assert answers.keys() == {0, 1, "1"}


def test_a_key_that_is_revoked_in_the_middle_is_said_and_no_end():
    answers = exchange(
        lambda request: result_of(request) if json.loads(request.body)["id"] != 2 else Answer(401, {"detail": "no"}),
        *(ask(number) for number in (1, 2, 3)),
    )
    assert "refuses the key" in answers[2]["error"]["message"]
    assert answers[1]["result"] == answers[3]["result"] == {}


def test_a_site_that_comes_back_is_used_again():
    holder = hold_port()
    port = holder.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (reading, writing), output = os.pipe(), io.BytesIO()
    with holder, open(reading, "rb") as lines, open(writing, "wb", buffering=0) as client:
        worker = threading.Thread(target=mcp_stdio.serve, args=(options_for(url), lines, output))
        worker.start()
        client.write(ask(1, "initialize"))
        while not output.getvalue():
            worker.join(0.01)
        with running(result_of, port):
            client.write(ask(2, "initialize"))
            client.close()
            worker.join(60)
    away, back = map(json.loads, output.getvalue().splitlines())
    assert "cannot be reached" in away["error"]["message"] and back["result"] == {}


def test_a_password_in_the_address_is_not_shown():
    output = io.BytesIO()
    options = options_for("http://someone:hunter2@127.0.0.1:1")
    mcp_stdio.serve(options, io.BytesIO(ask(1)), output)
    assert b"http://127.0.0.1:1/mcp" in output.getvalue() and b"hunter2" not in output.getvalue()


# Clients that are odd


@pytest.mark.parametrize(
    "line",
    [
        *(b"\xff\xfe\x00", b"{", b'{"id": 1' + b"0" * 5000 + b"}", b"[]", b'"text"', b"\x00", b"[" * 100_000),
        *(b'{"jsonrpc": "2.0", "id": {"a": [1]}, "method": "ping"}', b'{"id": ' + b"[" * 500 + b"]" * 500 + b"}"),
    ],
    ids=lambda line: str(line[:20]),
)
def test_what_is_no_message_is_said_and_the_next_one_answered(line):
    answers = exchange(result_of, line + b"\n", ask(1))
    assert answers[None]["error"]["code"] in (-32700, -32600) and answers[1]["result"] == {}


def test_a_line_without_an_end_is_not_held(monkeypatch):
    monkeypatch.setattr(mcp_stdio, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(mcp_stdio, "CHUNK_BYTES", 10)
    answers = exchange(result_of, ask(1, text="x" * 1000), ask(2))
    assert answers.keys() == {None, 2}
    assert exchange(result_of, ask(1), b"x" * 1000).keys() == {None, 1}


@pytest.mark.parametrize("params", [None, 3, {}, {"requestId": None}, {"requestId": {"a": 1}}, {"requestId": "other"}])
def test_an_odd_cancellation_cancels_nothing(params):
    notice = json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode() + b"\n"
    assert exchange(result_of, ask(1), notice).keys() == {1}


def test_a_hundred_calls_at_once_are_each_answered_once_and_sixteen_at_a_time():
    lock, together, most = threading.Lock(), [0], [0]

    def answer(request):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        threading.Event().wait(0.01)
        with lock:
            together[0] -= 1
        return result_of(request)

    answers = exchange(answer, *(ask(number) for number in range(100)))
    assert answers.keys() == set(range(100)) and most[0] <= mcp_stdio.MAX_CALLS


def test_a_client_that_reads_nothing_before_it_has_written_everything_is_answered():
    (lines, client_out), (client_in, output) = os.pipe(), os.pipe()
    with (
        running(lambda request: result_of(request, text=LARGE)) as server,
        open(lines, "rb") as source,
        open(client_in, "rb") as answers,
    ):
        target = open(output, "wb", buffering=0)  # noqa: SIM115  (the thread closes it)

        def serve():
            with target:
                mcp_stdio.serve(options_for(server.url), source, target)

        worker = threading.Thread(target=serve)
        worker.start()
        with open(client_out, "wb") as client:
            client.write(b"".join(ask(number, text="x" * 5000) for number in range(40)))
        assert {json.loads(line)["id"] for line in answers} == set(range(40))
        worker.join(60)


# The program itself


@contextmanager
def program(url, shell="", **streams):
    environment = os.environ | {"MEMORY_URL": url, "MEMORY_KEY": KEY}
    argv = ["sh", "-c", f'exec "$0" -m memory_client.mcp_stdio {shell}', sys.executable]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    with subprocess.Popen(argv, env=environment, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_without_standard_streams_it_says_so(closed):
    with program("http://127.0.0.1:1", closed) as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (mcp_stdio.EXIT_USAGE_ERROR, b"")
    assert errors.startswith(b"Standard input and output are needed")


def test_a_client_that_is_gone_is_no_error():
    with open("/dev/full", "wb") as full, program("http://127.0.0.1:1", stdout=full) as process:
        _, errors = process.communicate(ask(1) + b"{no json\n", timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_pipes_that_do_not_wait_lose_nothing():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (
        running(lambda request: result_of(request, text=LARGE)) as server,
        program(server.url, stdout=writing) as process,
    ):
        os.close(writing)
        process.stdin.write(b"".join(ask(number) for number in range(5)))
        process.stdin.close()
        with open(reading, "rb") as answers:
            assert {json.loads(line)["id"] for line in answers} == set(range(5))
        assert (process.wait(60), process.stderr.read()) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_in_the_middle_of_a_call(number):
    asked, over = threading.Event(), threading.Event()

    def answer(request):
        asked.set()
        over.wait(60)
        return Answer(None)

    with running(answer) as server, program(server.url) as process:
        process.stdin.write(ask(1))
        process.stdin.flush()
        assert asked.wait(60)
        process.send_signal(number)
        assert process.wait(60) == -number
        over.set()
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--key", ""], "A key is needed"),
        (["--key", "mem_a\nb"], "A key is needed"),
        (["--key", KEY, "--project", "a\nb"], "--project must be text"),
        (["--key", KEY, "--user", "a\udcff"], "--user must be text"),
        (["--key", KEY, "--session", "\x1b[31m"], "--session must be text"),
    ],
)
def test_options_that_cannot_be_sent_are_refused(arguments, expected, capsys):
    assert mcp_stdio.main(arguments) == mcp_stdio.EXIT_USAGE_ERROR
    written = capsys.readouterr()
    assert written.out == "" and expected in written.err
    assert "secret" not in written.err
