"""Deletion of outdated memories."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from memories.knowledge import retention, tasks
from memories.models import Memory
from tests.wire import fingerprint_tables, is_problem

pytestmark = pytest.mark.django_db
LONG_AGO = datetime.now(UTC) - timedelta(days=91)
NOT_SO_LONG_AGO = datetime.now(UTC) - timedelta(days=89)
OUTDATED_NAMES = {"plain", "trivial", "used twice", "used long ago", "not important", "of ada"}
MEMORY_FIELDS = {
    "plain": {},
    "trivial": {"importance": 1},
    "used twice": {"access_count": 2, "last_accessed_at": LONG_AGO},
    "used long ago": {"created_at": datetime.now(UTC), "access_count": 1, "last_accessed_at": LONG_AGO},
    "not important": {"metadata": {"important": False}},
    "of ada": {"user_id": "ada"},
    "medium": {"importance": 3},
    "used three times": {"access_count": 3, "last_accessed_at": LONG_AGO},
    "used lately": {"access_count": 1, "last_accessed_at": NOT_SO_LONG_AGO},
    "young": {"created_at": NOT_SO_LONG_AGO},
    "told lately": {"last_updated": NOT_SO_LONG_AGO},
    "preserved": {"tags": ["x", "preserve"]},
    "important by tag": {"tags": ["important"]},
    "important": {"metadata": {"important": True}},
}


@pytest.fixture
def old(api, namespace, elsewhere) -> None:
    usual = {"importance": 2, "created_at": LONG_AGO, "source_system": "test"}
    Memory.objects.bulk_create(
        Memory(namespace=namespace, content=name, **usual | each) for name, each in MEMORY_FIELDS.items()
    )
    Memory.objects.create(namespace=elsewhere, content="elsewhere", **usual)


def load_contents() -> set[str]:
    return set(Memory.objects.values_list("content", flat=True))


def forget_outdated_memories(api, dry_run: bool) -> dict:
    response = api.post("/memories/forget-outdated", {"dry_run": dry_run})
    assert response.status_code == 200, response.content
    return response.json()


def test_outdated_memories_are_deleted_and_others_stay(api, old):
    assert forget_outdated_memories(api, False) == {"matched": len(OUTDATED_NAMES), "deleted": len(OUTDATED_NAMES)}
    assert load_contents() == MEMORY_FIELDS.keys() - OUTDATED_NAMES | {"elsewhere"}
    assert forget_outdated_memories(api, False) == {"matched": 0, "deleted": 0}


def test_a_dry_run_only_counts(api, old, capsys):
    before = fingerprint_tables()
    assert forget_outdated_memories(api, True) == {"matched": len(OUTDATED_NAMES), "deleted": 0}
    call_command("forget_outdated", "--dry-run")
    assert capsys.readouterr().out == f"{len(OUTDATED_NAMES) + 1} memories would be forgotten.\n"
    assert fingerprint_tables() == before


def test_a_used_insight_stays(api):
    texts = ["A harbour is as deep as its shallowest berth.", "Tides are turned by the moon, and not by us."]
    old = {"memory_type": "insight", "importance": 1, "created_at": str(LONG_AGO)}
    used, _ = [api.add(text, **old)["id"] for text in texts]
    assert api.post(f"/insights/{used}/use").status_code == 200
    assert forget_outdated_memories(api, False)["deleted"] == 1
    assert load_contents() == {texts[0]}


def test_the_command_processes_one_namespace_or_all(old, capsys):
    call_command("forget_outdated", "--namespace", "elsewhere")
    assert capsys.readouterr().out == "1 memories were forgotten.\n"
    assert load_contents() == set(MEMORY_FIELDS)
    call_command("forget_outdated")
    assert capsys.readouterr().out == f"{len(OUTDATED_NAMES)} memories were forgotten.\n"
    assert load_contents() == MEMORY_FIELDS.keys() - OUTDATED_NAMES


def test_an_unknown_namespace_is_a_usage_error(old):
    with pytest.raises(CommandError, match="There is no namespace 'nowhere'"):
        call_command("forget_outdated", "--namespace", "nowhere")


def test_the_nightly_task_deletes_in_batches(old, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(retention, "OUTDATED_BATCH_SIZE", 3)
    with django_assert_num_queries(7):  # three batches of two statements, and a look that finds no more
        assert tasks.forget_outdated() == len(OUTDATED_NAMES) + 1
    assert tasks.forget_outdated() == 0


def test_a_memory_used_during_the_deletion_stays(old):
    outdated = Memory.objects.outdated()
    keys = list(outdated.values_list("pk", flat=True))
    Memory.objects.filter(pk=keys[0]).update(last_accessed_at=datetime.now(UTC))
    assert retention.delete_batch(outdated, keys) == len(keys) - 1


def test_an_expired_memory_is_not_counted(api, old):
    Memory.objects.filter(content="plain").update(expires_at=LONG_AGO)
    assert forget_outdated_memories(api, True)["matched"] == len(OUTDATED_NAMES) - 1


def test_a_reader_may_not_delete_outdated_memories(reader):
    assert is_problem(reader.post("/memories/forget-outdated", {"dry_run": True}), 403)
