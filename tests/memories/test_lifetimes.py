"""POST /memories/extend: memories that live on because they were read."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from memories.history.models import MemoryVersion
from memories.models import Memory
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db
NOBODY = "01980000-0000-7000-8000-000000000000"


def extend(api, *ids: str, seconds: int = 600) -> int:
    response = api.post("/memories/extend", {"ids": list(ids), "ttl_seconds": seconds})
    assert response.status_code == 200, response.content
    return response.json()["extended"]


@pytest.mark.parametrize(("before", "after"), [(60, 600), (600, 600), (6_000, 6_000)])
def test_memory_lives_at_least_so_long_from_now(api, before, after):
    begun = datetime.now(UTC)
    memory = api.add("tea", ttl_seconds=before)
    assert extend(api, memory["id"]) == 1
    until = datetime.fromisoformat(api.get(f"/memories/{memory['id']}").json()["expires_at"])
    assert begun <= until - timedelta(seconds=after) <= datetime.now(UTC)


def test_memory_that_never_expires_does_not_begin_to(api):
    memory = api.add("tea")
    assert extend(api, memory["id"]) == 0
    assert api.get(f"/memories/{memory['id']}").json()["expires_at"] is None


def test_nothing_else_changes_but_the_etag_and_no_version_is_kept(api):
    before = api.add("tea", ttl_seconds=60)
    extend(api, before["id"])
    after = api.get(f"/memories/{before['id']}").json()
    assert {name for name in after if after[name] != before[name]} == {"expires_at", "revision"}
    assert not MemoryVersion.objects.exists()


def test_what_is_not_there_is_left_out(api, outsider):
    tea, milk = {"content": "tea", "ttl_seconds": 60}, {"content": "milk"}
    mine, theirs, expired = (each["id"] for each in (api.add(**tea), outsider.add(**tea), api.add(**milk)))
    until = outsider.get(f"/memories/{theirs}").json()["expires_at"]
    Memory.objects.filter(pk=expired).update(expires_at=Now() - timedelta(seconds=1))
    assert extend(api, mine, theirs, expired, NOBODY) == 1
    assert outsider.get(f"/memories/{theirs}").json()["expires_at"] == until
    assert api.get(f"/memories/{expired}").status_code == 404


@pytest.mark.parametrize(("field", "value"), [("ids", []), ("ttl_seconds", 0), ("ttl_seconds", 1.5)], ids=str)
def test_bad_field_is_named(api, field, value):
    response = api.post("/memories/extend", {"ids": [NOBODY], "ttl_seconds": 60} | {field: value})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
