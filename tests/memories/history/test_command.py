"""`manage.py restore_trash`."""

import json

import pytest
from django.core.management import CommandError, call_command

from memories.models import Memory

pytestmark = pytest.mark.django_db


@pytest.fixture
def deleted(api) -> list[dict]:
    memories = [api.add(f"number {number}", user_id="ada" if number else "ben") for number in range(3)]
    for memory in memories:
        api.delete(f"/memories/{memory['id']}")
    return memories


def run(capsys, **options: object) -> list[dict]:
    call_command("restore_trash", namespace="ours", format="json", **options)
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_lists_and_changes_nothing(capsys, deleted):
    rows = run(capsys, user="ada", dry_run=True)
    assert [row["content"] for row in rows] == ["number 2", "number 1"]
    assert Memory.objects.count() == 0


def test_the_chosen_ones_come_back(capsys, deleted):
    assert run(capsys, user="ada") == [{"restored": 2, "existing": 0, "left": 0, "why": ""}]
    assert run(capsys, everything=True)[0]["restored"] == 1
    assert run(capsys, everything=True)[0]["restored"] == 0


def test_what_is_left_is_counted_with_its_reason(capsys, api, deleted):
    api.add("number 1", user_id="ada")
    [row] = run(capsys, deleted_within="1h")
    assert (row["restored"], row["left"]) == (2, 1)
    assert row["why"] == "1: Another memory has the same content, type and user."


@pytest.mark.parametrize("options", [{}, {"user": "ada", "everything": True}, {"deleted_within": "soon"}], ids=str)
def test_a_wrong_choice_changes_nothing(capsys, deleted, options):
    with pytest.raises(CommandError) as error:
        run(capsys, **options)
    assert error.value.returncode == 2
    assert Memory.objects.count() == 0
