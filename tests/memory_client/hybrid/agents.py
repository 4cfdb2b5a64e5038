"""Programs of an agent that run in a process of their own: `python -m tests.memory_client.hybrid.agents NAME …`."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor

from memory_client.hybrid import HybridMemory

#: Where nobody listens.
NOWHERE = "http://127.0.0.1:9"
#: On a busy machine an answer or another writer is waited for longer than in an agent's life. A repeated write would be
#: another one than a test expects.
PATIENCE = {"timeout": 60.0, "busy_seconds": 60.0}


def open_memory(path, url=NOWHERE, key="mem_nobody", **options):
    return HybridMemory(url, key, path=path, **PATIENCE | options)


def write_until_killed(path, url=NOWHERE, key="mem_nobody"):
    """Print each id when it is stored."""
    memory, number = open_memory(path, url, key, poll_seconds=0.05), 0
    while True:
        number += 1
        print(memory.store_persistent_memory("ada", f"Fact number {number}.", "business_fact"), flush=True)


def write_until_too_large(path, limit):
    """Print each id when it is stored, and then the error, with which no file of this process grows beyond `limit`."""
    with open_memory(path) as memory:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        try:
            while True:
                print(memory.store_persistent_memory("ada", "A fact. " * 50, "business_fact"), flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)


def write_with_threads(path, name, threads, count):
    with open_memory(path) as memory, ThreadPoolExecutor(int(threads)) as pool:
        contents = [f"Thread of {name} says {number}." for number in range(int(count))]
        for memory_id in pool.map(lambda text: memory.store_persistent_memory("ada", text, "business_fact"), contents):
            print(memory_id)


PROGRAMS = {each.__name__: each for each in (write_until_killed, write_until_too_large, write_with_threads)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
