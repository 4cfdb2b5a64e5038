"""Bulk actions in the console: a menu below the list, a page that shows what would happen, and the job's page."""

import re

import pytest
from django.contrib.auth.models import Permission

from memories.jobs import tasks
from memories.jobs.models import Job, JobState
from memories.models import Memory
from tests.memories.jobs.conftest import make_memories

pytestmark = pytest.mark.django_db
LIST = "/admin/memories/memory/"
PLAN = "/admin/jobs/job/plan/"


def choose(console, action: str, memories=(), query: str = "", everything: bool = False):
    """Send the list's form, and open the page that it leads to."""
    ticked = list(memories) or Memory.objects.all()[:1]
    body = {"action": action, "_selected_action": [str(memory.pk) for memory in ticked]}
    return console.post(f"{LIST}{query}", body | {"select_across": "1" if everything else "0"}, follow=True)


def get_token(page) -> str:
    return re.search(r'name="plan" value="([^"]+)"', page.content.decode())[1]


def start(console, page, **fields: object):
    return console.post(PLAN, {"plan": get_token(page)} | fields, follow=True)


@pytest.fixture
def viewer(client, django_user_model):
    """May look, and no more."""
    user = django_user_model.objects.create(username="viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_memory", "view_job")))
    client.force_login(user)
    return client


def test_ticked_rows_are_deleted_after_the_namespace_is_typed(console, namespace):
    made = make_memories(namespace, 5)
    page = choose(console, "delete", made[:2]).content.decode()
    assert "<strong>2</strong> memories chosen one by one" in page
    assert "Type “ours” to confirm" in page
    assert "text 0" in page and "text 4" not in page
    page = choose(console, "delete", made[:2])
    assert Memory.objects.count() == 5 and not Job.objects.exists()
    assert "This is not the name" in start(console, page, typed="theirs").content.decode()
    assert not Job.objects.exists()
    shown = start(console, page, typed="ours")
    job = Job.objects.get()
    assert shown.redirect_chain[-1][0] == f"/admin/jobs/job/{job.pk}/change/"
    assert (job.created_by, job.matched, job.state) == ("console:operator", 2, JobState.PENDING)
    assert tasks.run_jobs() == 1
    assert set(Memory.objects.values_list("pk", flat=True)) == {memory.pk for memory in made[2:]}


def test_all_that_match_the_filters_are_selected(console, namespace, elsewhere):
    make_memories(namespace, 70, user_id="ada")
    make_memories(namespace, 2, user_id="bob")
    make_memories(elsewhere, 3, user_id="ada")
    page = choose(console, "tag", query="?user_id=ada", everything=True)
    text = page.content.decode()
    assert "<strong>73</strong>" in text and "“ada”" in text
    assert "ours: <strong>70</strong>" in text and "elsewhere: <strong>3</strong>" in text
    assert text.count('class="spoken-row"') == 10
    assert start(console, page, tags="a, b").redirect_chain[-1][0] == "/admin/jobs/job/"
    assert tasks.run_jobs() == 2
    assert Memory.objects.filter(tags=["a", "b"]).count() == 73
    assert not Memory.objects.filter(user_id="bob", tags__len__gt=0).exists()


def test_hits_of_a_search_are_selected_by_their_ids(console, namespace):
    made = make_memories(namespace, 3)
    start(console, choose(console, "tag", query="?q=text+1", everything=True), tags="a")
    assert str(made[1].pk) in Job.objects.get().selection["filters"]["ids"]


