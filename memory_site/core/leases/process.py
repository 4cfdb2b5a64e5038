"""Identity of a process among those of all machines and containers, and whether one of this machine has ended."""

import os
import socket
from functools import cache
from pathlib import Path

PROC = Path("/proc")
#: Field of /proc/PID/stat after the name: ticks from the machine's start to the process's.
STATE_FIELD, START_FIELD = 0, 19
ENDED_STATES = "ZX"


def format_process_name(pid: int | None = None) -> str:
    """Return a name for people: host and process id, by default this process's."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"


def identify_process() -> str:
    """Return what no other process has: boot of the machine, namespace of process ids, process id, time of the start.

    Empty where the system has no /proc: nothing is known of such a process.
    """
    pid = os.getpid()
    fields = read_stat(pid)
    return f"{identify_machine()} {pid} {fields[START_FIELD]}" if fields else ""


def has_ended(identity: str) -> bool:
    """Return whether a process of this machine, and of this container, has ended. False if it is another machine's."""
    machine, _, rest = identity.partition(" ")
    if not machine or machine != identify_machine():
        return False
    pid, started = rest.split()
    fields = read_stat(int(pid))
    return fields is None or fields[STATE_FIELD] in ENDED_STATES or fields[START_FIELD] != started


@cache
def identify_machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def read_stat(pid: int) -> list[str] | None:
    """Return the fields of a process behind its name, which may contain spaces; None if there is no such process."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
