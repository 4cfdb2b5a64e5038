"""What was erased is erased again in a database of a time before it; what was stored after the erasure stays."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import transaction

from memories.graph.models import Erasure
from memories.history.models import MemoryVersion
from memories.models import Memory
from memories.users.statistics import refresh_statistics_view
from memory_site.operations.erasures.entries import Entry, Kind
from memory_site.operations.erasures.recorded import list_recorded
from memory_site.operations.erasures.replay import replay
from sessions_app.models import ApiKey, ErasedNamespace, Namespace
from tests.memories.users.test_erasure import ERASED_USER, SECRET_WORD, erase_user, fill_every_table, find_lines

pytestmark = pytest.mark.django_db


def record_and_go_back(erase: Callable[[], object]) -> list[Entry]:
    """Erase, note what was recorded, and have the database as it was before: an earlier backup that was restored."""
    savepoint = transaction.savepoint()
    erase()
    entries = list_recorded()
    transaction.savepoint_rollback(savepoint)
    return entries


def test_an_erased_user_is_gone_from_every_table_again(api, outsider):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    fill_every_table(api, "ada", "theirs alone", "another session")
    fill_every_table(outsider, ERASED_USER, "of another namespace", "a session")
    refresh_statistics_view()
    entries = record_and_go_back(lambda: erase_user(api))
    assert find_lines(SECRET_WORD)
    assert replay(entries) == entries
    assert find_lines(SECRET_WORD) == []
    assert Memory.objects.filter(user_id="ada").count() == 6
    assert len(outsider.get(f"/users/{ERASED_USER}/memories").json()["memories"]) == 6
    line = Erasure.objects.get()
    assert (line.id, line.created_at, line.erased) == (entries[0].id, entries[0].at, entries[0].erased)


def test_erasing_twice_changes_nothing_and_what_came_later_stays(api):
    api.add("once", user_id=ERASED_USER)
    entries = record_and_go_back(lambda: erase_user(api))
    replay(entries)
    api.add("back again", user_id=ERASED_USER)
    assert replay(entries) == []
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def test_a_backup_from_after_the_erasure_keeps_what_was_stored_since(api):
    api.add("once", user_id=ERASED_USER)
    erase_user(api)
    entries = list_recorded()
    api.add("back again", user_id=ERASED_USER)
    assert replay(entries) == []
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def test_an_emptied_namespace_is_emptied_again_and_keeps_its_keys(api, namespace):
    api.add("once")
    entries = record_and_go_back(lambda: call_command("forget", namespace="ours", everything=True, yes_delete=2))
    assert [entry.kind for entry in replay(entries)] == [Kind.ROWS]
    assert not Memory.objects.exists()
    assert ApiKey.objects.filter(namespace=namespace).exists()
    api.add("a new beginning")
    assert replay(entries) == []
    assert Memory.objects.count() == 1


@pytest.mark.parametrize("delete", [Namespace.delete, lambda ours: Namespace.objects.filter(pk=ours.pk).delete()])
def test_a_deleted_namespace_is_deleted_again_with_its_keys(api, outsider, namespace, delete):
    api.add("once", user_id=ERASED_USER)
    outsider.add("theirs")
    erase_user(api)
    api.add("twice")
    entries = record_and_go_back(lambda: delete(namespace))
    assert [entry.kind for entry in replay(entries)] == [Kind.NAMESPACE]
    assert list(Memory.objects.values_list("content", flat=True)) == ["theirs"]
    assert not ApiKey.objects.filter(namespace=1).exists()
    assert ErasedNamespace.objects.get().id == entries[-1].id


def test_an_erasure_in_a_namespace_that_the_backup_does_not_know_is_harmless(api, namespace):
    api.add("once", user_id=ERASED_USER)
    entries = record_and_go_back(lambda: erase_user(api))
    namespace.delete()
    assert replay(entries) == entries
    assert replay(entries) == []


def test_a_user_of_whom_nothing_is_left_can_be_kept_out_of_backups(api):
    savepoint = transaction.savepoint()
    api.delete(f"/memories/{api.add('once', user_id=ERASED_USER)['id']}")
    MemoryVersion.objects.all().delete()
    call_command("forget", namespace="ours", user=ERASED_USER, dry_run=True)
    assert list_recorded() == []
    call_command("forget", namespace="ours", user=ERASED_USER)
    entries = list_recorded()
    transaction.savepoint_rollback(savepoint)
    api.add("once", user_id=ERASED_USER)
    assert replay(entries) == entries
    assert not Memory.objects.exists()


def test_a_single_deletion_is_no_erasure(api):
    """A backup is there to undo it."""
    api.delete(f"/memories/{api.add('once', user_id=ERASED_USER)['id']}")
    assert list_recorded() == []
