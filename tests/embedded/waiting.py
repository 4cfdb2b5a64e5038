"""Helpers for tests of processes."""

import os
import signal
import time

import psutil


def kill_process(child):
    """Kill without a word; the child stays a zombie until its parent looks."""
    os.kill(child.pid, signal.SIGKILL)


def is_gone(pid):
    """Whether no such process runs; a zombie does not run."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, seconds=60):
    """Whether the condition comes to hold within that time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