@pytest.mark.parametrize(
    ("action", "fields", "field", "value"),
    [
        ("untag", {"tags": "old"}, "tags", []),
        ("set_importance", {"importance": "5"}, "importance", 5),
        ("expire", {"expires_at": "2100-01-01T09:30"}, "expires_at", "2100-01-01 09:30:00+00:00"),
        ("expire", {"expires_at": ""}, "expires_at", "None"),
        ("set_type", {"memory_type": "project"}, "memory_type", "project"),
        ("set_user", {"user_id": "eve"}, "user_id", "eve"),
        ("set_user", {"user_id": ""}, "user_id", None),
    ],
    ids=["untag", "importance", "expire", "never", "type", "user", "nobody"],
)
def test_each_action_asks_for_what_it_needs(console, namespace, action, fields, field, value):
    made = make_memories(namespace, 1, user_id="ada", tags=["old"], expires_at="2200-01-01T00:00Z")
    start(console, choose(console, action, made), **fields)
    assert tasks.run_jobs() == 1
    found = getattr(Memory.objects.get(), field)
    assert (str(found) if field == "expires_at" else found) == value


@pytest.mark.parametrize(
    ("action", "fields", "message"),
    [
        ("tag", {"tags": ""}, "This field is required"),
        ("tag", {"tags": "x" * 129}, "128 characters"),
        ("set_importance", {"importance": "9"}, "Select a valid choice"),
        ("expire", {"expires_at": "2020-01-01T00:00"}, "must lie in the future"),
        ("set_user", {"user_id": "a\0b"}, "Null characters"),
    ],
    ids=["required", "long", "choice", "past", "nul"],
)
def test_a_wrong_value_starts_nothing_and_is_explained(console, namespace, action, fields, message):
    page = start(console, choose(console, action, make_memories(namespace, 1)), **fields)
    assert message in page.content.decode()
    assert not Job.objects.exists()


def test_a_changed_or_foreign_plan_starts_nothing(console, namespace, django_user_model, client):
    page = choose(console, "delete", make_memories(namespace, 1))
    token = get_token(page)
    for changed in ("", "x", token[:-1], token.replace(":", "", 1), f"{token}x"):
        answer = console.post(PLAN, {"plan": changed}, follow=True)
        assert answer.status_code == 200
        assert "too old, or has been changed" in answer.content.decode()
    client.force_login(django_user_model.objects.create(username="other", is_staff=True, is_superuser=True))
    assert "too old, or has been changed" in client.post(PLAN, {"plan": token}, follow=True).content.decode()
    assert not Job.objects.exists()


def test_nothing_is_started_when_other_memories_match_meanwhile(console, namespace):
    make_memories(namespace, 2)
    page = choose(console, "tag", everything=True)
    make_memories(namespace, 1, user_id="ada")
    page = start(console, page, tags="a")
    assert "Other memories match now" in page.content.decode()
    assert not Job.objects.exists()
    start(console, page, tags="a")
    assert Job.objects.get().matched == 3


def test_a_wrong_selection_is_no_error(console, namespace):
    made = make_memories(namespace, 1)
    body = {"action": "delete", "select_across": "0"}
    for ids in (["x"], ["\0"], [str(made[0].pk), "x"], []):
        assert console.post(LIST, body | {"_selected_action": ids}, follow=True).status_code == 200
    assert (
        console.post(LIST, body | {"action": "burn", "_selected_action": [made[0].pk]}, follow=True).status_code == 200
    )
    assert not Job.objects.exists()


def test_one_memory_is_deleted_the_same_way(console, namespace):
    [memory] = make_memories(namespace, 1)
    page = console.get(f"{LIST}{memory.pk}/delete/", follow=True)
    assert "to confirm" not in page.content.decode()
    assert Memory.objects.exists()
    start(console, page)
    assert tasks.run_jobs() == 1
    assert not Memory.objects.exists()


def test_a_memory_that_is_not_active_is_deleted_too(console, namespace):
    old, new = make_memories(namespace, 2)
    Memory.objects.filter(pk=old.pk).update(state="superseded", superseded_by=new.pk)
    start(console, choose(console, "delete", [old]))
    assert tasks.run_jobs() == 1
    assert list(Memory.objects.values_list("pk", flat=True)) == [new.pk]


def test_the_stock_deletion_of_selected_rows_is_gone(console, namespace):
    [memory] = make_memories(namespace, 1)
    chosen = {"action": "delete_selected", "_selected_action": [str(memory.pk)], "post": "yes"}
    assert "No action selected" in console.post(LIST, chosen, follow=True).content.decode()
    assert Memory.objects.exists()


