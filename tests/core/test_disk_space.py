"""What goes on while the disk of the database is full, and the space that is kept for its recovery."""

from types import SimpleNamespace

import pytest
from django.db import OperationalError
from psycopg.errors import DiskFull

from memories import tasks
from memory_site.api import map_operational_error
from memory_site.core import disk_space
from memory_site.core.disk_space import DISK_FULL_DETAIL, RESERVED_BYTES, is_disk_low
from memory_site.embedded import reserve
from memory_site.embedded.reserve import AMPLE_BYTES, FULL_BYTES, RESERVE_BYTES, Reserve


@pytest.fixture
def measure(monkeypatch):
    """Set the free bytes."""
    monkeypatch.setattr(disk_space, "MEASURED_SECONDS", -1)
    return lambda free: monkeypatch.setattr(disk_space, "measure_free_bytes", lambda: free)


def test_storing_is_refused_and_reading_and_deleting_go_on(api, measure):
    memory = api.add("a lighthouse")
    measure(RESERVED_BYTES - 1)
    for response in (
        api.post("/memories", {"content": "a harbour"}),
        api.patch(f"/memories/{memory['id']}", {"importance": 0.9}),
        api.post("/sessions/s/interactions", {"query": "q", "answer": "a"}),
    ):
        assert (response.status_code, response["Retry-After"]) == (503, "60")
        assert response.json()["detail"] == DISK_FULL_DETAIL
    assert tasks.embed_due() == 0
    assert len(api.search("lighthouse")["results"]) == 1
    assert api.post("/memories/delete", {"filters": {"user_id": "nobody"}, "dry_run": False}).status_code == 200
    assert api.delete(f"/memories/{memory['id']}").status_code == 204
    measure(RESERVED_BYTES)
    api.add("a harbour")
    assert tasks.embed_due() == 1


def test_a_database_elsewhere_is_not_measured(settings, measure):
    measure(0)
    settings.EMBEDDED = False
    assert not is_disk_low()


def test_postgresql_without_space_is_a_full_disk_and_not_an_absent_database():
    error = OperationalError("could not extend file")
    error.__cause__ = DiskFull("could not extend file")
    problem = map_operational_error(error)
    assert (problem.status, problem.detail) == (503, DISK_FULL_DETAIL)


def test_the_reserve_is_given_up_on_a_full_disk_and_made_again_with_plenty_of_space(tmp_path, monkeypatch):
    def adjust(free: int) -> bool:
        monkeypatch.setattr(reserve.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        Reserve(tmp_path).adjust()
        return (tmp_path / "reserve").exists()

    assert not adjust(AMPLE_BYTES)
    assert adjust(AMPLE_BYTES + 1)
    assert adjust(FULL_BYTES)
    assert not adjust(FULL_BYTES - 1)
    assert not adjust(FULL_BYTES)
    adjust(AMPLE_BYTES + 1)
    assert (tmp_path / "reserve").stat().st_size == RESERVE_BYTES
