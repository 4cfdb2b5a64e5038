"""The console's lists of changes and of the trash."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from memories.history.models import MemoryVersion
from memories.models import Memory
from tests.console import create_staff_user, fetch_page_text, render_rows
from tests.memories.history.deleted import add_insight

pytestmark = pytest.mark.django_db
CHANGES, TRASH = reverse("admin:history_memoryversion_changelist"), reverse("admin:history_trashedmemory_changelist")


@pytest.fixture
def deleted(api) -> list[dict]:
    memories = [api.add(f"number {number}", user_id="ada", tags=["x"]) for number in range(3)]
    api.patch(f"/memories/{memories[0]['id']}", {"content": "number none", "importance": 5})
    for memory in memories:
        api.delete(f"/memories/{memory['id']}")
    return memories


def act(console, rows: list, **extra: object):
    data = {"action": "restore_selected", "_selected_action": [str(row.pk) for row in rows], **extra}
    return console.post(TRASH, data, follow=True)


def test_selected_memories_come_back(console, deleted):
    rows = render_rows(console, TRASH)
    assert [str(row.memory_id) for row in rows] == [memory["id"] for memory in reversed(deleted)]
    page = act(console, rows[:2])
    assert "2 memories are back." in page.content.decode()
    assert Memory.objects.count() == 2
    assert len(render_rows(console, TRASH)) == 1


def test_one_comes_back_from_its_page(console, deleted):
    [row] = MemoryVersion.objects.filter(memory_id=deleted[1]["id"])
    page = fetch_page_text(console, reverse("admin:history_trashedmemory_change", args=[row.pk]))
    assert "number 1" in page
    address = reverse("admin:history_trashedmemory_restore_this", args=[row.pk])
    assert "Restore this memory?" in console.get(address, headers={"HX-Request": "true"}).content.decode()
    assert Memory.objects.count() == 0
    answer = console.post(address, {"_form_submitted": "True"})
    assert answer["HX-Redirect"] == reverse("admin:memories_memory_change", args=[deleted[1]["id"]])
    assert Memory.objects.get().content == "number 1"


def test_what_stands_in_the_way_is_said(console, api, deleted):
    twin = api.add("number 1", user_id="ada")
    page = act(console, render_rows(console, TRASH)).content.decode()
    assert "Another memory has the same content, type and user." in page
    assert {str(memory.pk) for memory in Memory.objects.all()} == {deleted[0]["id"], deleted[2]["id"], twin["id"]}


def test_changes_say_what_by_whom_and_when(console, api, deleted):
    [change] = MemoryVersion.objects.filter(operation="update")
    key = "key:" + "_".join(api.token.split("_")[:2])
    text = fetch_page_text(console, CHANGES)
    assert "content, importance" in text
    assert key in text
    page = fetch_page_text(console, reverse("admin:history_memoryversion_change", args=[change.pk]))
    assert "number none" in page
    assert change.request_id in page


def test_a_change_by_the_console_names_its_user(console, api):
    insight = add_insight(api, "Tea cools down in a cup without a lid.", "ada")
    answer = console.post(reverse("admin:insights_insight_delete", args=[insight]), {"post": "yes"})
    assert answer.status_code == 302
    assert MemoryVersion.objects.get().changed_by == "console:operator"


@pytest.mark.parametrize("path", [CHANGES, TRASH])
def test_the_lists_are_searched_and_filtered_and_survive_anything(console, deleted, path):
    for query in (f"q={deleted[0]['id']}", "q=ada", "by=key", "type=agent"):
        assert str(deleted[0]["id"]) in {str(row.memory_id) for row in render_rows(console, f"{path}?{query}")}
    for query in ("q=%00", "q=nobody", "by=task", "namespace=x", "p=-1"):
        assert console.get(f"{path}?{query}", follow=True).status_code == 200
    assert console.get(f"{path}x%00/change/", follow=True).status_code in (200, 404)
    assert console.post(path, {"action": "restore_selected", "_selected_action": "x"}, follow=True).status_code == 200


@pytest.mark.parametrize("path", [CHANGES, TRASH])
def test_a_list_takes_a_few_statements_whatever_its_length(console, deleted, path):
    render_rows(console, path)
    with CaptureQueriesContext(connection) as queries:
        render_rows(console, path)
    assert len([query for query in queries if "history_" in query["sql"]]) <= 4


def test_a_viewer_restores_nothing(client, api, deleted, django_user_model):
    viewer = create_staff_user(client, django_user_model, "view_trashedmemory")
    rows = render_rows(viewer, TRASH)
    assert "restore_selected" not in fetch_page_text(viewer, TRASH)
    act(viewer, rows)
    answer = viewer.post(
        reverse("admin:history_trashedmemory_restore_this", args=[rows[0].pk]), {"_form_submitted": "True"}
    )
    assert answer.status_code in (302, 403)
    assert Memory.objects.count() == 0
