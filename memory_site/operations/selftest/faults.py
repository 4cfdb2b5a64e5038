"""Kills each part of a site while clients store, and compares the answers they got with what is there."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import urllib3

from memory_site.operations.selftest.journal import Journal, compare_with_site, run_clients
from memory_site.operations.selftest.report import Finding
from memory_site.operations.selftest.scratch_site import ScratchSite, SiteFailed, run_scratch_site, wait_until

PARTS = {"web": "the web server", "worker": "the worker", "postgres": "PostgreSQL", "broker": "the broker"}
#: A killed worker's texts are claimed again after the lease, which is a minute otherwise.
ENVIRONMENT = {"MEMORY_MAX_CONTEXT_LENGTH": "1000", "EMBEDDING_LEASE": "3"}
CLIENTS, ROUNDS = 4, 5
#: Seconds of work before a kill and after the recovery.
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 1.0
RECOVERY_TIMEOUT_SECONDS, DRAIN_TIMEOUT_SECONDS = 120.0, 120.0
WAITING_SQL = "SELECT count(*) FROM memories_dueembedding"
OnStep = Callable[[str], None]


def run_faults(short: bool, on_step: OnStep) -> Iterator[Finding]:
    """Yield the finding of each kill: SIGKILL of the web server, the worker, PostgreSQL and the broker, in turn."""
    on_step("Starting a scratch site")
    with run_scratch_site(**ENVIRONMENT) as site:
        journal = Journal()
        for number in range(1 if short else ROUNDS):
            for part, name in PARTS.items():
                on_step(f"Killing {name}")
                yield kill_part(site, journal, part, f"{name.removeprefix('the ')} killed", f"{number}-{part}")


def kill_part(site: ScratchSite, journal: Journal, part: str, trial: str, label: str) -> Finding:
    """Kill one part under load. `seconds` is the time until a memory was stored and embedded again."""
    before = journal.acknowledged
    with run_clients(site, journal, [f"{label}-{client}" for client in range(CLIENTS)]):
        time.sleep(BEFORE_SECONDS)
        killed = site.kill(part)
        seconds = wait_for_recovery(site, part, killed)
        time.sleep(AFTER_SECONDS)
    finding = compare_with_site(site, journal, lambda: wait_for_vectors(site))
    finding.trial, finding.seconds, finding.done = trial, seconds, journal.acknowledged - before
    return finding


def wait_for_recovery(site: ScratchSite, part: str, killed: int) -> float:
    """Return the seconds until the part runs again and a new memory has its vector."""
    started = time.monotonic()
    wait_until(lambda: site.is_back(part, killed), RECOVERY_TIMEOUT_SECONDS, f"a new {part}")
    wait_until(lambda: is_embedded(site, f"recovered from {killed}"), RECOVERY_TIMEOUT_SECONDS, "a memory is embedded")
    return time.monotonic() - started


def is_embedded(site: ScratchSite, content: str) -> bool:
    """Store a memory, or find it stored, and return whether it has its vector."""
    with suppress(urllib3.exceptions.HTTPError):
        response = site.call("POST", "/memories?wait=true", {"content": content}, timeout=10)
        return response.status < 300 and response.json()["embedded"]
    return False


def wait_for_vectors(site: ScratchSite) -> None:
    """Wait until nothing is due. What is still due then is counted as stale."""
    with suppress(SiteFailed):
        wait_until(lambda: site.rows(WAITING_SQL) == [(0,)], DRAIN_TIMEOUT_SECONDS, "all vectors")
