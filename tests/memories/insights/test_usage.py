"""How the use of an insight is counted, and what all of them come to."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.insights.lessons import LAZY_LESSON, VACUUM_LESSON, get_insight
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db


def use_insight(api, pk: str) -> dict:
    response = api.post(f"/insights/{pk}/use")
    assert response.status_code == 200
    return response.json()


def test_a_use_is_counted_and_dated(api):
    insight = api.post("/insights", {"content": LAZY_LESSON, "projects": ["shop"], "tags": ["t"]}).json()
    told = use_insight(api, insight["id"])
    assert told["usage_count"] == 1
    assert timezone.now() - datetime.fromisoformat(told["last_used_at"]) < timedelta(minutes=1)
    same = set(told) - {"usage_count", "last_used_at"}
    assert {name: told[name] for name in same} == {name: insight[name] for name in same}
    assert api.get(f"/insights/{insight['id']}").json() == told
    assert use_insight(api, insight["id"])["usage_count"] == 2


@pytest.mark.django_db(transaction=True)
def test_twenty_uses_at_once_are_twenty(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    told = run_at_once([partial(use_insight, api, pk)] * 20)
    assert sorted(each["usage_count"] for each in told) == list(range(1, 21))
    assert get_insight().usage_count == 20


def test_a_use_takes_one_statement(api, takes):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    with takes(1):
        use_insight(api, pk)


def test_an_expired_one_cannot_be_used(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    Memory.objects.update(expires_at=timezone.now())
    assert api.post(f"/insights/{pk}/use").status_code == 404
    assert get_insight().usage_count == 0


def test_a_use_does_not_make_the_vector_due_again(api):
    pk = api.post("/insights", {"content": LAZY_LESSON}).json()["id"]
    before = Memory.objects.values().get()
    use_insight(api, pk)
    assert Memory.objects.values().get() == before


# Statistics


EMPTY_STATISTICS = {
    "total": 0,
    "average_confidence": None,
    "average_quality": None,
    "total_usage": 0,
    "by_type": {},
    "by_collection": {},
    "top_projects": [],
}


def test_of_nothing_there_is_nothing(api):
    assert api.get("/insights/statistics").json() == EMPTY_STATISTICS


def test_they_come_to_this(api, outsider):
    outsider.post("/insights", {"content": LAZY_LESSON, "projects": ["theirs"]})
    said = {"confidence": 0.5, "quality": 0.25, "insight_type": "gotcha", "projects": ["shop", "secret-plans"]}
    pk = api.post("/insights", {"content": LAZY_LESSON, **said}).json()["id"]
    said = {"confidence": 1.0, "quality": 0.75, "insight_type": "pattern", "projects": ["shop"], "collection": "global"}
    api.post("/insights", {"content": VACUUM_LESSON, **said})
    for _ in range(3):
        use_insight(api, pk)
    assert api.get("/insights/statistics").json() == {
        "total": 2,
        "average_confidence": 0.75,
        "average_quality": 0.5,
        "total_usage": 3,
        "by_type": {"gotcha": 1, "pattern": 1},
        "by_collection": {"global": 1, "project": 1},
        "top_projects": [
            {"project": "shop", "insights": 2},
            {"project": redact_project_name("secret-plans"), "insights": 1},
        ],
    }


def test_ten_projects_are_told(api):
    api.post("/insights", {"content": LAZY_LESSON, "projects": [f"p{n:02}" for n in range(12)]})
    told = api.get("/insights/statistics").json()["top_projects"]
    assert [each["project"] for each in told] == [f"p{n:02}" for n in range(10)]


def test_the_expired_do_not_count(api):
    api.post("/insights", {"content": LAZY_LESSON})
    Memory.objects.update(expires_at=timezone.now())
    assert api.get("/insights/statistics").json() == EMPTY_STATISTICS
    assert Insight.objects.count() == 1


def test_statistics_take_one_statement(api, takes):
    api.post("/insights", {"content": LAZY_LESSON})
    with takes(1):
        api.get("/insights/statistics")
