"""The program that Claude Code starts, whatever it is given."""

import subprocess

import pytest

from tests.plugins.claude_code import HOOKS

ARGV = ["python3", "-I", str(HOOKS / "memory.py")]
NONSENSE = {
    "nothing": "",
    "half": "{",
    "list": "[]",
    "deep": "[" * 100_000,
    "other": '{"hook_event_name": "Other"}',
    "missing-fields": '{"hook_event_name": "Stop"}',
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_on_stdin_is_no_failure(case):
    environment = {"PATH": "/usr/bin:/bin", "MEMORY_KEY": "k", "MEMORY_QUEUE_DIR": "/dev/null/none"}
    done = subprocess.run(ARGV, input=NONSENSE[case], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("memory: ")
    assert done.stderr.count("\n") == 1


def test_stdin_that_stays_open_is_not_waited_for():
    with subprocess.Popen(ARGV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"}) as hook:
        assert hook.stdin
        hook.stdin.write(b"{")
        hook.stdin.flush()
        assert hook.wait(60) == 0