def test_who_may_only_look_sees_no_action_and_can_start_none(viewer, console, namespace, django_user_model):
    [memory] = make_memories(namespace, 1)
    token = get_token(choose(console, "delete", [memory]))
    viewer.force_login(django_user_model.objects.get(username="viewer"))
    assert 'name="action"' not in viewer.get(LIST).content.decode()
    viewer.post(LIST, {"action": "delete", "_selected_action": [str(memory.pk)]})
    assert viewer.post(PLAN, {"plan": token}, follow=True).status_code in (200, 403)
    assert not Job.objects.exists()


def test_a_job_is_followed_cancelled_and_kept_from_who_may_only_look(console, viewer, namespace, django_user_model):
    operator = django_user_model.objects.get(username="operator")
    make_memories(namespace, 3)
    viewer.force_login(operator)
    start(viewer, choose(viewer, "tag", everything=True), tags="a")
    url = f"/admin/jobs/job/{Job.objects.get().pk}/"
    assert 'hx-trigger="every 2s' in viewer.get("/admin/jobs/job/").content.decode()
    page = viewer.get(f"{url}change/").content.decode()
    assert "waiting for a worker" in page and f'hx-get="{url}progress/"' in page and f'action="{url}cancel/"' in page
    viewer.force_login(django_user_model.objects.get(username="viewer"))
    assert f'action="{url}cancel/"' not in viewer.get(f"{url}change/").content.decode()
    assert viewer.post(f"{url}cancel/").status_code == 403
    viewer.force_login(operator)
    assert viewer.get(f"{url}cancel/").status_code == 405
    assert "stops after the batch" in viewer.post(f"{url}cancel/", follow=True).content.decode()
    assert "hx-get" not in viewer.get(f"{url}progress/").content.decode()
    assert "has ended already" in viewer.post(f"{url}cancel/", follow=True).content.decode()
    assert "Add the tag “a”" in viewer.get("/admin/jobs/job/").content.decode()
    viewer.logout()
    assert viewer.get(f"{url}progress/").status_code == 403


def test_a_finished_job_leads_to_what_it_changed(console, namespace):
    make_memories(namespace, 2)
    start(console, choose(console, "tag", everything=True), tags="a")
    url, changes = (f"/admin/{path}{Job.objects.get().pk}" for path in ("jobs/job/", "history/memoryversion/?q="))
    assert changes not in console.get(f"{url}/change/").content.decode()
    tasks.run_jobs()
    assert changes in console.get(f"{url}/change/").content.decode()
    assert console.get(changes).context["cl"].result_count == 2


def test_an_exported_file_is_downloaded_from_the_job(console, namespace):
    make_memories(namespace, 2)
    start(console, choose(console, "export", everything=True), format="csv")
    tasks.run_jobs()
    url = f"/admin/jobs/job/{Job.objects.get().pk}/"
    assert f'href="{url}file/"' in console.get(f"{url}change/").content.decode()
    answer = console.get(f"{url}file/")
    assert answer["Content-Disposition"].startswith('attachment; filename="ours-memories-')
    assert b"".join(answer.streaming_content).count(b"\r\n") == 3


def test_left_memories_are_listed_with_the_reason(console, namespace):
    make_memories(namespace, 1, user_id="bob")
    [mine] = make_memories(namespace, 1, user_id="ada")
    start(console, choose(console, "set_user", [mine]), user_id="bob")
    tasks.run_jobs()
    page = console.get(f"/admin/jobs/job/{Job.objects.get().pk}/change/").content.decode()
    assert str(mine.pk) in page and "Another memory has the same content" in page


@pytest.mark.parametrize("path", ["plan/", "plan/?plan=%00", "?state=x&namespace=%00", "x/change/", "?o=zz&p=q"])
def test_strange_addresses_are_no_errors(console, path):
    assert console.get(f"/admin/jobs/job/{path}").status_code in (200, 302, 404)
