"""Tracing in processes of their own: off, on, and with a receiver that does not answer."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from memory_site.core.tracing.setup import FLUSH_SECONDS
from tests.otlp import running_receiver

#: Loads the web server's and the worker's entry points, and says what of OpenTelemetry and structlog came with them.
LOADS_EVERYTHING_SCRIPT = """
import sys
import memory_site.wsgi, memory_site.celery
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "structlog", "google")))
"""
#: A child that makes spans and ends, as a worker of the web server does. Its arguments: how many, and the seconds that
#: its end waits for the receiver.
TRACES_IN_A_CHILD_SCRIPT = """
import multiprocessing, sys
import django
django.setup()
from memory_site.core import tracing
from memory_site.core.tracing import setup

setup.FLUSH_SECONDS = float(sys.argv[2])

def work():
    setup.start_tracing("web")
    for number in range(int(sys.argv[1])):
        with tracing.span("work"):
            pass

child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
print("ended")
"""
#: What waits for an answer of the receiver waits longer than the script may take.
SCRIPT_SECONDS = 180
PATIENCE = {f"OTEL_EXPORTER_OTLP_{kind}TIMEOUT": "600" for kind in ("", "TRACES_", "METRICS_")}


def run_script(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "memory_site.settings", **variables}
    argv = [sys.executable, "-c", script, *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=SCRIPT_SECONDS)


def test_off_nothing_of_it_is_loaded():
    result = run_script(LOADS_EVERYTHING_SCRIPT)
    assert result.stdout == "[]\n", result.stderr


def test_the_last_spans_are_sent_when_a_process_ends():
    """The exporter would wait for a minute, and a child of multiprocessing runs no atexit."""
    with running_receiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        result = run_script(TRACES_IN_A_CHILD_SCRIPT, "10", "60", **variables | PATIENCE, OTEL_SERVICE_NAME="my-memory")
    assert [span.name for span in receiver.spans] == 10 * ["work"], result.stderr
    assert receiver.spans[0].resource["service.name"] == "my-memory"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("away", ["silent", "refused"])
def test_a_receiver_that_is_away_delays_neither_work_nor_end(away, silent_server):
    url = silent_server if away == "silent" else "http://127.0.0.1:1"
    variables = PATIENCE | {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "LOG_LEVEL": "INFO"}
    result = run_script(TRACES_IN_A_CHILD_SCRIPT, "20000", f"{FLUSH_SECONDS}", **variables)
    assert result.stdout == "ended\n"
    complaints = [line for line in result.stderr.splitlines() if " opentelemetry." in line]
    assert 1 <= len(complaints) <= 6, result.stderr
    assert len(complaints) == len({line.partition(" opentelemetry")[2] for line in complaints})


def test_a_sampler_is_chosen_by_the_standard_variables():
    with running_receiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_TRACES_SAMPLER": "always_off"}
        result = run_script(TRACES_IN_A_CHILD_SCRIPT, "10", "60", **variables)
    assert result.returncode == 0
    assert receiver.spans == []
