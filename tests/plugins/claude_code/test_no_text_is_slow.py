"""A search for a pattern lets no other thread run, so that even the limit of time could not end it."""

import time

import pytest
from memory_hooks.cleaning import clean
from memory_hooks.fence import defuse
from memory_hooks.transcript import read_text

SLOW_TEXTS = {
    "tag": ("<", " ", "x"),
    "private": ("", "<private ", ""),
    "injected": ("", "<system-reminder ", ""),
    "token": ("", "-eyJaaaaaaaa", ""),
    "command": ("", "<command-name>", ""),
}


def measure_seconds(text: str) -> float:
    began = time.thread_time()
    defuse(text)
    clean(text)
    read_text({"message": {"content": text}})
    return time.thread_time() - began


@pytest.mark.parametrize("case", SLOW_TEXTS)
def test_no_text_holds_a_hook_up(case):
    begin, part, end = SLOW_TEXTS[case]
    short, long = (begin + part * (size // len(part)) + end for size in (2_500, 20_000))
    quickest = min(measure_seconds(short) for _ in range(3))
    assert min(measure_seconds(long) for _ in range(2)) < 0.05 + 24 * quickest
