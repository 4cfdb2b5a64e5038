"""The console's page of a namespace shows what is in it, and clones it by a worker."""

import pytest
from kombu.exceptions import OperationalError

from memories.models import Memory
from memory_site.operations.models import CloneState, NamespaceClone
from memory_site.operations.namespaces import tasks
from sessions_app.models import Namespace
from tests.console import create_staff_user, fetch_page_text

CLONES = "/admin/operations/namespaceclone/"
FORM = {"_form_submitted": "True"}


def get_page(namespace: Namespace) -> str:
    return f"/admin/sessions_app/namespace/{namespace.pk}/change/"


@pytest.mark.django_db
def test_the_page_shows_figures_users_keys_and_the_newest_memories(api, namespace, console):
    api.add("ada's tea", user_id="ada")
    text = fetch_page_text(console, get_page(namespace))
    assert f'/admin/memories/memory/?namespace={namespace.pk}">1</a>' in text
    assert all(part in text for part in ("ada&#x27;s tea", ">ada</a>", "API keys", "last used"))
    assert "Empty, keep keys" in text and "Clone" in text and "Embedding model" in text


@pytest.mark.django_db
def test_a_clone_is_asked_for_by_name(api, namespace, console, monkeypatch):
    sent: list = []
    monkeypatch.setattr(tasks.make_clone, "apply_async", lambda arguments, **options: sent.append(arguments))
    url = f"/admin/sessions_app/namespace/{namespace.pk}/clone/"
    assert "There is a namespace" in console.post(url, FORM | {"clone_name": "ours"}).content.decode()
    assert console.post(url, FORM | {"clone_name": "trial"})["HX-Redirect"] == CLONES
    clone = NamespaceClone.objects.get()
    assert (clone.name, clone.source_name, clone.requested_by, sent) == (
        *("trial", "ours", "console:operator"),
        [(str(clone.pk),)],
    )
    listed = fetch_page_text(console, CLONES)
    assert 'hx-trigger="every 2s' in listed and "waiting" in listed
    NamespaceClone.objects.update(state=CloneState.FINISHED)
    assert 'hx-trigger="every 2s' not in fetch_page_text(console, CLONES)


@pytest.mark.django_db
def test_without_a_broker_the_clone_can_be_asked_for_again(api, namespace, console, monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise OperationalError

    monkeypatch.setattr(tasks.make_clone, "apply_async", refuse)
    console.post(f"/admin/sessions_app/namespace/{namespace.pk}/clone/", FORM | {"clone_name": "trial"})
    assert "the broker does not answer" in fetch_page_text(console, CLONES)


@pytest.mark.django_db
def test_a_viewer_may_not_clone(namespace, client, django_user_model):
    viewer = create_staff_user(client, django_user_model, "view_namespace")
    viewer.raise_request_exception = False
    assert (
        viewer.post(f"/admin/sessions_app/namespace/{namespace.pk}/clone/", FORM | {"clone_name": "trial"}).status_code
        == 403
    )
    assert "Largest users" in fetch_page_text(viewer, get_page(namespace))
    assert not NamespaceClone.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_makes_the_clone_and_says_why_not(api, namespace):
    api.add("tea")
    clone = NamespaceClone.objects.create(source_id=namespace.pk, source_name="ours", name="trial")
    tasks.make_clone(str(clone.pk))
    clone.refresh_from_db()
    assert (clone.state, clone.rows_done, clone.rows_total) == (CloneState.FINISHED, 2, 2)
    assert Memory.objects.filter(namespace__name="trial").count() == 1
    tasks.make_clone(str(clone.pk))  # a message that came twice
    again = NamespaceClone.objects.create(source_id=namespace.pk, source_name="ours", name="trial")
    tasks.make_clone(str(again.pk))
    again.refresh_from_db()
    assert (again.state, again.error) == (
        CloneState.FAILED,
        "There is a namespace 'trial' already. Nothing was copied.",
    )
