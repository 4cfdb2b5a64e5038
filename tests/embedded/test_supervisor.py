"""Restarts of children, and a stop that leaves no process. The children are small stand-ins."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from memory_site.embedded import processes
from memory_site.embedded import supervisor as supervisors
from memory_site.embedded.processes import KEPT_LOGS, MAX_LOG_BYTES, Child
from memory_site.embedded.supervisor import (
    ALL_STOPPED_SECONDS,
    PROGRAMS_STOP_SECONDS,
    SERVERS_STOP_SECONDS,
    Supervisor,
    WatchedChild,
)
from tests.embedded.waiting import is_gone, kill_process, wait_for

#: It says that it was asked to end, and does not.
IGNORES_SIGTERM_SCRIPT = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))
print('up', flush=True)
time.sleep(600)
"""
ENDS_ON_SIGTERM_SCRIPT = "import time; print('up', flush=True); time.sleep(600)"
LARGE_SCRIPT = "import time; full = bytearray(b'x') * 300_000_000; print('up', flush=True); time.sleep(600)"
#: A supervisor in a process of its own, as `serve` has it: two programs and one server of the given kind.
SUPERVISE_SCRIPT = """
import json, pathlib, signal, sys
from memory_site.embedded import supervisor as module
from memory_site.embedded.processes import Child
from memory_site.embedded.supervisor import Supervisor
if sys.argv[4:]:
    module.PROGRAMS_STOP_SECONDS = module.SERVERS_STOP_SECONDS = module.ALL_STOPPED_SECONDS = float(sys.argv[4])
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the parent of the tests may have ignored it
code, death, directory = sys.argv[1], signal.Signals[sys.argv[2]], pathlib.Path(sys.argv[3])
children = [Child(name, [sys.executable, "-c", code], directory / name, death_signal=death) for name in "abc"]
try:
    with Supervisor() as supervisor:
        supervisor.add_server(children[0])
        children[0].launch()
        for child in children[1:]:
            supervisor.add_program(child)
        supervisor.watch(until=lambda: all(child.last_lines() for child in children))
        print(json.dumps([child.pid for child in children]), flush=True)
        supervisor.watch()
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.fixture
def supervise(directory):
    """Starts a supervisor of three children and returns it with their process ids. A patient one waits longer than any
    test for children that were asked to end."""
    started = []

    def supervise(code=ENDS_ON_SIGTERM_SCRIPT, death="SIGTERM", *, patient=False):
        argv = [sys.executable, "-c", SUPERVISE_SCRIPT, code, death, str(directory), *["600"] * patient]
        process = subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        pids = json.loads(process.stdout.readline())
        started.append((process, pids))
        return process, pids

    yield supervise
    for process, pids in started:
        process.kill()
        process.communicate()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def build_child(directory, code, **options):
    return Child("stand-in", [sys.executable, "-c", code], directory / "log", **options)


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_at_once(supervise, request_to_stop):
    process, pids = supervise(patient=True)
    process.send_signal(request_to_stop)
    assert process.wait(60) == 0
    assert process.stdout.read() == "stopped\n"
    assert all(map(is_gone, pids))


def test_children_that_ignore_signals_are_killed_within_ten_seconds(supervise):
    process, pids = supervise(IGNORES_SIGTERM_SCRIPT)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert time.monotonic() - started > PROGRAMS_STOP_SECONDS
    assert all(map(is_gone, pids))
    assert PROGRAMS_STOP_SECONDS < SERVERS_STOP_SECONDS < ALL_STOPPED_SECONDS < 10


def test_further_signals_shorten_the_stop(supervise, directory):
    process, pids = supervise(IGNORES_SIGTERM_SCRIPT, patient=True)

    def are_asked(names):
        return all("asked" in (directory / name).read_text() for name in names)

    process.send_signal(signal.SIGINT)
    server, *programs = pids
    assert wait_for(lambda: are_asked("bc"))
    assert not is_gone(programs[0])
    process.send_signal(signal.SIGINT)
    assert wait_for(lambda: are_asked("a"))
    assert all(map(is_gone, programs))
    assert not is_gone(server)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert is_gone(server)


def test_a_further_signal_that_comes_before_the_stop_has_begun_counts(directory, monkeypatch):
    monkeypatch.setattr(supervisors, "PROGRAMS_STOP_SECONDS", 100.0)
    monkeypatch.setattr(supervisors, "ALL_STOPPED_SECONDS", 200.0)
    with pytest.raises(KeyboardInterrupt), Supervisor() as supervisor:
        supervisor.add_program(build_child(directory, IGNORES_SIGTERM_SCRIPT))
        supervisor.watch(until=lambda: supervisor.programs[0].child.last_lines())
        started = time.monotonic()
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
    assert time.monotonic() - started < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
@pytest.mark.parametrize(("code", "death"), [(ENDS_ON_SIGTERM_SCRIPT, "SIGTERM"), (IGNORES_SIGTERM_SCRIPT, "SIGKILL")])
def test_a_killed_supervisor_leaves_no_children(supervise, code, death):
    process, pids = supervise(code, death)
    process.kill()
    assert wait_for(lambda: all(map(is_gone, pids)))


def test_ctrl_c_in_the_terminal_reaches_only_the_supervisor(supervise):
    process, pids = supervise()
    groups = {os.getpgid(pid) for pid in pids}
    assert groups == set(pids)
    assert os.getpgid(process.pid) not in groups


def test_dead_child_is_restarted(directory):
    supervisor, stand_in = Supervisor(), build_child(directory, ENDS_ON_SIGTERM_SCRIPT)
    supervisor.add_program(stand_in)
    first = stand_in.pid
    kill_process(stand_in)
    started = time.monotonic()
    supervisor.watch(until=lambda: stand_in.pid not in (None, first))
    assert time.monotonic() - started > 0.4
    supervisor.stop()
    assert not stand_in.running


def test_restart_delay_grows_and_last_lines_are_logged(directory, caplog):
    supervisor = Supervisor()
    supervisor.add_program(build_child(directory, "print('out of luck'); raise SystemExit(3)"))
    supervisor.watch(until=lambda: supervisor.count_deaths() == 3)
    supervisor.stop()
    logged = [record.getMessage() for record in caplog.records]
    assert [text for text in logged if "restarts" in text] == [
        f"stand-in ended (exit code 3) and restarts in {pause} s" for pause in (0.5, 1.0, 2.0)
    ]
    assert logged[-1] == "The last lines of stand-in:\nout of luck"


def check_delay(watched, seconds):
    """Whether a child that is found dead now is started again so many seconds later."""
    before = time.monotonic()
    watched.check()
    return before + seconds <= watched.launch_at <= time.monotonic() + seconds


def test_restart_delay_is_at_most_half_a_minute(directory):
    watched = WatchedChild(build_child(directory, ENDS_ON_SIGTERM_SCRIPT))
    watched.deaths, watched.launched_at = 50, time.monotonic()
    assert check_delay(watched, 30)


def test_death_count_resets_after_a_long_life(directory):
    watched = WatchedChild(build_child(directory, ENDS_ON_SIGTERM_SCRIPT))
    watched.deaths, watched.launched_at = 7, time.monotonic() - 31
    assert check_delay(watched, 0.5)
    assert watched.deaths == 1


def test_missing_program_does_not_end_the_supervisor(directory):
    supervisor, stand_in = Supervisor(), build_child(directory, ENDS_ON_SIGTERM_SCRIPT)
    supervisor.add_program(stand_in)
    stand_in.argv = [str(directory / "missing")]
    kill_process(stand_in)
    supervisor.watch(until=lambda: supervisor.count_deaths() == 2)
    supervisor.stop()


def test_grandchildren_of_a_dead_child_are_killed_and_gone(directory, monkeypatch):
    """The system takes a moment to end a process of so many bytes."""
    monkeypatch.setattr(processes, "KILL_TIMEOUT_SECONDS", 60)
    start = f"subprocess.Popen([sys.executable, '-c', {LARGE_SCRIPT!r}])"
    code = f"import subprocess, sys; print({start}.pid, flush=True); input()"
    stand_in = build_child(directory, code)
    stand_in.launch()
    assert wait_for(lambda: "up" in stand_in.last_lines(100))
    watched = WatchedChild(stand_in)
    assert wait_for(lambda: not stand_in.running)
    grandchild = int(next(filter(str.isdigit, stand_in.last_lines(100))))
    watched.check()
    assert is_gone(grandchild)


def test_long_log_is_rotated_while_the_child_writes(directory):
    code = f"import sys, time; print('x' * {MAX_LOG_BYTES + 1}, flush=True); sys.stdin.read(); time.sleep(600)"
    stand_in = build_child(directory, code)
    stand_in.launch()
    assert wait_for(lambda: (directory / "log").stat().st_size == MAX_LOG_BYTES + 2)  # also the end of the line
    stand_in.rotate_log()
    assert (directory / "log").stat().st_size == 0
    assert (directory / "log.1").stat().st_size > MAX_LOG_BYTES
    stand_in.kill()
    stand_in.argv = [sys.executable, "-c", "print('again')"]
    stand_in.launch()
    assert wait_for(lambda: stand_in.last_lines() == ["again"])
    stand_in.stop()


def test_so_many_old_logs_are_kept(directory, monkeypatch):
    monkeypatch.setattr(processes, "MAX_LOG_BYTES", 10)
    stand_in = build_child(directory, "")
    for number in range(KEPT_LOGS + 2):
        (directory / "log").write_text(f"{number}" * 11)
        stand_in.rotate_log()
    kept = {path.name: path.read_text()[0] for path in directory.glob("log.*")}
    assert kept == {f"log.{age}": f"{KEPT_LOGS + 2 - age}" for age in range(1, KEPT_LOGS + 1)}


#: They wait for a rotation that is overdue, so that it does not matter when this process has its turns.
WRITES_LINES_SCRIPT = """
import os, time
for number in range(3000):
    while os.fstat(1).st_size > 6600:
        time.sleep(0.001)
    os.write(1, f'{os.getpid()} {number}\\n'.encode())
    time.sleep(0.0001)
