"""The console's operations tasks: each is one click away, and what deletes counts first and changes nothing else."""

import json

import pytest
from django.urls import reverse
from django.utils.html import escape

from memories.graph.models import Erasure
from memories.jobs.models import Job
from memories.models import Memory
from memories.users import statistics
from memory_site.operations.operator_tasks import TASKS
from sessions_app.models import ApiKey, Conversation, ErasedNamespace, Namespace
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db
DESK = "/admin/operations/desk/"
WIPE, ERASE, EXPORT = (f"{DESK}{name}/" for name in ("wipe", "erase", "export"))


@pytest.fixture
def some(api, outsider, namespace) -> Namespace:
    api.add("ada's tea", user_id="ada", summary="Won the Acme deal")
    api.add("ada's step", user_id="ada", memory_type="temporary_state", summary="Lost the Bravo deal")
    api.add("nobody's")
    api.post("/conversations", {"user_id": "ada"})
    outsider.add("theirs", user_id="ada")
    return namespace


def load_contents() -> set[str]:
    return set(Memory.objects.values_list("content", flat=True))


def confirm(console, url: str, word: str, total: object = None):
    """Send the page's form with the number that it shows, or another one."""
    shown = console.get(url).context["total"]
    return console.post(url, {"word": word, "total": shown if total is None else total})


def test_every_task_is_a_card_whose_page_opens(some, console):
    text = fetch_page_text(console, DESK)
    for task in TASKS:
        assert f">{escape(task.title)}</a>" in text and (
            not task.command or f"manage.py {escape(task.command)}" in text
        )
    for task in {task.url: task for task in TASKS}.values():
        assert f'href="{task.url.replace("&", "&amp;")}"' in text
        assert console.get(task.url).status_code == 200, task.url


def test_a_viewer_sees_no_task_that_deletes(some, client, django_user_model):
    viewer = create_staff_user(client, django_user_model, "view_memory")
    text = fetch_page_text(viewer, DESK)
    assert "Recent memories" in text and "Wipe" not in text and "Database shell" not in text
    for url in (f"{WIPE}?what=memories", f"{WIPE}?what=everything", ERASE):
        assert viewer.get(url).status_code == viewer.post(url).status_code == 403
    assert len(load_contents()) == 4


def test_no_parameter_breaks_a_page(some, console):
    for page in ("", "counts/", "summaries/", "wipe/", "erase/", "export/"):
        for query in ("namespace=x&user=%00&pattern=%00&what=%00", f"namespace=9&user={'x' * 300}", "pattern=("):
            assert console.get(f"{DESK}{page}?{query}").status_code in (200, 302), (page, query)


# Counts and summaries


def test_counts_have_totals_and_what_has_no_user(some, console):
    statistics.compact_totals(some.pk)
    text = " ".join(fetch_page_text(console, f"{DESK}counts/", namespace=some.pk).split())
    users = text[text.index("By user") :]
    assert users.index("ada") < users.index("(no user)") < users.index("total")
    context = console.get(f"{DESK}counts/?namespace={some.pk}").context
    assert [row[0] for row in context["users"]["rows"][:2]] == ["ada", "(no user)"]
    assert [row[3] for row in context["users"]["rows"][:2]] == ["66.7 %", "33.3 %"]


def test_summaries_are_found_by_a_pattern_in_any_case(some, console, monkeypatch):
    monkeypatch.setattr("memory_site.operations.admin.desk.summaries.MAX_SECONDS", 60)

    def find(pattern: str) -> list[str]:
        response = console.get(f"{DESK}summaries/", {"pattern": pattern, "namespace": some.pk})
        return [str(row[0]) for row in response.context["table"]["rows"]]

    assert len(find("")) == 2
    assert ["Won the Acme deal" in each for each in find("^won .* deal$")] == [True]
    assert "Not a regular expression" in console.get(f"{DESK}summaries/?pattern=(").context["problem"]


# Wipe


def test_memories_of_a_namespace_are_deleted_by_a_job(some, console):
    url = f"{WIPE}?what=memories&namespace={some.pk}"
    assert console.get(url).context["counts"] == [("memories", "3")]
    assert confirm(console, url, "ours").status_code == 302
    job = Job.objects.get()
    assert (job.namespace, job.action, job.matched, job.created_by) == (some, "delete", 3, "console:operator")


def test_everything_of_a_namespace_goes_and_its_keys_stay(some, console):
    assert confirm(console, f"{WIPE}?what=everything&namespace={some.pk}", "ours").status_code == 302
    assert (load_contents(), Conversation.objects.count()) == ({"theirs"}, 0)
    assert ApiKey.objects.filter(namespace=some).exists()
    assert ErasedNamespace.objects.get().erased_id == some.pk


def test_everything_of_all_namespaces_goes(some, console):
    assert confirm(console, f"{WIPE}?what=everything", "all namespaces").status_code == 302
    assert (load_contents(), Namespace.objects.count(), ApiKey.objects.count()) == (set(), 2, 2)


@pytest.mark.parametrize("what", ["memories", "everything"])
@pytest.mark.parametrize(("word", "total"), [("Ours", None), ("", None), ("ours", 2), ("ours", "x"), ("ours", "")])
def test_a_wrong_word_or_number_changes_nothing(some, console, what, word, total):
    response = confirm(console, f"{WIPE}?what={what}&namespace={some.pk}", word, total)
    assert response.status_code == 200 and "Nothing was deleted" in response.content.decode()
    assert (len(load_contents()), Job.objects.count()) == (4, 0)


# A user


def test_a_user_is_erased_after_the_count_with_an_audit_line(some, console):
    url = f"{ERASE}?namespace={some.pk}&user=ada"
    assert dict(console.get(url).context["counts"]) == {"memories": "2", "conversations": "1"}
    assert confirm(console, url, "ada").status_code == 302
    assert load_contents() == {"nobody's", "theirs"}
    assert Erasure.objects.get().requested_by == "console:operator"


@pytest.mark.parametrize(("word", "total"), [("Ada", None), ("", None), ("ada", 2), ("ada", "3x")])
def test_a_user_is_not_erased_with_another_name_or_number(some, console, word, total):
    response = confirm(console, f"{ERASE}?namespace={some.pk}&user=ada", word, total)
    assert "Nothing was deleted" in response.content.decode()
    assert len(load_contents()) == 4 and not Erasure.objects.exists()


def test_a_user_page_and_list_lead_to_erasure_and_export(some, console):
    statistics.compact_totals(some.pk)
    for page in (
        f"/admin/graph/usertotal/user/?namespace={some.pk}&user=ada",
        f"/admin/graph/usertotal/?namespace={some.pk}",
    ):
        text = fetch_page_text(console, page)
        for name in ("erase", "export"):
            assert f"{reverse(f'admin:operations_desk_{name}')}?namespace={some.pk}&amp;user=ada" in text


def test_a_user_is_exported_as_a_file_for_import_memories(some, console):
    response = console.get(f"{EXPORT}?namespace={some.pk}&user=ada")
    lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert response["Content-Disposition"] == 'attachment; filename="ada.jsonl"'
    assert lines[0]["counts"]["memory"] == 2
    assert {line["content"] for line in lines if line["kind"] == "memory"} == {"ada's tea", "ada's step"}
