"""Titles of the console are words, not ids."""

import re

import pytest
from django.urls import reverse

from memories.graph.models import Relationship

pytestmark = pytest.mark.django_db


def read_title(console, path: str) -> str:
    response = console.get(path)
    assert response.status_code == 200, response.status_code
    return re.search(r"<title>\s*(.*?)\s*</title>", response.content.decode(), re.S)[1]


def test_relationship_is_named_by_its_memories(console, api):
    start, finish = api.add("the harbour")["id"], api.add("the lighthouse " + "shines " * 20)["id"]
    api.post(f"/memories/{start}/relationships", {"to_id": finish, "type": "depends_on"})
    link = Relationship.objects.get()
    title = read_title(console, reverse("admin:graph_relationship_change", args=[link.pk]))
    assert "the harbour depends on the lighthouse shines" in title
    assert str(finish) not in title
    assert "the harbour depends on" in console.get(f"/admin/graph/relationship/{link.pk}/delete/").content.decode()


def test_insight_is_named_by_its_text(console, api):
    insight = api.post("/insights", {"content": "Stop the workers before you restore a backup."}).json()
    pk = insight.get("id") or insight["memory"]["id"]
    assert "Stop the workers" in read_title(console, reverse("admin:insights_insight_change", args=[pk]))


def test_workflow_run_names_its_memory(console, api):
    run = api.post("/workflows/nightly/executions", {"adapter": "airflow", "status": "completed"}).json()
    page = console.get(reverse("admin:ingestion_workflowexecution_change", args=[run["id"]])).content.decode()
    link = re.search(rf'href="/admin/memories/memory/{run["memory_id"]}/change/"[^>]*>([^<]*)<', page)
    assert "nightly" in link[1]