"""


def test_several_processes_write_a_log_that_is_rotated(directory, monkeypatch):
    """Whole lines, none twice, and few are lost at each cut: not more than the writers can write meanwhile."""
    monkeypatch.setattr(processes, "MAX_LOG_BYTES", 6_000)
    monkeypatch.setattr(processes, "KEPT_LOGS", 50)
    writers = [build_child(directory, WRITES_LINES_SCRIPT) for _ in range(3)]
    for writer in writers:
        writer.launch()
    while any(writer.running for writer in writers):
        writers[0].rotate_log()
        time.sleep(0.001)
    files = list(directory.glob("log*"))
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert len(files) > 5
    assert len(lines) == len(set(lines))
    assert {len(line.split()) for line in lines} == {2}
    assert 9_000 - 100 * len(files) < len(lines) <= 9_000


def test_link_in_place_of_a_log_is_not_followed(directory):
    (directory / "log").symlink_to(directory / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        build_child(directory, ENDS_ON_SIGTERM_SCRIPT).launch()
    assert not (directory / "elsewhere").exists()


def test_a_child_can_have_its_own_environment(directory):
    stand_in = build_child(directory, "import os; print(os.environ['WORD'])", env={**os.environ, "WORD": "here"})
    stand_in.launch()
    assert wait_for(lambda: stand_in.last_lines() == ["here"])
    stand_in.stop()
