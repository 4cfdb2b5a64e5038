"""The audit page: every change and action in one list, without content."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.urls import reverse

from memories.history.models import MemoryVersion
from memories.models import Memory
from memory_site.core.db.actor import acting_as
from memory_site.operations.access.models import AccessEvent
from memory_site.operations.access.seeding import seed_roles
from memory_site.operations.models.sql_statements import SqlStatement
from memory_site.operations.roles import OPERATOR
from sessions_app.models import ApiKey
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db
URL = "/admin/access/accessevent/"
SECRET = "the secret garden"


def fetch_rows(console, **parameters: str) -> list[list]:
    """Return the rows of the page: when, who, what, on, from."""
    response = console.get(URL, parameters)
    assert response.status_code == 200
    return response.context["table"]["rows"]


def list_what(console, **parameters: str) -> list[tuple[str, str]]:
    return [(who, what) for _, who, what, *_ in fetch_rows(console, **parameters)]


@pytest.fixture
def busy(api, console, namespace) -> None:
    """A day with a bit of everything."""
    memory = api.add(SECRET)
    api.patch(f"/memories/{memory['id']}", {"content": f"{SECRET} again"})
    console.post("/admin/sessions_app/namespace/add/", {"name": "new"})
    call_command("create_api_key", "--namespace", "ours", "--name", "nightly")
    with acting_as("command:forget"):
        Memory.objects.exclude(content="").delete()
    api.post("/memories", {"content": "of ada", "user_id": "ada"})
    api.delete("/users/ada")


def test_every_kind_of_change_is_listed_newest_first_with_who_did_it(busy, console, api):
    key = ApiKey.objects.get(name="")
    lines = list_what(console)
    assert [what for _, what in lines[:1]] and lines[0][1].startswith("erased a user")
    assert (f"key mem_{key.pk}", "changed 1 memory") in lines
    assert ("command forget", "deleted 1 memory") in lines
    assert ("operator", "added namespace") in lines
    assert any(who == "command create_api_key" and "“nightly” of ours" in what for who, what in lines)
    assert any(what == "logged in" for _, what in lines)
    times = [row[0] for row in fetch_rows(console)]
    assert len(times) == len(lines)


def test_it_says_who_ran_sql_and_not_which(console):
    SqlStatement.objects.create(username="operator", statement=f"SELECT '{SECRET}'", rows=3)
    assert list_what(console, kind="sql", who="operator") == [("operator", "ran SQL: 3 rows")]
    assert list_what(console, kind="sql", who="command:x") == []
    assert "secret" not in export(console)


def test_no_content_is_in_it(busy, console):
    for text in (fetch_page_text(console, URL), export(console)):
        assert "secret" not in text and "garden" not in text
        assert not re.search(r"\bada\b", text)  # random ids and tokens have these letters


def test_it_is_filtered_by_kind_person_and_time(busy, console):
    assert {who for who, _ in list_what(console, who="operator")} == {"operator"}
    assert {who for who, _ in list_what(console, who="command:forget")} == {"command forget"}
    assert {what for _, what in list_what(console, kind="memories", who="command:forget")} == {"deleted 1 memory"}
    assert list_what(console, until="2001-01-01") == []
    assert list_what(console, since="2001-01-01") == list_what(console)
    key = ApiKey.objects.get(name="")
    assert {what for _, what in list_what(console, who=str(key), kind="memories")} == {"changed 1 memory"}


def test_memories_that_one_statement_changed_are_one_line(api, console):
    for number in range(5):
        api.add(f"{number} of five")
    with acting_as("command:forget"):
        Memory.objects.exclude(content="").delete()
    assert list_what(console, kind="memories") == [("command forget", "deleted 5 memories")]


def test_a_line_of_many_changes_is_on_one_page_only(api, console):
    """Its changes go on below the end of the page that shows it."""
    for number in range(3):
        api.add(f"{number} of three")
    with acting_as("command:forget"):
        Memory.objects.exclude(content="").delete()
    times = sorted(MemoryVersion.objects.values_list("changed_at", flat=True))
    assert list_what(console, kind="memories", before=times[2].isoformat()) == []
    MemoryVersion.objects.filter(changed_at=times[0]).update(changed_at=times[2] - timedelta(seconds=9))
    assert list_what(console, kind="memories") == [
        ("command forget", "deleted 2 memories"), ("command forget", "deleted 1 memory")
    ]  # fmt: skip


def test_older_pages_repeat_nothing_and_leave_nothing_out(console):
    AccessEvent.objects.all().delete()
    for number in range(120):
        AccessEvent.objects.create(kind=f"number {number}", actor="command:test")
    seen, address = [], ""
    while address is not None:
        response = console.get(URL + address)
        seen += [row[2] for row in response.context["table"]["rows"]]
        address = response.context["older"]
    assert len(seen) == 120 and set(seen) == {f"number {number}" for number in range(120)}


def export(console, **parameters: str) -> str:
    response = console.get(reverse("admin:access_accessevent_export"), parameters)
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def test_the_export_has_the_same_lines(busy, console):
    rows = list(csv.DictReader(io.StringIO(export(console))))
    assert [row["what"] for row in rows] == [what for _, what in list_what(console)]
    assert {row["kind"] for row in rows} == {"console", "memories", "keys", "logins", "erasures"}


def test_a_spreadsheet_runs_no_cell_of_the_export(console):
    AccessEvent.objects.create(kind="x", actor="=1+1", subject="@sum")
    assert "'=1+1" in export(console) and "'@sum" in export(console)


def test_nobody_changes_it_in_the_console(console):
    event = AccessEvent.objects.create(kind="x", actor="command:test")
    assert console.get(f"{URL}add/").status_code == 403
    for page in (f"{URL}{event.pk}/change/", f"{URL}{event.pk}/delete/"):
        assert console.post(page, {"post": "yes", "actor": "y"}).status_code == 403
    console.post(URL, {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert AccessEvent.objects.get(pk=event.pk).actor == "command:test"


def test_an_account_that_did_something_is_not_deleted_with_its_log(console, namespace):
    console.post("/admin/sessions_app/namespace/add/", {"name": "new"})
    operator = User.objects.get(username="operator")
    assert console.post(f"/admin/auth/user/{operator.pk}/delete/", {"post": "yes"}).status_code == 403
    idle = User.objects.create(username="idle")
    assert console.post(f"/admin/auth/user/{idle.pk}/delete/", {"post": "yes"}).status_code == 302


def test_operators_do_not_see_it(client, django_user_model):
    seed_roles()
    create_staff_user(client, django_user_model)
    django_user_model.objects.get(username="staff").groups.set(Group.objects.filter(name=OPERATOR))
    assert client.get(URL).status_code == 403
    assert client.get(reverse("admin:access_accessevent_export")).status_code == 403


STRANGE = {
    "NUL": {"who": "\0"},
    "no kind": {"kind": "x"},
    "no date": {"since": "x"},
    "the last day": {"until": "9999-12-31"},
    "no time": {"before": "x"},
    "a naive time": {"before": "2026-01-01T00:00:00"},
    "a time of month 13": {"before": "2026-13-01T00:00:00Z"},
}


@pytest.mark.parametrize("parameters", STRANGE.values(), ids=STRANGE)
def test_strange_parameters_are_no_error(console, parameters):
    assert console.get(URL, parameters).status_code in (200, 400)
    assert console.get(reverse("admin:access_accessevent_export"), parameters).status_code in (200, 400)
