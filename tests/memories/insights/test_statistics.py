"""Statistics of insights."""

import pytest
from django.utils import timezone

from memories.insights.models import Insight
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, VACUUM_LESSON

pytestmark = pytest.mark.django_db
EMPTY_STATISTICS = {
    "total": 0,
    "average_confidence": None,
    "average_quality": None,
    "total_usage": 0,
    "by_type": {},
    "by_collection": {},
    "top_projects": [],
}


def test_statistics_of_an_empty_namespace(api):
    assert api.get("/insights/statistics").json() == EMPTY_STATISTICS


def test_statistics_count_and_average_insights(api, outsider):
    outsider.post("/insights", {"content": LAZY_LESSON, "projects": ["theirs"]})
    fields = {"confidence": 0.5, "quality": 0.25, "insight_type": "gotcha", "projects": ["shop", "secret-plans"]}
    pk = api.post("/insights", {"content": LAZY_LESSON, **fields}).json()["id"]
    given = {
        "confidence": 1.0,
        "quality": 0.75,
        "insight_type": "pattern",
        "projects": ["shop"],
        "collection": "global",
    }
    api.post("/insights", {"content": VACUUM_LESSON, **given})
    for _ in range(3):
        api.post(f"/insights/{pk}/use")
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


def test_statistics_list_ten_projects(api):
    api.post("/insights", {"content": LAZY_LESSON, "projects": [f"p{n:02}" for n in range(12)]})
    result = api.get("/insights/statistics").json()["top_projects"]
    assert [each["project"] for each in result] == [f"p{n:02}" for n in range(10)]


def test_statistics_leave_out_expired_insights(api):
    api.post("/insights", {"content": LAZY_LESSON})
    Memory.objects.update(expires_at=timezone.now())
    assert api.get("/insights/statistics").json() == EMPTY_STATISTICS
    assert Insight.objects.count() == 1


def test_statistics_take_one_statement(api, takes):
    api.post("/insights", {"content": LAZY_LESSON})
    with takes(1):
        api.get("/insights/statistics")
