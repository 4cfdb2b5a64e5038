"""Runs health checks with a time limit, whatever a check does: never raises, never blocks.

The web server runs them in threads. A command runs each in a process of its own: it ends in time with its own exit code
even if a check crashes or stays inside native code, where a thread would abort the interpreter at its end or keep all
other threads from running.
"""

import os
import selectors
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from django.db import connections
from pydantic_core import from_json, to_json

from memory_site.operations.health.checks import CHECKS
from memory_site.operations.health.results import Component, HealthStatus
from sessions_app.commands import get_first_line

CHECK_TIMEOUT_SECONDS = 3.0
#: A killed process holds the locks of the data directory until it is gone, which takes a moment.
REAP_TIMEOUT_SECONDS = 1.0
MAX_READ_BYTES = 65_536

#: Threads whose check did not come back in time. While one lives, its check is not started again.
_late_threads: dict[str, threading.Thread] = {}


def run_check(name: str) -> Component:
    """Run one check in this thread. An error that it raises is its result."""
    check, when_failing, mend = CHECKS[name]
    started = time.perf_counter()
    advice: Sequence[str] = ()
    try:
        status, message, *advice = check()
    except Exception as error:  # any failure of a component is a finding, not an error here
        status, message = when_failing, get_first_line(error)
    finally:
        connections.close_all()
    latency = round((time.perf_counter() - started) * 1000, 1)
    return Component(name, status, message, "".join(advice) or (mend if status else ""), latency)


def check_components(names: Sequence[str] = tuple(CHECKS)) -> list[Component]:
    """Run the named checks in threads, within CHECK_TIMEOUT_SECONDS."""
    found: dict[str, Component] = {}
    threads = {name: start_thread(name, found) for name in names if not is_still_running(name)}
    until = time.monotonic() + CHECK_TIMEOUT_SECONDS
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            _late_threads[name] = thread
    return [found.get(name) or timed_out(name) for name in names]


def is_still_running(name: str) -> bool:
    late = _late_threads.get(name)
    return late is not None and late.is_alive()


def start_thread(name: str, found: dict[str, Component]) -> threading.Thread:
    thread = threading.Thread(target=lambda: found.update({name: run_check(name)}), daemon=True)
    thread.start()
    return thread


@dataclass
class CheckProcess:
    """A process that runs one check and writes its component to a pipe."""

    name: str
    pid: int
    pipe: int
    received: bytes = b""
    ended: bool = False

    @property
    def component(self) -> Component:
        with suppress(ValueError):
            fields = from_json(self.received)
            return Component(**fields | {"status": HealthStatus(fields["status"])})
        return crashed(self.name) if self.ended else timed_out(self.name)


def check_components_in_processes(names: Sequence[str] = tuple(CHECKS)) -> list[Component]:
    """Run each of the named checks in a process of its own, in CHECK_TIMEOUT_SECONDS. Only without other threads."""
    connections.close_all()
    checks = [start_process(name) for name in names]
    try:
        receive_components(checks, time.monotonic() + CHECK_TIMEOUT_SECONDS)
    finally:
        stop_processes(checks)
    return [check.component for check in checks]


def start_process(name: str) -> CheckProcess:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        send_component(name, writer)
    os.close(writer)
    return CheckProcess(name, pid, reader)


def send_component(name: str, pipe: int) -> NoReturn:
    """Leave without the interpreter's shutdown: it belongs to the parent, and the check may have left threads."""
    try:
        os.write(pipe, to_json(vars(run_check(name))))
    finally:
        os._exit(0)


def receive_components(checks: Sequence[CheckProcess], deadline: float) -> None:
    """Read what the processes write until all have ended or the deadline is over."""
    with selectors.DefaultSelector() as selector:
        for check in checks:
            selector.register(check.pipe, selectors.EVENT_READ, check)
        while selector.get_map() and (seconds := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(seconds):
                read_chunk(key.data)
                if key.data.ended:
                    selector.unregister(key.fileobj)


def read_chunk(check: CheckProcess) -> None:
    chunk = os.read(check.pipe, MAX_READ_BYTES)
    check.received += chunk
    check.ended = not chunk


def stop_processes(checks: Sequence[CheckProcess]) -> None:
    """Kill what still runs and wait for it; not for a process that even SIGKILL does not end, as in a dead disk."""
    for check in checks:
        os.close(check.pipe)
        os.kill(check.pid, signal.SIGKILL)
    deadline = time.monotonic() + REAP_TIMEOUT_SECONDS
    left = {check.pid for check in checks}
    while left := {pid for pid in left if not is_reaped(pid)}:
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)


def is_reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def timed_out(name: str) -> Component:
    """Return the component of a check that is late: it is not known to be healthy; without a database nothing works."""
    status = HealthStatus.UNHEALTHY if name == "database" else HealthStatus.DEGRADED
    message = f"No answer within {CHECK_TIMEOUT_SECONDS:.0f} s."
    return Component(name, status, message, CHECKS[name].mend, CHECK_TIMEOUT_SECONDS * 1000)


def crashed(name: str) -> Component:
    _, when_failing, mend = CHECKS[name]
    return Component(name, when_failing, "The check crashed.", mend)
