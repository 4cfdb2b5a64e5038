"""Writes to a local file until it is killed: `python -m tests.benchmarks.hybrid_writer PATH PER_SECOND`."""

import sys
import threading

from tests.benchmarks.hybrid import write_steadily
from tests.memory_client.hybrid.agents import open_memory

if __name__ == "__main__":
    with open_memory(sys.argv[1]) as memory:
        write_steadily(memory, threading.Event(), float(sys.argv[2]))
