"""Keys in exports, jobs, clones, the trash, the clean-up and the console."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.urls import reverse

from memories.cleanup.models import Duplicate
from memories.jobs.create import create_job
from memories.jobs.run import run_job
from memories.models import Memory
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memory_site.operations.namespaces.clone import clone_namespace
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
TEXT, SAME_KEY = "Ada prefers short answers.", "Another memory of this user has the same key."
LONG_KEY = "🙂" * 512
LIST_URL = "/admin/memories/memory/"


def run_job_of(namespace: Namespace, action: str, parameters: dict, **filters: object):
    selection = Selection(namespace.pk, ListFilters(**filters))
    job = create_job(namespace.pk, action, parameters, selection, "console:operator")
    for _ in run_job(job):
        pass
    job.refresh_from_db()
    return job


def list_keys(namespace: Namespace) -> list[tuple[str | None, str | None, str]]:
    rows = Memory.objects.filter(namespace=namespace).order_by("key", "user_id")
    return list(rows.values_list("key", "user_id", "content"))


def fetch_page(console, url: str):
    response = console.get(url)
    assert response.status_code == 200, response.content[:500]
    return response


# Exports


@pytest.fixture
def exported(api, tmp_path) -> Path:
    for user_id in ("ada", None):
        api.add(TEXT, key="style", user_id=user_id)
        api.add(TEXT, key=LONG_KEY, user_id=user_id)
        api.add(TEXT, user_id=user_id)
    file = tmp_path / "export.jsonl"
    call_command("export_memories", str(file), namespace="ours")
    return file


def bring(file: Path, namespace: str) -> str:
    out = io.StringIO()
    call_command("import_memories", str(file), namespace=namespace, stdout=out)
    return out.getvalue()


def test_keys_are_exported_and_imported_once(namespace, elsewhere, exported):
    before = list_keys(namespace)
    for _ in range(2):
        bring(exported, "elsewhere")
        assert list_keys(elsewhere) == before
    assert bring(exported, "ours")
    assert list_keys(namespace) == before


def test_a_key_that_is_there_already_is_kept(api, namespace, exported):
    Memory.objects.filter(key="style", user_id="ada").delete()
    api.add("Another text.", key="style", user_id="ada")
    bring(exported, "ours")
    assert ("style", "ada", "Another text.") in list_keys(namespace)
    assert Memory.objects.count() == 6


def test_an_export_of_before_there_were_keys_is_imported(namespace, exported):
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    header, rows = lines[0], [line for line in lines[1:] if line.pop("key", None) is None]
    header["counts"]["memory"] = len(rows)
    exported.write_text("".join(json.dumps(line) + "\n" for line in (header, *rows)))
    Memory.objects.all().delete()
    bring(exported, "ours")
    assert list_keys(namespace) == [(None, "ada", TEXT), (None, None, TEXT)]


# Jobs, clones and the trash


def test_a_memory_whose_key_is_taken_there_stays_and_is_named(api, namespace, elsewhere):
    stays, moves = api.add(TEXT, key="style"), api.add(TEXT, key="tone")
    Memory.objects.create(namespace=elsewhere, content="Theirs.", source_system="test", key="style")
    job = run_job_of(namespace, "move", {"namespace_id": elsewhere.pk})
    assert (job.done, job.failed, job.log) == (1, 1, [{"id": stays["id"], "reason": SAME_KEY}])
    assert list_keys(elsewhere) == [("style", None, "Theirs."), ("tone", None, TEXT)]
    assert moves["id"] in {str(pk) for pk in Memory.objects.filter(namespace=elsewhere).values_list("pk", flat=True)}


def test_a_memory_whose_key_the_other_user_has_stays(api, namespace):
    api.add("Of Bob.", key="style", user_id="bob")
    stays = api.add(TEXT, key="style", user_id="ada")
    job = run_job_of(namespace, "set_user", {"user_id": "bob"})
    assert {entry["id"]: entry["reason"] for entry in job.log} == {stays["id"]: SAME_KEY}


def test_a_clone_has_the_same_keys(namespace, exported):
    assert list(clone_namespace(namespace, "copy"))
    assert list_keys(Namespace.objects.get(name="copy")) == list_keys(namespace)


def test_a_memory_does_not_come_back_while_another_has_its_key(api, namespace):
    memory = api.add(TEXT, key="style")
    api.delete(f"/memories/{memory['id']}")
    api.add("The next one.", key="style")
    answer = api.post(f"/memories/{memory['id']}/restore", {})
    assert (answer.status_code, answer.json()["detail"]) == (409, SAME_KEY)
    restored = api.post("/trash/restore", {"ids": [memory["id"]]}).json()
    assert restored["left"] == [{"id": memory["id"], "reason": SAME_KEY}]
    api.delete("/memories/by-key/style")
    assert api.post(f"/memories/{memory['id']}/restore", {}).json()["key"] == "style"


def test_an_earlier_key_comes_back_with_its_version(api):
    memory = api.add(TEXT, key="style")
    api.patch(f"/memories/{memory['id']}", {"key": "tone"})
    taken = api.add("Another.", key="style")
    assert api.post(f"/memories/{memory['id']}/restore", {}).json()["detail"] == SAME_KEY
    api.delete(f"/memories/{taken['id']}")
    assert api.post(f"/memories/{memory['id']}/restore", {}).json()["key"] == "style"


def test_erasing_a_user_frees_the_keys(api):
    api.add(TEXT, key="style", user_id="ada")
    assert api.delete("/users/ada").status_code == 200
    assert api.get("/memories/by-key/style?user_id=ada").status_code == 404
    assert api.call("PUT", "/memories/by-key/style?user_id=ada", {"content": TEXT}).status_code == 201


def test_the_clean_up_replaces_no_memory_with_a_key(api, namespace):
    text = "The harbour office opens at nine on weekdays."
    api.add(text, key="hours")
    first, second = api.add(text), api.add(text.lower())
    assert run_job_of(namespace, "inspect", {}).result["duplicates"] == 1
    [found] = Duplicate.objects.all()
    assert {str(found.memory_id), str(found.winner_id)} == {first["id"], second["id"]}
    api.patch(f"/memories/{found.memory_id}", {"key": "hours of winter"})  # since the look
    assert run_job_of(namespace, "merge_duplicates", {}, finding="duplicate").done == 0
    assert not Memory.objects.exclude(state="active").exists()


# The command line and the console


def test_show_names_the_key(api, capsys):
    memory = api.add(TEXT, key="style")
    call_command("show", memory["id"], namespace="ours")
    assert "style" in capsys.readouterr().out


def test_the_console_shows_finds_and_changes_a_key(console, api):
    memory, other = api.add(TEXT, key="notes/a"), api.add("Another.", key="tone")
    page = fetch_page(console, reverse("admin:memories_memory_change", args=[memory["id"]]))
    assert "notes/a" in page.content.decode()
    for query in ("key=tone", "key_prefix=to"):
        found = fetch_page(console, f"{LIST_URL}?{query}").context["cl"].result_list
        assert [str(row.pk) for row in found] == [other["id"]]


def save(console, pk: str, **changes: str):
    url = reverse("admin:memories_memory_change", args=[pk])
    form = fetch_page(console, f"{url}?edit=1").context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    given = {name: "" if value is None else str(value) for name, value in values.items() if name != "tags"}
    return console.post(url, given | {"data": "", "metadata": "", "tags": ""} | changes)


def test_a_taken_key_is_an_error_of_the_form(console, api):
    memory, other = api.add(TEXT, key="style"), api.add("Another.", key="tone")
    response = save(console, memory["id"], key="tone")
    assert response.status_code == 200
    assert other["id"] in str(response.context["adminform"].form.errors["key"])
    response = save(console, memory["id"], entity_system="crm", entity_id="1")
    assert "key" in response.context["adminform"].form.errors
    assert save(console, memory["id"], key="voice").status_code == 302
    assert Memory.objects.get(pk=memory["id"]).key == "voice"
    assert save(console, memory["id"], key="").status_code == 302
    assert Memory.objects.get(pk=memory["id"]).key is None


def test_the_page_of_an_id_that_two_namespaces_have(console, api, outsider):
    memory = api.add(TEXT)
    assert outsider.post("/memories", {"content": "Theirs.", "id": memory["id"]}).status_code == 201
    page = fetch_page(console, reverse("admin:memories_memory_change", args=[memory["id"]]))
    assert page.context["original"].content == "Theirs."
