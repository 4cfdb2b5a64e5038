"""The clean-up's pages: figures that lead to their rows, a look that is a job, near duplicates merged or dismissed."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from memories.cleanup.assistants import ASSISTANTS, select
from memories.cleanup.grouping import find_duplicates
from memories.cleanup.inspect import inspect
from memories.cleanup.models import Duplicate
from memories.jobs.models import Job
from memories.models import Memory

pytestmark = pytest.mark.django_db
OVERVIEW = "/admin/cleanup/duplicate/clean-up/"
DUPLICATES = "/admin/cleanup/duplicate/"
MEMORIES = "/admin/memories/memory/"
OLD, LONGER = "The harbour office opens at nine.", "The harbour office opens at nine. Ring the bell twice."
SECRET = "AKIA" + "IOSFODNN7QWERTYU"


@pytest.fixture
def full(api, namespace) -> dict[str, dict]:
    """Something for every assistant, looked at."""
    made = {"duplicate": api.add(OLD), "winner": api.add(LONGER), "secret": api.add(f"The bucket needs {SECRET} here.")}
    made |= {"short": api.add("Too short."), "long": api.add("word " * 5_000)}
    made["unused"] = api.add("Nobody wants this old memory any more.", importance=1)
    made["superseded"] = api.add("The market opens at four in the morning.")
    api.add("The market opens at five in the morning.", replaces=[made["superseded"]["id"]])
    made["lost_successor"] = api.add("The church was built in 1732.")
    gone = api.add("Nobody knows when the church was built.", replaces=[made["lost_successor"]["id"]])
    api.delete(f"/memories/{gone['id']}")
    made["lost_chunk"] = api.add("A chunk of nothing at all.", memory_type="rag", source_system="ingestion")
    made["lost_insight"] = api.add("An insight that has lost its record.")
    made["refused"] = api.add("The embedder does not want this text.")
    Memory.objects.filter(pk=made["lost_insight"]["id"]).update(memory_type="insight")
    Memory.objects.get(pk=made["refused"]["id"]).due.__class__.objects.filter(pk=made["refused"]["id"]).update(
        error="no"
    )
    past = timezone.now() - timedelta(days=100)
    Memory.objects.filter(pk=made["unused"]["id"]).update(updated_at=past, last_seen_at=past)
    inspect(namespace.pk, list(Memory.objects.values_list("pk", flat=True)))
    find_duplicates(namespace.pk)
    return made


def list_expected(full: dict, name: str) -> set[str]:
    names = ["superseded", "lost_successor"] if name == "superseded" else [name]
    return {full[each]["id"] for each in names}


def test_each_assistant_finds_what_it_looks_for(full, namespace):
    found = {name: {str(memory.pk) for memory in select(name, namespace.pk)} for name in ASSISTANTS}
    assert found == {name: list_expected(full, name) for name in ASSISTANTS}


def test_each_figure_leads_to_its_rows(console, full):
    """The list behind it shows exactly these."""
    html = console.get(OVERVIEW).content.decode()
    for name, assistant in ASSISTANTS.items():
        card = html[html.index(f">{assistant.title}</h3>") :]
        url = card[card.index('href="') + 6 :].partition('"')[0].replace("&amp;", "&")
        rows = console.get(url).context["cl"].result_list
        assert {str(getattr(row, "memory_id", row.pk)) for row in rows} == list_expected(full, name), name


def test_rule_of_unused_memories_is_the_operators(console, full):
    assert ">0<" in console.get(f"{OVERVIEW}?days=365").content.decode()
    html = console.get(f"{OVERVIEW}?days=30&max_importance=1&min_uses=1").content.decode()
    assert "unused_days=30&amp;max_importance=1&amp;used_less_than=1" in html


def test_strange_addresses_are_no_errors(console, namespace):
    for query in ("days=x", "days=-1&max_importance=9", "namespace=x", "namespace=999", "days=%00"):
        assert console.get(f"{OVERVIEW}?{query}").status_code in (200, 400), query
    for query in ("states=x", "finding=x", "unused_days=x", "max_characters=-1", "used_less_than=%00"):
        assert console.get(f"{MEMORIES}?{query}").status_code in (200, 302, 400), query


def test_looking_is_a_job_and_one_at_a_time(console, namespace):
    for _ in range(2):
        assert console.post(f"{OVERVIEW}look/", {"namespace": namespace.pk}).status_code == 302
    assert list(Job.objects.values_list("action", "state")) == [("inspect", "pending")]
    assert "A worker is looking" in console.get(OVERVIEW).content.decode()
    assert console.get(f"{OVERVIEW}look/").status_code == 405


def test_duplicates_show_what_differs(console, full):
    html = console.get(DUPLICATES).content.decode()
    assert "<ins>Ring the bell twice.</ins>" in html
    assert "<del>" not in html.partition("<tbody")[2]


def test_ticked_duplicates_are_planned_as_a_job(console, full):
    body = {"action": "merge", "_selected_action": [full["duplicate"]["id"], "x\0"]}
    response = console.post(DUPLICATES, body)
    assert response.status_code == 302 and "/jobs/job/plan/" in response["Location"]
    page = console.get(response["Location"]).content.decode()
    assert "Merge near duplicates" in page and "<strong>1</strong>" in page


def test_all_duplicates_are_planned_as_a_job(console, full):
    body = {"action": "merge", "_selected_action": [full["duplicate"]["id"]], "select_across": "1"}
    page = console.get(console.post(DUPLICATES, body)["Location"]).content.decode()
    assert "<strong>1</strong>" in page


def test_dismissed_duplicates_are_gone(console, full):
    console.post(DUPLICATES, {"action": "dismiss", "_selected_action": [full["duplicate"]["id"]]})
    assert Duplicate.objects.get().dismissed
    assert full["duplicate"]["id"] not in console.get(DUPLICATES).content.decode()


def test_viewer_sees_and_does_nothing(client, django_user_model, full):
    viewer = django_user_model.objects.create(username="viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    html = client.get(OVERVIEW).content.decode()
    assert "Near duplicates" in html and "Look now" not in html and "Merge all" not in html
    assert client.post(f"{OVERVIEW}look/").status_code == 403
    client.post(DUPLICATES, {"action": "dismiss", "_selected_action": [full["duplicate"]["id"]]})
    assert not Duplicate.objects.get().dismissed


def test_usual_list_shows_active_memories_only(console, full):
    listed = {str(row.pk) for row in console.get(f"{MEMORIES}?chunks=all").context["cl"].result_list}
    assert full["superseded"]["id"] not in listed and full["winner"]["id"] in listed
