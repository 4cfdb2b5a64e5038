"""Counting the uses of an insight."""

from datetime import datetime
from functools import partial

import pytest
from django.utils import timezone

from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, get_insight
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db


def use_insight(api, pk: str) -> dict:
    response = api.post(f"/insights/{pk}/use")
    assert response.status_code == 200
    return response.json()


def test_use_is_counted_and_dated(api):
    insight = api.post("/insights", {"content": LAZY_LESSON, "projects": ["shop"], "tags": ["t"]}).json()
    before = timezone.now()
    result = use_insight(api, insight["id"])
    assert result["usage_count"] == 1
    assert before <= datetime.fromisoformat(result["last_used_at"]) <= timezone.now()
    same = set(result) - {"usage_count", "last_used_at"}
    assert {name: result[name] for name in same} == {name: insight[name] for name in same}
    assert api.get(f"/insights/{insight['id']}").json() == result
    assert use_insight(api, insight["id"])["usage_count"] == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_uses_are_all_counted(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    result = run_at_once([partial(use_insight, api, pk)] * 20)
    assert sorted(each["usage_count"] for each in result) == list(range(1, 21))
    assert get_insight().usage_count == 20


def test_use_takes_one_statement(api, takes):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    with takes(1):
        use_insight(api, pk)


def test_expired_insight_cannot_be_used(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    Memory.objects.update(expires_at=timezone.now())
    assert api.post(f"/insights/{pk}/use").status_code == 404
    assert get_insight().usage_count == 0


def test_use_does_not_make_the_vector_due(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    before = Memory.objects.values().get()
    use_insight(api, pk)
    assert Memory.objects.values().get() == before
