"""Admin pages of ingestions, documents and their chunks."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingestion.admin import ingestions as ingestion_pages
from ingestion.chunking import Chunk
from ingestion.models import Document, Ingestion
from ingestion.pipeline import run_ingestion, save_document
from memories.models import Embedding, Memory
from memories.tasks import embed_due
from memory_site.core.admin import schema_forms
from sessions_app.models import Namespace
from tests.console import query_rows, render_rows

pytestmark = pytest.mark.django_db
RUNS_URL, DOCUMENTS_URL = "/admin/ingestion/ingestion/", "/admin/ingestion/document/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
SCRIPT_TAG = "<script>alert(1)</script>"
SUBMITTED_DIALOG = {"_form_submitted": "True"}


def create_ingestion(
    namespace: Namespace, repo_id: str = "site", status: str = "completed", **fields: object
) -> Ingestion:
    values = {"path": "/srv/site", "suffixes": [".py"], "exclude": ["drafts/"], "status": status} | fields
    return Ingestion.objects.create(namespace=namespace, repo_id=repo_id, **values)


def create_running_ingestion(namespace: Namespace, seconds: int = 10, **fields: object) -> Ingestion:
    now = timezone.now()
    values = {"documents_total": 897, "documents_done": 412, "documents_changed": 400, "chunks": 1703, "attempts": 1}
    times = {"started_at": now - timedelta(seconds=seconds), "last_heartbeat_at": now}
    return create_ingestion(namespace, **{"status": "in_progress"} | values | times | fields)


def create_document(namespace: Namespace, path: str = "app/models.py", *texts: str, repo_id: str = "site") -> Document:
    parts = [Chunk(text, place, 10 * place + 1, 10 * place + 9) for place, text in enumerate(texts or ["a = 1"])]
    whose = {"namespace_id": namespace.pk, "repo_id": repo_id, "path": path}
    pk, _ = save_document(whose, {"digest": path.encode(), "size": 14_540}, parts)
    return Document.objects.get(pk=pk)


def get_page_url(row: Ingestion | Document, what: str = "change") -> str:
    return reverse(f"admin:ingestion_{row._meta.model_name}_{what}", args=[row.pk])


def fetch_page_text(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, path: str, **parameters: object) -> list:
    return query_rows(console, path, **parameters)


def drawn(console, path: str, **parameters: object) -> list:
    return render_rows(console, path, **parameters)


def create_clerk(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


# The list of runs


def test_runs_are_listed_newest_first_with_their_progress(console, namespace, elsewhere):
    began = timezone.now() - timedelta(hours=1)
    ended = {"started_at": began, "finished_at": began + timedelta(seconds=200)}
    first = create_ingestion(namespace, documents_total=1200, documents_done=1200, **ended)
    second = create_running_ingestion(elsewhere, documents_skipped=1234)
    third = create_ingestion(namespace, "new", "pending")
    assert list_rows(console, RUNS_URL) == [third, second, first]
    text = fetch_page_text(console, RUNS_URL)
    assert all(words in text for words in ("412 of 897", 'style="width: 45%"', "1 703".replace(" ", "\u202f")))
    assert all(words in text for words in ("3 min 20 s", "not started", "not yet", "in progress"))
    assert "1 234".replace(" ", "\u202f") in text


def test_the_list_of_runs_takes_a_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_ingestion(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console, RUNS_URL)
    for number in range(60):
        create_running_ingestion(Namespace.objects.create(name=f"n{number}"))
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console, RUNS_URL)) == 50


def test_runs_are_filtered_by_namespace_and_status_and_searched_by_repository(console, namespace, elsewhere):
    ours, theirs = create_ingestion(namespace, "team/site"), create_ingestion(elsewhere, "docs_1", "failed")
    assert list_rows(console, RUNS_URL, namespace=namespace.pk) == [ours]
    assert list_rows(console, RUNS_URL, status="failed") == [theirs]
    assert list_rows(console, RUNS_URL, status="nothing") == [theirs, ours]
    assert list_rows(console, RUNS_URL, q="SITE") == [ours]
    assert list_rows(console, RUNS_URL, q=" docs_ ") == [theirs]
    assert list_rows(console, RUNS_URL, q="_s") == list_rows(console, RUNS_URL, q="%s") == []
    assert list_rows(console, RUNS_URL, q="docs", namespace=namespace.pk) == []


@pytest.mark.parametrize("path", [RUNS_URL, DOCUMENTS_URL])
@pytest.mark.parametrize("value", ["x", "9" * 40, "²", "-1", "1\0", "999999"])
def test_an_unknown_namespace_lists_nothing(console, namespace, path, value):
    create_ingestion(namespace)
    create_document(namespace)
    assert list_rows(console, path, namespace=value) == []


@pytest.mark.parametrize("path", [RUNS_URL, DOCUMENTS_URL])
@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "☃", "%s", "{sql}"])
def test_no_query_breaks_a_list(console, namespace, path, query):
    create_ingestion(namespace)
    create_document(namespace)
    assert SCRIPT_TAG not in fetch_page_text(console, path, q=query)


def test_unknown_lookups_in_the_url_are_refused(console):
    assert console.get(RUNS_URL, {"error__icontains": "a"}).status_code == 400
    assert console.get(DOCUMENTS_URL, {"path__regex": "(a+)+$"}).status_code == 400


def test_an_empty_list_explains_why(console, namespace):
    assert "A run starts with manage.py ingest" in fetch_page_text(console, RUNS_URL)
    assert "No run matches." in fetch_page_text(console, RUNS_URL, status="failed")
    assert "Documents come from ingested folders" in fetch_page_text(console, DOCUMENTS_URL)
    assert "No document matches." in fetch_page_text(console, DOCUMENTS_URL, repo_id="nothing")
    assert "The search covers the newest" in fetch_page_text(console, DOCUMENTS_URL, q="nothing")


# One run's page


def test_an_open_run_shows_its_progress_and_polls(console, namespace):
    row = create_running_ingestion(namespace)
    progress = get_page_url(row, "progress")
    for path in (get_page_url(row), progress):
        text = fetch_page_text(console, path)
        assert f'hx-get="{progress}"' in text
        assert all(words in text for words in ("412 of 897", "41.2 documents a second", "about 12 s left", "45%"))
    assert "<html" not in text


def test_polling_follows_the_run_and_stops_at_its_end(console, namespace):
    row = create_running_ingestion(namespace)
    progress = get_page_url(row, "progress")
    Ingestion.objects.filter(pk=row.pk).update(documents_done=700)
    assert "700 of 897" in fetch_page_text(console, progress)
    Ingestion.objects.filter(pk=row.pk).update(documents_done=897, status="completed", finished_at=timezone.now())
    text = fetch_page_text(console, progress)
    assert "897 of 897" in text
    assert "took" in text
    assert "/progress/" not in text
    row.delete()
    assert console.get(progress).status_code == 286


def test_waiting_listing_and_silent_runs_are_described(console, namespace):
    assert "waiting for a worker" in fetch_page_text(console, get_page_url(create_ingestion(namespace, "a", "pending")))
    reading = create_running_ingestion(namespace, repo_id="b", documents_total=None, documents_done=0)
    assert "listing the folder" in fetch_page_text(console, get_page_url(reading))
    silent = create_running_ingestion(
        namespace, 600, repo_id="c", last_heartbeat_at=timezone.now() - timedelta(minutes=5)
    )
    assert "the worker does not respond" in fetch_page_text(console, get_page_url(silent))
    assert "attempt 3" in fetch_page_text(
        console, get_page_url(create_running_ingestion(namespace, repo_id="d", attempts=3))
    )


def test_a_failed_run_shows_its_error_and_the_files_it_skipped(console, namespace):
    skipped = [{"path": f"data/{SCRIPT_TAG}.py", "reason": "It is binary."}] * 100
    row = create_running_ingestion(
        namespace, status="failed", error=f"Gone: {SCRIPT_TAG}", skipped=skipped, documents_skipped=105
    )
    text = fetch_page_text(console, get_page_url(row))
    assert text.count("It is binary.") == 100
    assert "Gone: &lt;script&gt;" in text
    assert SCRIPT_TAG not in text
    assert "Only the first 100 are listed." in text
    assert "<dd>105</dd>" in text
    assert "/progress/" not in text


def test_a_real_run_is_shown_to_its_end(console, namespace, tmp_path):
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_bytes(b"\0")
    row = create_ingestion(namespace, status="pending", path=str(tmp_path), within_roots=False)
    for _ in run_ingestion(row):
        pass
    text = fetch_page_text(console, get_page_url(row))
    assert "2 of 2" in text
    assert "It is binary." in text
    assert text.count("<dd>1</dd>") == 3  # new, its chunk, skipped
    assert "are listed." not in text
    (found,) = list_rows(console, f"{DOCUMENTS_URL}?namespace={namespace.pk}&repo_id=site")
    assert f"{DOCUMENTS_URL}?namespace={namespace.pk}&amp;repo_id=site" in text
    assert found.path == "a.py"


def test_the_page_and_its_polling_take_a_constant_number_of_statements(console, namespace, django_assert_num_queries):
    ContentType.objects.get_for_model(Ingestion)  # which is kept for the next page
    rows = [
        create_running_ingestion(namespace),
        create_running_ingestion(namespace, repo_id="b", skipped=[{"path": "a", "reason": "b"}] * 90),
    ]
    for row in rows:
        for path in (get_page_url(row), get_page_url(row, "progress")):
            with django_assert_num_queries(3):  # session, user, the row
                console.get(path)


def test_nothing_can_be_added_or_changed(console, namespace):
    row, other = create_ingestion(namespace), create_document(namespace)
    for path in (RUNS_URL, DOCUMENTS_URL):
        assert console.get(path + "add/").status_code == 403
        assert console.post(path + "add/", {"repo_id": "x"}).status_code == 403
    assert console.post(get_page_url(row), {"status": "pending"}).status_code == 403
    assert console.post(get_page_url(other), {"path": "b.py"}).status_code == 403


def test_a_deleted_run_leaves_documents_and_memories(console, namespace):
    row = create_ingestion(namespace)
    create_document(namespace)
    path = get_page_url(row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"ingestions": 1}
    assert "Its documents and memories stay" in response.content.decode()
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert not Ingestion.objects.exists()
    assert Document.objects.count() == Memory.objects.count() == 1


def test_several_runs_are_deleted_at_once(console, namespace):
    rows = [create_ingestion(namespace) for _ in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    assert "stay" in console.post(RUNS_URL, chosen).content.decode()
    assert console.post(RUNS_URL, chosen | {"post": "yes"}).status_code == 302
    assert Ingestion.objects.get() == rows[0]


# Running again


@pytest.fixture
def notifications(monkeypatch) -> list[bool]:
    """Record each notification of the workers."""
    notified: list[bool] = []
    monkeypatch.setattr(ingestion_pages.ingestion_trigger, "notify_on_commit", lambda: notified.append(True))
    return notified


@pytest.fixture(autouse=True)
def roots(settings):
    settings.INGESTION_ROOTS = ["/srv"]


@pytest.mark.parametrize("within_roots", [True, False])
def test_run_again_asks_for_confirmation_and_repeats_the_run(console, namespace, notifications, within_roots):
    row = create_ingestion(namespace, status="failed", error="gone", documents_done=5, within_roots=within_roots)
    path = get_page_url(row, "run_again")
    assert path in fetch_page_text(console, get_page_url(row))
    assert "Ingest this folder again?" in fetch_page_text(console, path)
    assert (Ingestion.objects.count(), notifications) == (1, [])
    response = console.post(path, SUBMITTED_DIALOG)
    again = Ingestion.objects.exclude(pk=row.pk).get()
    same = ("namespace", "repo_id", "path", "suffixes", "exclude", "within_roots")
    assert [getattr(again, name) for name in same] == [getattr(row, name) for name in same]
    assert (again.status, again.error, again.documents_done) == ("pending", "", 0)
    assert response["HX-Redirect"] == get_page_url(again)
    assert notifications == [True]
    assert LogEntry.objects.get().object_id == str(again.pk)
    assert "The run was queued for a worker" in fetch_page_text(console, get_page_url(again))


def test_the_admin_checks_need_no_database(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert admin.site._registry[Ingestion].check() == []


def test_run_again_is_refused_while_another_run_of_the_repository_is_open(console, namespace, elsewhere, notifications):
    row = create_ingestion(namespace)
    create_running_ingestion(elsewhere)
    create_running_ingestion(namespace)
    response = console.post(get_page_url(row, "run_again"), SUBMITTED_DIALOG)
    assert response["HX-Redirect"] == get_page_url(row)
    assert Ingestion.objects.count() == 3
    assert notifications == []
    assert not LogEntry.objects.exists()
    assert "another run of this repository is open" in fetch_page_text(console, get_page_url(row))


def test_a_folder_outside_the_roots_is_run_again_only_for_runs_of_the_command_line(
    console, namespace, notifications, settings
):
    settings.INGESTION_ROOTS = ["/elsewhere"]
    ours, theirs = create_ingestion(namespace, "ours", within_roots=False), create_ingestion(namespace, "theirs")
    assert console.post(get_page_url(theirs, "run_again"), SUBMITTED_DIALOG)["HX-Redirect"] == get_page_url(theirs)
    assert "No run was started. The folder lies outside INGESTION_ROOTS." in fetch_page_text(
        console, get_page_url(theirs)
    )
    assert (Ingestion.objects.count(), notifications) == (2, [])
    console.post(get_page_url(ours, "run_again"), SUBMITTED_DIALOG)
    assert (Ingestion.objects.filter(repo_id="ours", within_roots=False).count(), notifications) == (2, [True])


def test_a_deleted_run_is_not_run_again(console, namespace, notifications):
    row = create_ingestion(namespace)
    path = get_page_url(row, "run_again")
    row.delete()
    assert console.post(path, SUBMITTED_DIALOG)["HX-Redirect"] == RUNS_URL
    assert "this run has been deleted" in fetch_page_text(console, RUNS_URL)
    assert notifications == []


# Documents


def test_documents_are_listed_newest_first_with_size_and_chunks(console, namespace, elsewhere):
    first = create_document(namespace, "a.py", "one", "two", "three")
    posted = Document.objects.create(namespace=elsewhere, title=f"Hours {SCRIPT_TAG}", digest=b"1", size=10)
    assert list_rows(console, DOCUMENTS_URL) == [posted, first]
    text = fetch_page_text(console, DOCUMENTS_URL)
    assert "14.2\xa0KB" in text
    assert '<td class="field-chunks' in text
    assert "Hours &lt;script&gt;" in text
    assert SCRIPT_TAG not in text


def test_the_list_of_documents_takes_a_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_document(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console, DOCUMENTS_URL)
    for number in range(60):
        create_document(Namespace.objects.create(name=f"n{number}"))
    for parameters in ({}, {"q": "models"}):
        with django_assert_num_queries(MAX_LIST_STATEMENTS):
            assert len(drawn(console, DOCUMENTS_URL, **parameters)) == 50


def test_documents_are_filtered_by_namespace_and_exact_repository(console, namespace, elsewhere):
    ours, theirs = create_document(namespace), create_document(elsewhere, repo_id="site-docs")
    assert list_rows(console, DOCUMENTS_URL, namespace=namespace.pk) == [ours]
    assert list_rows(console, DOCUMENTS_URL, repo_id="site") == [ours]
    assert list_rows(console, DOCUMENTS_URL, repo_id="site-docs") == [theirs]
    assert list_rows(console, DOCUMENTS_URL, repo_id="si") == list_rows(console, DOCUMENTS_URL, repo_id="a\0") == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("app/", ["app/b_c.py", "app/a.py"]), ("A.PY", ["app/a.py"]), ("b_c", ["app/b_c.py"]), ("p_a", []), ("%", [])],
)
def test_a_document_is_found_by_a_part_of_its_path(console, namespace, typed, expected):
    for path in ("app/a.py", "app/b_c.py", "x.md"):
        create_document(namespace, path)
    assert [each.path for each in list_rows(console, DOCUMENTS_URL, q=typed)] == expected


def test_a_search_covers_only_the_newest_documents_that_match_the_filters(console, namespace, elsewhere, monkeypatch):
    monkeypatch.setattr(schema_forms, "MAX_SEARCHED_ROWS", 2)
    old, *rest = [create_document(namespace, f"app/{name}.py") for name in "abc"]
    assert list_rows(console, DOCUMENTS_URL, q="app") == rest[::-1]
    theirs = create_document(elsewhere, "app/d.py")
    assert list_rows(console, DOCUMENTS_URL, q="app") == [theirs, rest[1]]
    assert list_rows(console, DOCUMENTS_URL, q="app", namespace=namespace.pk) == rest[::-1]
    assert old not in list_rows(console, DOCUMENTS_URL, q="app/a")


def test_the_page_shows_the_chunks_in_order_with_their_lines(console, namespace):
    row = create_document(namespace, "a.py", "a = 1\nb = 2", *[f"c = {number}" for number in range(11)])
    response = console.get(get_page_url(row))
    blocks = response.context["blocks"]
    assert [block["position"] for block in blocks] == list(range(12))
    assert (blocks[0]["lines"], blocks[0]["place"], blocks[0]["before"]) == (["a = 1", "b = 2"], "lines 1–9", 0)
    assert (blocks[2]["place"], blocks[2]["before"]) == ("lines 21–29", 20)
    text = response.content.decode()
    assert "counter-reset: line 20" in text
    for memory in Memory.objects.all():
        assert reverse("admin:memories_memory_change", args=[memory.pk]) in text


def test_text_is_escaped_and_long_chunks_are_folded(console, namespace):
    row = create_document(namespace, "a.py", f"x = '{SCRIPT_TAG}'", "line\n" * 30, "y" * 30_000)
    blocks = console.get(get_page_url(row)).context["blocks"]
    assert [bool(block["beginning"]) for block in blocks] == [False, True, True]
    assert len(blocks[1]["beginning"]) == 10
    assert len(blocks[2]["beginning"][0]) == 1000
    text = fetch_page_text(console, get_page_url(row))
    assert text.count("<details") == 2
    assert "&lt;script&gt;alert(1)" in text
    assert SCRIPT_TAG not in text


def test_each_chunk_shows_the_state_of_its_vector(console, namespace):
    row = create_document(namespace)
    assert console.get(get_page_url(row)).context["blocks"][0]["vector"] == "not yet"
    embed_due()
    assert console.get(get_page_url(row)).context["blocks"][0]["vector"] == "yes"


@pytest.mark.parametrize("metadata", [{}, {"position": "x", "start_line": "1", "end_line": None}, {"start_line": {}}])
def test_metadata_changed_by_clients_do_not_break_the_page(console, namespace, metadata):
    row = create_document(namespace)
    Memory.objects.update(metadata=metadata)
    (block,) = console.get(get_page_url(row)).context["blocks"]
    assert (block["place"], block["before"]) == (None, 0)


def test_chunks_are_paginated(console, namespace):
    row = create_document(namespace, "a.py", *[f"c = {number}" for number in range(60)])
    assert len(console.get(get_page_url(row)).context["blocks"]) == 50
    for number in ("2", "99"):
        blocks = console.get(get_page_url(row), {"page": number}).context["blocks"]
        assert [block["position"] for block in blocks] == list(range(50, 60))
    assert "51–60 of 60" in fetch_page_text(console, get_page_url(row), page=2)


def test_a_documents_page_takes_a_constant_number_of_statements(console, namespace, django_assert_num_queries):
    ContentType.objects.get_for_model(Document)  # which is kept for the next page
    for row in (
        create_document(namespace),
        create_document(namespace, "b.py", *[f"c = {number}" for number in range(45)]),
    ):
        with django_assert_num_queries(5):  # session, user, the row, count, chunks
            console.get(get_page_url(row))


def test_a_document_without_chunks_says_so(console, namespace):
    row = Document.objects.create(namespace=namespace, title="empty", digest=b"1", size=0)
    assert "This document has no chunks" in fetch_page_text(console, get_page_url(row))


def test_deleting_a_document_shows_what_is_deleted_with_it(console, namespace):
    row, other = create_document(namespace, "a.py", "one", "two", "three"), create_document(namespace, "b.py")
    embed_due()
    path = get_page_url(row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"documents": 1, "chunks": 3, "vectors": 3}
    assert "permanently deletes the document and all of its chunks" in response.content.decode()
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert Document.objects.get() == other
    assert Memory.objects.get().document_id == other.pk
    assert Embedding.objects.count() == 1


def test_deleting_several_documents_shows_exact_counts(console, namespace):
    rows = [create_document(namespace, f"{number}.py", *["a", "b", "c"][: number + 1]) for number in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    response = console.post(DOCUMENTS_URL, chosen)
    assert dict(response.context["model_count"]) == {"documents": 2, "chunks": 5, "vectors": 0}
    assert console.post(DOCUMENTS_URL, chosen | {"post": "yes"}).status_code == 302
    assert Document.objects.get() == rows[0]
    assert Memory.objects.count() == 1


def test_lists_read_neither_skipped_files_nor_metadata(console, namespace):
    create_ingestion(namespace)
    create_document(namespace)
    for path, column in ((RUNS_URL, '"skipped"'), (DOCUMENTS_URL, '"metadata"')):
        with CaptureQueriesContext(connection) as statements:
            drawn(console, path)
        assert column not in statements[-1]["sql"]


# Who may see it


def test_a_user_without_permissions_sees_nothing(client, namespace, django_user_model):
    row, other = create_ingestion(namespace), create_document(namespace)
    client = create_clerk(client, django_user_model)
    for path in (
        RUNS_URL,
        get_page_url(row),
        get_page_url(row, "progress"),
        get_page_url(row, "run_again"),
        DOCUMENTS_URL,
        get_page_url(other),
    ):
        assert client.get(path).status_code == 403, path
    text = fetch_page_text(client, "/admin/")
    assert RUNS_URL not in text
    assert DOCUMENTS_URL not in text


def test_polling_after_logout_is_refused_without_a_redirect(client, namespace):
    assert client.get(get_page_url(create_running_ingestion(namespace), "progress")).status_code == 403


def test_a_user_with_view_permission_can_change_nothing(client, namespace, django_user_model, notifications):
    row, other = create_ingestion(namespace), create_document(namespace, "a.py", "a secret")
    client = create_clerk(client, django_user_model, "view_ingestion", "view_document")
    assert "Run again" not in fetch_page_text(client, get_page_url(row))
    assert client.post(get_page_url(row, "run_again"), SUBMITTED_DIALOG).status_code == 403
    for each in (row, other):
        assert client.post(get_page_url(each, "delete"), {"post": "yes"}).status_code == 403
    assert Ingestion.objects.count() == Document.objects.count() == 1
    assert notifications == []


def test_chunks_are_shown_only_with_the_permission_to_view_memories(client, namespace, django_user_model):
    row = create_document(namespace, "a.py", "a secret")
    client = create_clerk(client, django_user_model, "view_document")
    text = fetch_page_text(client, get_page_url(row))
    assert "You do not have permission to view memories" in text
    assert "a secret" not in text
    django_user_model.objects.get().user_permissions.add(Permission.objects.get(codename="view_memory"))
    assert "a secret" in fetch_page_text(client, get_page_url(row))


def test_deleting_a_document_with_chunks_needs_the_permission_to_delete_memories(client, namespace, django_user_model):
    row = create_document(namespace)
    client = create_clerk(client, django_user_model, "view_document", "delete_document")
    assert client.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 403
    assert Memory.objects.exists()
    django_user_model.objects.get().user_permissions.add(Permission.objects.get(codename="delete_memory"))
    assert client.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 302
    assert not Memory.objects.exists()


def test_run_again_needs_the_permission_to_add_runs(client, namespace, django_user_model, notifications):
    row = create_ingestion(namespace)
    client = create_clerk(client, django_user_model, "view_ingestion", "add_ingestion")
    assert "Run again" in fetch_page_text(client, get_page_url(row))
    assert client.post(get_page_url(row, "run_again"), SUBMITTED_DIALOG).status_code == 200
    assert notifications == [True]
