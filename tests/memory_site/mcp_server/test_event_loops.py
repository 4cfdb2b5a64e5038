"""The event loops behind the MCP server: one for each request at a time, kept for the next one."""

import os
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from memory_site.mcp_server.event_loops import EventLoops


@pytest.fixture
def loops():
    loops = EventLoops()
    yield loops
    for each in loops._idle.values():
        for loop in each:
            loop.close()


def test_a_loop_is_lent_again_by_whichever_thread(loops):
    def use() -> int:
        with loops.lend() as loop:
            loop.call_soon(loop.stop)
            loop.run_forever()
            return id(loop)

    with ThreadPoolExecutor(1) as pool:
        assert use() == pool.submit(use).result(60) == use()


def test_requests_at_the_same_time_have_loops_of_their_own(loops):
    together = Barrier(3)

    def use(_: int) -> int:
        with loops.lend() as loop:
            together.wait(60)
            return id(loop)

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(use, range(3)))) == 3


def test_a_loop_that_another_thread_takes_first_is_replaced(loops):
    class Taken(deque):
        """Had a loop when it was asked, and none when it was to give it."""

        def __len__(self) -> int:
            return 1

    loops._idle[os.getpid()] = Taken()
    with loops.lend() as loop:
        assert not loop.is_closed()


def test_a_loop_that_saw_an_exception_is_not_lent_again(loops):
    with pytest.raises(ValueError, match="broken"), loops.lend() as broken:
        raise ValueError("broken")
    assert broken.is_closed()
    with loops.lend() as loop:
        assert loop is not broken


def test_a_forked_process_has_its_own(loops):
    with loops.lend() as parents:
        pass
    if (child := os.fork()) == 0:
        with loops.lend() as loop:
            os._exit(0 if loop is not parents else 1)
    assert os.waitpid(child, 0)[1] == 0
    with loops.lend() as loop:
        assert loop is parents


def test_commands_do_not_load_the_sdk():
    code = "import django, sys; django.setup(); import memory_site.urls; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, timeout=60, text=True)
    assert done.stdout.strip() == "False", done.stderr
