"""Jobs that a test makes and runs in its own process."""

from collections.abc import Callable

import pytest

from memories.jobs.create import create_job
from memories.jobs.models import Job
from memories.jobs.run import run_job
from memories.models import Memory
from memories.search.filters import Filters
from memories.search.selection import Selection
from memory_site.core.db.ids import uuid7


def make_memories(namespace, count: int, **fields: object) -> list[Memory]:
    values = {"namespace": namespace, "source_system": "test"} | fields
    made = [Memory(id=uuid7(), content=f"text {number}", **values) for number in range(count)]
    return Memory.objects.bulk_create(made)


def run_to_end(job: Job) -> Job:
    for _ in run_job(job):
        pass
    job.refresh_from_db()
    return job


@pytest.fixture
def run(namespace, monkeypatch) -> Callable[..., Job]:
    """`run("tag", {"tags": ["a"]}, user_id="ada")` creates a job over what the filters select, and runs it."""
    monkeypatch.setattr("memories.jobs.run.REST_SHARE", 0)

    def create_and_run(action: str, parameters: dict | None = None, **filters: object) -> Job:
        selection = Selection(namespace.pk, Filters(**filters))
        return run_to_end(create_job(namespace.pk, action, parameters or {}, selection, "console:operator"))

    return create_and_run
