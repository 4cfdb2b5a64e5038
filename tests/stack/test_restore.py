"""A site loses its machine and gets everything back from elsewhere; and a backup takes its place while it is used."""

import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from memory_site.operations.backups.folder import list_stored
from memory_site.operations.backups.manifest import parse_manifest
from tests.memory_site.operations.restore.conftest import CHANGED_TABLES
from tests.s3 import BUCKET, running_s3
from tests.stack.stack import Stack, create_short_directory, run_manage, wait_until

SECRET_KEY = "written down elsewhere, which is what makes the machine replaceable"
QUERIES = ["Chen was in the market at 2, visit 122.", "Ada was in the harbour at 4, visit 700."]


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    """A site with a thousand memories and everything else, and their backup, whose copies go to an S3 server."""
    with create_short_directory() as directory, running_s3() as s3:
        environment = s3 | {"SECRET_KEY": SECRET_KEY, "BACKUP_TARGET": f"s3://{BUCKET}/drill", "EMBEDDER": "hashing"}
        stack = Stack(directory, **environment)
        try:
            drill(stack.start(), "fill")
            run(stack, "backup")
            yield stack
        finally:
            left = stack.stop()
        assert not left


def drill(site: Stack, step: str) -> str:
    """Run the README's example. Return what it prints."""
    argv = [sys.executable, "examples/drill.py", "--url", f"http://127.0.0.1:{site.port}", "--key", site.key, step]
    result = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def run(site: Stack, *arguments: str) -> subprocess.CompletedProcess:
    result = run_manage(*arguments, **site.environment)
    assert result.returncode == 0, result.stderr
    return result


def observe(site: Stack) -> tuple[str, list[str]]:
    """Counts, and what searches find. Memories that are equally near come in any order; scores are relative to samples
    of the rows as they lie on the disk."""
    first = [site.search(query, limit=1)["results"][0]["memory"]["id"] for query in QUERIES]
    return drill(site, "show"), first


def read_tables(site: Stack, settings: Any) -> dict[str, dict]:
    """Rows and hashes of all tables, as the latest manifest has them."""
    settings.SECRET_KEY = SECRET_KEY
    latest = list_stored(site.data / "backups")[0]
    tables = parse_manifest(latest.manifest_path.read_bytes(), latest.name)["tables"]
    return {name: found for name, found in tables.items() if name not in CHANGED_TABLES}


def test_everything_is_back_on_an_empty_machine(site, settings, measured):
    assert ": verified. " in run(site, "verify_backup").stdout
    before, seen = read_tables(site, settings), observe(site)
    assert before["public.memories_memory"]["rows"] >= 1000
    assert site.stop() == []
    shutil.rmtree(site.data)
    started = time.monotonic()
    said = run(site, "restore", "latest")
    measured("restore of 1,000 memories on an empty machine, fetched from S3", time.monotonic() - started)
    run(site, "backup")
    assert read_tables(site, settings) == before
    site.start()
    assert observe(site) == seen
    assert "The database before it" not in said.stdout


class Writer(threading.Thread):
    """Stores one memory after the other, and notes what was answered."""

    def __init__(self, site: Stack) -> None:
        super().__init__(daemon=True)
        self.site, self.statuses, self.waits = site, Counter(), set()
        self.stored, self.ended = [], threading.Event()
        self.start()

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            asked_at = time.monotonic()
            answer = self.site.call("POST", "/memories", {"content": f"Written while it was replaced, {number}."})
            self.statuses[answer.status] += 1
            if answer.status == 201:
                self.stored.append((asked_at, answer.json()["id"]))
            elif answer.status == 503:
                self.waits.add(answer.headers.get("Retry-After") is not None)
            time.sleep(0.05)  # the restore needs the processor too


def test_a_backup_takes_the_place_of_a_site_that_is_used(site, measured):
    """What is acknowledged afterwards stays; meanwhile requests are refused with 503; who was erased stays away."""
    name = list_stored(site.data / "backups")[0].name
    assert site.call("DELETE", "/users/dana").status == 200
    writer = Writer(site)
    wait_until(lambda: writer.statuses[201] > 20, 60, "the writer is at work")
    said = run(site, "restore", name, "--replace", "memory").stdout
    swapped = time.monotonic()
    wait_until(lambda: writer.stored[-1][0] > swapped + 1, 60, "memories are stored again")
    writer.ended.set()
    writer.join()
    assert "1 erasure that came after it was repeated." in said
    assert set(writer.statuses) <= {201, 503} and writer.waits <= {True}
    measured("requests that were refused while the database was replaced", writer.statuses[503])
    assert all(site.call("GET", f"/memories/{each}").status == 200 for at, each in writer.stored if at > swapped)
    assert site.call("GET", "/users/dana").status == 404
    assert site.call("GET", "/users/emil").status == 200
    later = site.add("The worker is at work in the new database.")
    wait_until(lambda: site.call("GET", f"/memories/{later['id']}").json()["embedded"], 60, "it is embedded")
    wait_until(lambda: {"beat": "healthy", "worker": "healthy"}.items() <= site.health().items(), 60, "beat and worker")
    [kept] = [line.split("--drop ")[1] for line in said.splitlines() if "--drop" in line]
    assert kept in run(site, "list_backups").stderr
    run(site, "restore", "--drop", kept)
