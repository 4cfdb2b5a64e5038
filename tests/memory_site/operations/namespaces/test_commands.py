"""Namespaces are renamed, cloned and deleted by commands: counted first, and only as confirmed."""

import pytest
from django.core.management import CommandError, call_command

from memories.models import Memory
from sessions_app.models import ApiKey, ErasedNamespace, Namespace

pytestmark = pytest.mark.django_db


def run_refused_command(*words: object) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, words))
    return str(caught.value), caught.value.returncode


def list_names() -> set[str]:
    return set(Namespace.objects.values_list("name", flat=True))


def test_a_renamed_namespace_keeps_its_keys_and_rows(api, capsys):
    api.add("tea")
    call_command("rename_namespace", "ours", "mine")
    assert capsys.readouterr().err == "ours is called mine now.\n"
    assert (list_names(), len(api.get("/memories").json()["results"])) == ({"mine"}, 1)


@pytest.mark.parametrize("command", ["rename_namespace", "clone_namespace"])
def test_a_name_that_is_taken_changes_nothing(api, outsider, command):
    message, code = run_refused_command(command, "ours", "theirs")
    assert message.startswith("There is a namespace 'theirs' already. Nothing was ") and code == 1
    assert list_names() == {"ours", "theirs"}


@pytest.mark.parametrize(
    "words", [("rename_namespace", "x", "y"), ("clone_namespace", "x", "y"), ("delete_namespace", "x")]
)
def test_an_unknown_namespace_is_a_usage_error(namespace, words):
    message, code = run_refused_command(*words)
    assert message.startswith("There is no namespace 'x'") and code == 2


def test_a_clone_says_how_many_rows_and_how_to_get_a_key(api, capsys):
    api.add("tea")
    call_command("clone_namespace", "ours", "copy", "--dry-run")
    assert capsys.readouterr().out == "2 rows would be copied.\n"
    call_command("clone_namespace", "ours", "copy")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("2 of 2 rows are done, in ")
    assert lines[1] == "copy is a copy of ours; create_api_key --namespace copy gives access."
    assert Memory.objects.filter(namespace__name="copy").count() == 1


def test_a_namespace_is_deleted_with_its_keys_as_counted(api, outsider, capsys):
    api.add("tea")
    api.post("/conversations", {})
    message, code = run_refused_command("delete_namespace", "ours", "--yes-delete", 4)
    assert (message, code) == ("3 rows match, not 4. Nothing was deleted.", 1)
    lines = {tuple(line.split(maxsplit=1)) for line in capsys.readouterr().out.splitlines()}
    assert lines == {("1", "memories"), ("1", "conversations"), ("1", "API keys")}
    call_command("delete_namespace", "ours", "--yes-delete", "3")
    assert (list_names(), ApiKey.objects.count(), ErasedNamespace.objects.get().deleted) == ({"theirs"}, 1, True)


def test_a_dry_run_deletes_nothing(api, capsys):
    call_command("delete_namespace", "ours", "--dry-run")
    assert capsys.readouterr().out.endswith("1 rows would be deleted, and the namespace.\n")
    assert list_names() == {"ours"}
