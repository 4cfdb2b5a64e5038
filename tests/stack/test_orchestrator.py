"""The worked example of an orchestrator, beside a running site and beside one that is away."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from memory_site.embedded.running_site import is_live
from tests.stack.stack import Stack, wait_until

EXAMPLE_PATH = Path(__file__).resolve().parents[2] / "examples" / "orchestrator.py"
#: The example, which waits longer for a site that is there, but on a busy machine.
PATIENT_SCRIPT = f"""
import sys
sys.path.insert(0, {str(EXAMPLE_PATH.parent)!r})
import orchestrator
orchestrator.TIMEOUT_SECONDS = 30
orchestrator.main()
"""
#: Seconds that the example waits for a site that is away, and for one that is there, on a busy machine.
OUTAGE_SECONDS, SITE_SECONDS = 1.5, 30


class Talk:
    """The example run as a program that is asked one question after the other."""

    def __init__(self, url: str, key: str, session: str, *, patient: bool = False) -> None:
        program = ["-c", PATIENT_SCRIPT] if patient else [str(EXAMPLE_PATH)]
        words = [sys.executable, *program, "--url", url, "--key", key, "--session", session]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(words, text=True, **streams)

    def ask(self, question: str) -> str:
        """The answer."""
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def end(self) -> str:
        """What it has said on stderr."""
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return errors


class Asking:
    """The example in this process, which decides how long it waits for the site."""

    def __init__(self, stack: Stack, session: str) -> None:
        self.example = load_orchestrator()
        self.memory = self.example.SessionClient(stack.url, stack.key, session)

    def ask(self, question: str, seconds: float) -> None:
        self.example.TIMEOUT_SECONDS = seconds
        self.example.run_turn(self.memory, question)

    def ask_later(self, question: str) -> None:
        """Ask when the pause after a failure is over."""
        self.memory.paused_until.clear()
        self.ask(question, SITE_SECONDS)


@contextmanager
def open_talk(url: str, key: str, session: str, *, patient: bool = False) -> Iterator[Talk]:
    talking = Talk(url, key, session, patient=patient)
    try:
        yield talking
    finally:
        talking.process.kill()
        talking.process.communicate()


def list_saved_questions(stack: Stack, session: str) -> list[str]:
    """The questions of the session, oldest first."""
    answer = stack.call("GET", f"/sessions/{quote(session, safe='')}/context?limit=50")
    assert answer.status == 200, answer.data
    return [each["query"] for each in answer.json()["interactions"]][::-1]


def load_orchestrator():
    spec = importlib.util.spec_from_file_location("orchestrator", EXAMPLE_PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_second_turn_sees_the_first_and_memories(stack):
    stack.add("The harbour of Brekstad opens at nine.")
    stack.search("harbour")  # the first search of all waits for the model
    with open_talk(stack.url, stack.key, "a talk/é", patient=True) as talking:
        first = talking.ask("When does the harbour of Brekstad open?")
        wait_until(lambda: len(list_saved_questions(stack, "a talk/é")) == 1, 60, "the first turn is saved")
        second = talking.ask("And when does it close?")
        assert talking.end() == ""
    assert "Before: nothing" in first
    assert "The harbour of Brekstad opens at nine." in first
    assert "you asked 'When does the harbour of Brekstad open?'" in second
    assert list_saved_questions(stack, "a talk/é") == [
        "When does the harbour of Brekstad open?",
        "And when does it close?",
    ]


def test_one_question_is_asked_on_the_command_line(stack):
    words = ["--url", stack.url, "--key", stack.key, "--session", "once", "Who is there?"]
    argv = [sys.executable, "-c", PATIENT_SCRIPT, *words]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "You ask 'Who is there?'" in result.stdout
    assert list_saved_questions(stack, "once") == ["Who is there?"]


def test_frozen_site_delays_nothing_and_turns_arrive_once(shaken, capsys):
    asking = Asking(shaken, "frozen")
    asking.ask("one", SITE_SECONDS)
    assert list_saved_questions(shaken, "frozen") == ["one"]
    with shaken.frozen("web"):
        asking.ask("two", OUTAGE_SECONDS)
        asking.ask("three", OUTAGE_SECONDS)
    wait_until(lambda: list_saved_questions(shaken, "frozen") == ["one", "two"], 60, "the frozen request is served")
    said = capsys.readouterr()
    assert "(memory: away" in said.err
    assert "You ask 'two'. Before: nothing." in said.out
    assert "You ask 'three'. Before: nothing." in said.out
    asking.ask_later("four")
    assert "you asked 'one'" in capsys.readouterr().out
    assert list_saved_questions(shaken, "frozen") == ["one", "two", "three", "four"]


def test_turn_with_a_lost_response_is_stored_once(shaken):
    """Its request reaches the frozen server, which saves it when it wakes; the client asks again all the same."""
    example = load_orchestrator()
    memory = example.SessionClient(shaken.url, shaken.key, "lost answer")
    with shaken.frozen("web"):
        memory.save("one", "1")
        assert len(memory.unsaved) == 1
    wait_until(lambda: list_saved_questions(shaken, "lost answer") == ["one"], 60, "the frozen request is served")
    memory.paused_until.clear()
    example.TIMEOUT_SECONDS = 30  # of a site that is there, on a busy machine
    memory.save("two", "2")
    assert not memory.unsaved
    assert list_saved_questions(shaken, "lost answer") == ["one", "two"]


def test_killed_site_does_not_prevent_answers(shaken, capsys):
    asking = Asking(shaken, "killed")
    killed = shaken.kill("web")
    asking.ask("one", OUTAGE_SECONDS)
    assert "You ask 'one'" in capsys.readouterr().out
    wait_until(lambda: shaken.is_back("web", killed), 60, "the web server is back")
    wait_until(lambda: is_live(shaken.url), 60, "it answers")
    asking.ask_later("two")
    assert list_saved_questions(shaken, "killed") == ["one", "two"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://nowhere.invalid", "http://[", ""])
def test_unreachable_address_costs_only_the_memory(url):
    with open_talk(url, "mem_x_y", "s") as talking:
        answer = talking.ask("one")
        assert "You ask 'one'. Before: nothing. I remember: nothing." in answer
        assert "(1 turns could not be saved)" in talking.end()


@pytest.mark.parametrize("key", ["mem_wrong_key", "", "é", "a\nb"])
def test_invalid_key_costs_only_the_memory(stack, key):
    with open_talk(stack.url, key, "s") as talking:
        answer = talking.ask("one")
        assert "You ask 'one'. Before: nothing. I remember: nothing." in answer
        assert "(1 turns could not be saved)" in talking.end()


def test_permanently_refused_turn_does_not_block_the_next(stack):
    example = load_orchestrator()
    example.TIMEOUT_SECONDS = 30
    memory = example.SessionClient(stack.url, stack.key, "refused")
    memory.save("\u2800", "blank to every reader")
    memory.save("two", "2")
    assert not memory.unsaved
    assert list_saved_questions(stack, "refused") == ["two"]
