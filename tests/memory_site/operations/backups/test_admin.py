"""The console's pages of backups."""

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups.folder import read_stored
from memory_site.operations.backups.make import LEASE
from memory_site.operations.backups.rows import store_row
from memory_site.operations.backups.tasks import verify_chosen_backup
from memory_site.operations.models import Backup
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/operations/backup/"


def act(client, action: str, *rows: Backup) -> list[str]:
    response = client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows]})
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_the_list_and_the_page_show_state_and_manifest(console, copy):
    row = store_row(copy("plain"))
    broken = {"name": "memory-broken", "state": "bad", "message": "memory-broken.dump is damaged"}
    Backup.objects.create(**broken, started_at=timezone.now())
    text = fetch_page_text(console, LIST)
    assert all(each in text for each in (row.name, "written", "not yet", "memory-broken.dump is damaged", "KiB"))
    page = fetch_page_text(console, f"{LIST}{row.pk}/change/")
    assert "public.memories_embedding" in page and "Save" not in page


def test_the_page_says_how_to_restore_it_and_where_its_copy_is(console, copy):
    row = store_row(copy("plain"))
    Backup.objects.update(offsite_state="failed", offsite_error="s3://bucket cannot be listed: it does not answer.")
    page = fetch_page_text(console, f"{LIST}{row.pk}/change/")
    assert f"manage.py restore {row.name} --replace " in page and "s3://bucket cannot be listed" in page
    Backup.objects.update(offsite_state="copied", offsite_url=f"s3://bucket/{row.name}.dump")
    assert f"s3://bucket/{row.name}.dump" in fetch_page_text(console, f"{LIST}{row.pk}/change/")


def test_progress_is_shown_while_a_process_works_and_a_killed_one_is_not_running(console, folder):
    Backup.objects.create(name="now", progress=0.37, message="dumping", started_at=timezone.now())
    with hold_lease(LEASE):
        text = fetch_page_text(console, LIST)
        assert "dumping" in text and "width: 37%" in text and ">running<" in text.replace(" ", "").replace("\n", "")
    text = fetch_page_text(console, LIST)
    assert "interrupted" in text and "width: 37%" not in text


def test_backups_are_pinned_and_unpinned_in_their_manifest(console, copy):
    stored = copy("plain")
    row = store_row(stored)
    assert f"{stored.name} is pinned." in act(console, "pin", row)
    assert read_stored(stored.directory, stored.name).pinned
    assert f"{stored.name} is no longer pinned." in act(console, "unpin", row)
    assert not read_stored(stored.directory, stored.name).pinned
    stored.delete()
    assert any("There is no backup" in each for each in act(console, "pin", row))


def test_a_verification_is_sent_to_a_worker(console, copy, monkeypatch):
    sent = []
    monkeypatch.setattr(verify_chosen_backup, "apply_async", lambda arguments, **options: sent.append(arguments))
    row = store_row(copy("plain"))
    assert act(console, "verify", row)[0].startswith("A worker verifies them")
    assert sent == [(row.name,)]


def test_who_may_only_look_has_no_actions(client, copy, django_user_model):
    row = store_row(copy("plain"))
    viewer = create_staff_user(client, django_user_model, "view_backup")
    assert row.name in fetch_page_text(viewer, LIST)
    assert "Pin: never delete" not in fetch_page_text(viewer, LIST)
    act(viewer, "pin", row)
    assert not Backup.objects.get().pinned
