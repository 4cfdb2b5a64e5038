"""What the database has recorded reaches the ledger: when it is committed, by the task, and with each backup."""

import pytest
from django.core.management import call_command
from django.db import transaction

from memories.graph.models import Erasure
from memories.models import Memory
from memory_site.operations.erasures.carry import find_ledger
from memory_site.operations.erasures.ledger import read_ledger
from memory_site.operations.offsite.tasks import append_erasures
from tests.memories.users.test_erasure import ERASED_USER, erase_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(settings, tmp_path):
    settings.BACKUP_DIR = tmp_path
    return tmp_path


def list_ids() -> list:
    return list(read_ledger(find_ledger()).entries)


def test_an_erasure_is_in_the_ledger_when_it_is_committed(api, folder, django_capture_on_commit_callbacks):
    api.add("once", user_id=ERASED_USER)
    with django_capture_on_commit_callbacks(execute=True):
        erase_user(api)
        assert list_ids() == []
    assert list_ids() == [Erasure.objects.get().pk]


def test_the_task_appends_what_a_machine_without_a_folder_could_not(api, folder, settings):
    api.add("once", user_id=ERASED_USER)
    settings.BACKUP_DIR = None
    erase_user(api)
    assert append_erasures() == 0
    settings.BACKUP_DIR = folder
    assert (append_erasures(), append_erasures()) == (1, 0)


def test_a_folder_that_cannot_be_written_stops_no_erasure(api, folder, caplog, django_capture_on_commit_callbacks):
    api.add("once", user_id=ERASED_USER)
    find_ledger().mkdir()
    with django_capture_on_commit_callbacks(execute=True):
        assert erase_user(api).status_code == 200
    assert "not in the ledger yet" in caplog.text
    assert ERASED_USER not in caplog.text


def test_migrate_erases_again_what_another_way_of_restoring_has_brought_back(api, folder, capsys):
    savepoint = transaction.savepoint()
    api.add("once", user_id=ERASED_USER)
    erase_user(api)
    append_erasures()
    transaction.savepoint_rollback(savepoint)
    api.add("once", user_id=ERASED_USER)
    call_command("migrate", verbosity=0)
    assert not Memory.objects.exists()
    assert "Erased again, as the ledger of erasures says: 1 erasures." in capsys.readouterr().err
    find_ledger().write_text("not a line\n")
    call_command("migrate", verbosity=0)
