"""`manage.py demo` shows the main job, with a site or without one."""

import pytest

from memory_site.operations.demo_data import MEMORIES, QUESTIONS
from tests.stack.stack import create_short_directory, find_processes, run_manage


def is_demo_output(output):
    answers, _, rest = output.partition("A session remembers")
    session, _, knowledge = rest.partition("documents:")
    return (
        all(question in answers for question, _ in QUESTIONS)
        and sum(MEMORIES[at] in answers for _, at in QUESTIONS) >= 4
        and [question in session for question, _ in QUESTIONS] == [False, False, True, True, True]
        and "0004-exact-or-approximate.md:" in knowledge
    )


@pytest.mark.parametrize("time", ["first", "second"])
def test_it_asks_a_running_site(stack, time):
    result = run_manage("demo", **stack.environment)
    assert result.returncode == 0, result.stderr
    assert is_demo_output(result.stdout)
    assert stack.page("/health/ready").status == 200


def test_it_starts_a_site_of_its_own_and_stops_it():
    with create_short_directory() as directory:
        result = run_manage("demo", DATA_DIR=str(directory / "data"))
        assert result.returncode == 0, result.stderr
        assert is_demo_output(result.stdout)
        assert find_processes(directory) == []
