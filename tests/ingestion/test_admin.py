"""How operators see what was read into memories: runs over folders, documents and their chunks."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingestion.admin import documents as pages
from ingestion.chunking import Chunk
from ingestion.models import Document, Ingestion
from ingestion.pipeline import keep, run
from memories.models import Embedding, Memory
from memories.tasks import embed_due
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
RUNS, DOCUMENTS = "/admin/ingestion/ingestion/", "/admin/ingestion/document/"
LIST_STATEMENTS = 4  # session, user, count, page
SCRIPT = "<script>alert(1)</script>"
SENT = {"_form_submitted": "True"}


def ingestion(namespace: Namespace, repo_id: str = "site", status: str = "completed", **fields: object) -> Ingestion:
    values = {"path": "/srv/site", "suffixes": [".py"], "status": status} | fields
    return Ingestion.objects.create(namespace=namespace, repo_id=repo_id, **values)


def at_work(namespace: Namespace, seconds: int = 10, **fields: object) -> Ingestion:
    now = timezone.now()
    values = {"documents_total": 897, "documents_done": 412, "documents_changed": 400, "chunks": 1703, "tries": 1}
    times = {"started_at": now - timedelta(seconds=seconds), "heard_of_at": now}
    return ingestion(namespace, **{"status": "in_progress"} | values | times | fields)


def document(namespace: Namespace, path: str = "app/models.py", *texts: str, repo_id: str = "site") -> Document:
    parts = [Chunk(text, place, 10 * place + 1, 10 * place + 9) for place, text in enumerate(texts or ["a = 1"])]
    whose = {"namespace_id": namespace.pk, "repo_id": repo_id, "path": path}
    pk, _ = keep(whose, {"digest": path.encode(), "size": 14_540}, parts)
    return Document.objects.get(pk=pk)


def page_of(row: Ingestion | Document, what: str = "change") -> str:
    return reverse(f"admin:ingestion_{row._meta.model_name}_{what}", args=[row.pk])


def text_of(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def shown(console, path: str, **parameters: object) -> list:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return list(response.context["cl"].result_list)


def clerk_of(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


# The list of runs


def test_the_list_shows_the_newest_run_first_and_how_far_each_is(console, namespace, elsewhere):
    began = timezone.now() - timedelta(hours=1)
    ended = {"started_at": began, "finished_at": began + timedelta(seconds=200)}
    first = ingestion(namespace, documents_total=1200, documents_done=1200, **ended)
    second = at_work(elsewhere, documents_skipped=1234)
    third = ingestion(namespace, "new", "pending")
    assert shown(console, RUNS) == [third, second, first]
    text = text_of(console, RUNS)
    assert all(words in text for words in ("412 of 897", 'style="width: 45%"', "1 703".replace(" ", "\u202f")))
    assert all(words in text for words in ("3 min 20 s", "not begun", "not yet", "in progress"))
    assert "1 234".replace(" ", "\u202f") in text


def test_the_list_takes_the_same_statements_for_one_run_and_for_many(console, namespace, django_assert_num_queries):
    ingestion(namespace)
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console, RUNS)
    for number in range(60):
        at_work(Namespace.objects.create(name=f"n{number}"))
    with django_assert_num_queries(LIST_STATEMENTS):
        assert len(shown(console, RUNS)) == 50


def test_runs_are_narrowed_by_namespace_and_status_and_found_by_repository(console, namespace, elsewhere):
    ours, theirs = ingestion(namespace, "team/site"), ingestion(elsewhere, "docs_1", "failed")
    assert shown(console, RUNS, namespace=namespace.pk) == [ours]
    assert shown(console, RUNS, status="failed") == [theirs]
    assert shown(console, RUNS, status="nothing") == [theirs, ours]
    assert shown(console, RUNS, q="SITE") == [ours]
    assert shown(console, RUNS, q=" docs_ ") == [theirs]
    assert shown(console, RUNS, q="_s") == shown(console, RUNS, q="%s") == []
    assert shown(console, RUNS, q="docs", namespace=namespace.pk) == []


@pytest.mark.parametrize("path", [RUNS, DOCUMENTS])
@pytest.mark.parametrize("value", ["x", "9" * 40, "²", "-1", "1\0", "999999"])
def test_a_namespace_that_is_not_there_holds_nothing(console, namespace, path, value):
    ingestion(namespace)
    document(namespace)
    assert shown(console, path, namespace=value) == []


@pytest.mark.parametrize("path", [RUNS, DOCUMENTS])
@pytest.mark.parametrize("query", ["a\0b", SCRIPT, "x" * 5000, "\\", "☃", "%s", "{sql}"])
def test_no_query_breaks_a_list(console, namespace, path, query):
    ingestion(namespace)
    document(namespace)
    assert SCRIPT not in text_of(console, path, q=query)


def test_no_other_condition_can_be_put_into_the_address(console):
    assert console.get(RUNS, {"error__icontains": "a"}).status_code == 400
    assert console.get(DOCUMENTS, {"path__regex": "(a+)+$"}).status_code == 400


def test_an_empty_list_says_why(console, namespace):
    assert "No folder has been read yet." in text_of(console, RUNS)
    assert "No run is like this." in text_of(console, RUNS, status="failed")
    assert "There is no document yet." in text_of(console, DOCUMENTS)
    assert "No document is like this." in text_of(console, DOCUMENTS, repo_id="nothing")
    assert "Searched were the newest" in text_of(console, DOCUMENTS, q="nothing")


# One run's page


def test_an_open_run_says_how_far_it_is_and_asks_again(console, namespace):
    row = at_work(namespace)
    progress = page_of(row, "progress")
    for path in (page_of(row), progress):
        text = text_of(console, path)
        assert f'hx-get="{progress}"' in text
        assert all(words in text for words in ("412 of 897", "41.2 documents a second", "about 12 s left", "45%"))
    assert "<html" not in text


def test_what_is_asked_for_follows_the_run_and_stops_with_it(console, namespace):
    row = at_work(namespace)
    progress = page_of(row, "progress")
    Ingestion.objects.filter(pk=row.pk).update(documents_done=700)
    assert "700 of 897" in text_of(console, progress)
    Ingestion.objects.filter(pk=row.pk).update(documents_done=897, status="completed", finished_at=timezone.now())
    text = text_of(console, progress)
    assert "897 of 897" in text
    assert "took" in text
    assert "/progress/" not in text
    row.delete()
    assert console.get(progress).status_code == 286


def test_a_run_that_waits_and_one_that_reads_and_one_that_is_silent_say_so(console, namespace):
    assert "waiting for a worker to begin" in text_of(console, page_of(ingestion(namespace, "a", "pending")))
    reading = at_work(namespace, repo_id="b", documents_total=None, documents_done=0)
    assert "reading the folder" in text_of(console, page_of(reading))
    silent = at_work(namespace, 600, repo_id="c", heard_of_at=timezone.now() - timedelta(minutes=5))
    assert "has gone silent" in text_of(console, page_of(silent))
    assert "attempt 3" in text_of(console, page_of(at_work(namespace, repo_id="d", tries=3)))


def test_a_failed_run_shows_its_error_and_the_files_it_skipped(console, namespace):
    skipped = [{"path": f"data/{SCRIPT}.py", "reason": "It is binary."}] * 100
    row = at_work(namespace, status="failed", error=f"Gone: {SCRIPT}", skipped=skipped, documents_skipped=105)
    text = text_of(console, page_of(row))
    assert text.count("It is binary.") == 100
    assert "Gone: &lt;script&gt;" in text
    assert SCRIPT not in text
    assert "Only the first 100 are kept." in text
    assert "<dd>105</dd>" in text
    assert "/progress/" not in text


def test_a_real_run_is_shown_to_its_end(console, namespace, tmp_path):
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_bytes(b"\0")
    row = ingestion(namespace, status="pending", path=str(tmp_path), within_roots=False)
    for _ in run(row):
        pass
    text = text_of(console, page_of(row))
    assert "2 of 2" in text
    assert "It is binary." in text
    assert text.count("<dd>1</dd>") == 3  # new, its chunk, skipped
    assert "are kept." not in text
    (found,) = shown(console, f"{DOCUMENTS}?namespace={namespace.pk}&repo_id=site")
    assert f"{DOCUMENTS}?namespace={namespace.pk}&amp;repo_id=site" in text
    assert found.path == "a.py"


def test_the_page_and_what_it_asks_for_take_a_constant_number_of_statements(
    console, namespace, django_assert_num_queries
):
    rows = [at_work(namespace), at_work(namespace, repo_id="b", skipped=[{"path": "a", "reason": "b"}] * 90)]
    for row in rows:
        for path in (page_of(row), page_of(row, "progress")):
            with django_assert_num_queries(3):  # session, user, the row
                console.get(path)


def test_nothing_is_made_or_changed_by_hand(console, namespace):
    row, other = ingestion(namespace), document(namespace)
    for path in (RUNS, DOCUMENTS):
        assert console.get(path + "add/").status_code == 403
        assert console.post(path + "add/", {"repo_id": "x"}).status_code == 403
    assert console.post(page_of(row), {"status": "pending"}).status_code == 403
    assert console.post(page_of(other), {"path": "b.py"}).status_code == 403


def test_a_deleted_run_leaves_documents_and_memories(console, namespace):
    row = ingestion(namespace)
    document(namespace)
    path = page_of(row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"ingestions": 1}
    assert "The documents and memories that it brought stay" in response.content.decode()
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert not Ingestion.objects.exists()
    assert Document.objects.count() == Memory.objects.count() == 1


def test_several_runs_are_deleted_at_once(console, namespace):
    rows = [ingestion(namespace) for _ in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    assert "stay" in console.post(RUNS, chosen).content.decode()
    assert console.post(RUNS, chosen | {"post": "yes"}).status_code == 302
    assert Ingestion.objects.get() == rows[0]


# Running again


@pytest.fixture
def rings(monkeypatch) -> list[bool]:
    """One entry for each time a worker was to be woken."""
    heard: list[bool] = []
    monkeypatch.setattr(pages.bell, "ring", lambda: heard.append(True))
    return heard


@pytest.fixture(autouse=True)
def roots(settings):
    settings.INGESTION_ROOTS = ["/srv"]


@pytest.mark.parametrize("within_roots", [True, False])
def test_running_again_asks_first_and_makes_a_new_run_of_the_same_folder(console, namespace, rings, within_roots):
    row = ingestion(namespace, status="failed", error="gone", documents_done=5, within_roots=within_roots)
    path = page_of(row, "run_again")
    assert path in text_of(console, page_of(row))
    assert "Read this folder again?" in text_of(console, path)
    assert (Ingestion.objects.count(), rings) == (1, [])
    response = console.post(path, SENT)
    again = Ingestion.objects.exclude(pk=row.pk).get()
    same = ("namespace", "repo_id", "path", "suffixes", "within_roots")
    assert [getattr(again, name) for name in same] == [getattr(row, name) for name in same]
    assert (again.status, again.error, again.documents_done) == ("pending", "", 0)
    assert response["HX-Redirect"] == page_of(again)
    assert rings == [True]
    assert LogEntry.objects.get().object_id == str(again.pk)
    assert "A worker was asked" in text_of(console, page_of(again))


def test_the_console_can_be_checked_before_there_is_a_database(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert admin.site._registry[Ingestion].check() == []


def test_while_another_run_of_the_repository_is_open_none_begins(console, namespace, elsewhere, rings):
    row = ingestion(namespace)
    at_work(elsewhere)
    at_work(namespace)
    response = console.post(page_of(row, "run_again"), SENT)
    assert response["HX-Redirect"] == page_of(row)
    assert Ingestion.objects.count() == 3
    assert rings == []
    assert not LogEntry.objects.exists()
    assert "another run of this repository is open" in text_of(console, page_of(row))


def test_a_folder_outside_the_roots_is_read_again_only_when_the_command_line_asked_for_it(
    console, namespace, rings, settings
):
    settings.INGESTION_ROOTS = ["/elsewhere"]
    ours, theirs = ingestion(namespace, "ours", within_roots=False), ingestion(namespace, "theirs")
    assert console.post(page_of(theirs, "run_again"), SENT)["HX-Redirect"] == page_of(theirs)
    assert "Nothing was begun. The folder lies outside INGESTION_ROOTS." in text_of(console, page_of(theirs))
    assert (Ingestion.objects.count(), rings) == (2, [])
    console.post(page_of(ours, "run_again"), SENT)
    assert (Ingestion.objects.filter(repo_id="ours", within_roots=False).count(), rings) == (2, [True])


def test_a_run_that_was_deleted_meanwhile_is_not_run_again(console, namespace, rings):
    row = ingestion(namespace)
    path = page_of(row, "run_again")
    row.delete()
    assert console.post(path, SENT)["HX-Redirect"] == RUNS
    assert "this run has been deleted" in text_of(console, RUNS)
    assert rings == []


# Documents


def test_documents_are_listed_newest_first_with_size_and_chunks(console, namespace, elsewhere):
    first = document(namespace, "a.py", "one", "two", "three")
    posted = Document.objects.create(namespace=elsewhere, title=f"Hours {SCRIPT}", digest=b"1", size=10)
    assert shown(console, DOCUMENTS) == [posted, first]
    text = text_of(console, DOCUMENTS)
    assert "14.2\xa0KB" in text
    assert '<td class="field-chunks' in text
    assert "Hours &lt;script&gt;" in text
    assert SCRIPT not in text


def test_the_list_of_documents_takes_the_same_statements_for_one_and_for_many(
    console, namespace, django_assert_num_queries
):
    document(namespace)
    with django_assert_num_queries(LIST_STATEMENTS):
        shown(console, DOCUMENTS)
    for number in range(60):
        document(Namespace.objects.create(name=f"n{number}"))
    for parameters in ({}, {"q": "models"}):
        with django_assert_num_queries(LIST_STATEMENTS):
            assert len(shown(console, DOCUMENTS, **parameters)) == 50


def test_documents_are_narrowed_by_namespace_and_the_whole_name_of_a_repository(console, namespace, elsewhere):
    ours, theirs = document(namespace), document(elsewhere, repo_id="site-docs")
    assert shown(console, DOCUMENTS, namespace=namespace.pk) == [ours]
    assert shown(console, DOCUMENTS, repo_id="site") == [ours]
    assert shown(console, DOCUMENTS, repo_id="site-docs") == [theirs]
    assert shown(console, DOCUMENTS, repo_id="si") == shown(console, DOCUMENTS, repo_id="a\0") == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("app/", ["app/b_c.py", "app/a.py"]), ("A.PY", ["app/a.py"]), ("b_c", ["app/b_c.py"]), ("p_a", []), ("%", [])],
)
def test_a_document_is_found_by_a_part_of_its_path(console, namespace, typed, expected):
    for path in ("app/a.py", "app/b_c.py", "x.md"):
        document(namespace, path)
    assert [each.path for each in shown(console, DOCUMENTS, q=typed)] == expected


def test_a_search_looks_only_at_the_newest_documents_that_the_filters_leave(console, namespace, elsewhere, monkeypatch):
    monkeypatch.setattr(pages, "SEARCHED", 2)
    old, *rest = [document(namespace, f"app/{name}.py") for name in "abc"]
    assert shown(console, DOCUMENTS, q="app") == rest[::-1]
    theirs = document(elsewhere, "app/d.py")
    assert shown(console, DOCUMENTS, q="app") == [theirs, rest[1]]
    assert shown(console, DOCUMENTS, q="app", namespace=namespace.pk) == rest[::-1]
    assert old not in shown(console, DOCUMENTS, q="app/a")


def test_the_page_shows_the_chunks_in_order_with_their_lines(console, namespace):
    row = document(namespace, "a.py", "a = 1\nb = 2", *[f"c = {number}" for number in range(11)])
    response = console.get(page_of(row))
    blocks = response.context["blocks"]
    assert [block["position"] for block in blocks] == list(range(12))
    assert (blocks[0]["lines"], blocks[0]["place"], blocks[0]["before"]) == (["a = 1", "b = 2"], "lines 1–9", 0)
    assert (blocks[2]["place"], blocks[2]["before"]) == ("lines 21–29", 20)
    text = response.content.decode()
    assert "counter-reset: line 20" in text
    for memory in Memory.objects.all():
        assert reverse("admin:memories_memory_change", args=[memory.pk]) in text


def test_text_is_escaped_and_long_chunks_are_folded(console, namespace):
    row = document(namespace, "a.py", f"x = '{SCRIPT}'", "line\n" * 30, "y" * 30_000)
    blocks = console.get(page_of(row)).context["blocks"]
    assert [bool(block["beginning"]) for block in blocks] == [False, True, True]
    assert len(blocks[1]["beginning"]) == 10
    assert len(blocks[2]["beginning"][0]) == 1000
    text = text_of(console, page_of(row))
    assert text.count("<details") == 2
    assert "&lt;script&gt;alert(1)" in text
    assert SCRIPT not in text


def test_each_chunk_says_whether_its_vector_is_there(console, namespace):
    row = document(namespace)
    assert console.get(page_of(row)).context["blocks"][0]["vector"] == "not yet"
    embed_due()
    assert console.get(page_of(row)).context["blocks"][0]["vector"] == "yes"


@pytest.mark.parametrize("metadata", [{}, {"position": "x", "start_line": "1", "end_line": None}, {"start_line": {}}])
def test_metadata_that_callers_changed_do_not_break_the_page(console, namespace, metadata):
    row = document(namespace)
    Memory.objects.update(metadata=metadata)
    (block,) = console.get(page_of(row)).context["blocks"]
    assert (block["place"], block["before"]) == (None, 0)


def test_chunks_come_in_pages(console, namespace):
    row = document(namespace, "a.py", *[f"c = {number}" for number in range(60)])
    assert len(console.get(page_of(row)).context["blocks"]) == 50
    for number in ("2", "99"):
        blocks = console.get(page_of(row), {"page": number}).context["blocks"]
        assert [block["position"] for block in blocks] == list(range(50, 60))
    assert "51–60 of 60" in text_of(console, page_of(row), page=2)


def test_a_documents_page_takes_a_constant_number_of_statements(console, namespace, django_assert_num_queries):
    for row in (document(namespace), document(namespace, "b.py", *[f"c = {number}" for number in range(45)])):
        with django_assert_num_queries(5):  # session, user, the row, count, chunks
            console.get(page_of(row))


def test_a_document_without_chunks_says_so(console, namespace):
    row = Document.objects.create(namespace=namespace, title="empty", digest=b"1", size=0)
    assert "This document has no chunk" in text_of(console, page_of(row))


def test_deleting_a_document_says_how_much_goes_and_lets_it_go(console, namespace):
    row, other = document(namespace, "a.py", "one", "two", "three"), document(namespace, "b.py")
    embed_due()
    path = page_of(row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"documents": 1, "chunks": 3, "vectors": 3}
    assert "goes with all of its chunks" in response.content.decode()
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert Document.objects.get() == other
    assert Memory.objects.get().document_id == other.pk
    assert Embedding.objects.count() == 1


def test_several_documents_are_deleted_after_exact_counts_were_shown(console, namespace):
    rows = [document(namespace, f"{number}.py", *["a", "b", "c"][: number + 1]) for number in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    response = console.post(DOCUMENTS, chosen)
    assert dict(response.context["model_count"]) == {"documents": 2, "chunks": 5, "vectors": 0}
    assert console.post(DOCUMENTS, chosen | {"post": "yes"}).status_code == 302
    assert Document.objects.get() == rows[0]
    assert Memory.objects.count() == 1


def test_lists_read_neither_skipped_files_nor_metadata(console, namespace):
    ingestion(namespace)
    document(namespace)
    for path, column in ((RUNS, '"skipped"'), (DOCUMENTS, '"metadata"')):
        with CaptureQueriesContext(connection) as statements:
            shown(console, path)
        assert column not in statements[-1]["sql"]


# Who may see it


def test_who_has_no_permission_sees_nothing(client, namespace, django_user_model):
    row, other = ingestion(namespace), document(namespace)
    client = clerk_of(client, django_user_model)
    for path in (RUNS, page_of(row), page_of(row, "progress"), page_of(row, "run_again"), DOCUMENTS, page_of(other)):
        assert client.get(path).status_code == 403, path
    text = text_of(client, "/admin/")
    assert RUNS not in text
    assert DOCUMENTS not in text


def test_who_is_no_longer_logged_in_is_refused_and_not_sent_elsewhere(client, namespace):
    assert client.get(page_of(at_work(namespace), "progress")).status_code == 403


def test_who_may_only_look_can_change_nothing(client, namespace, django_user_model, rings):
    row, other = ingestion(namespace), document(namespace, "a.py", "a secret")
    client = clerk_of(client, django_user_model, "view_ingestion", "view_document")
    assert "Run again" not in text_of(client, page_of(row))
    assert client.post(page_of(row, "run_again"), SENT).status_code == 403
    for each in (row, other):
        assert client.post(page_of(each, "delete"), {"post": "yes"}).status_code == 403
    assert Ingestion.objects.count() == Document.objects.count() == 1
    assert rings == []


def test_chunks_are_shown_to_those_who_may_see_memories(client, namespace, django_user_model):
    row = document(namespace, "a.py", "a secret")
    client = clerk_of(client, django_user_model, "view_document")
    text = text_of(client, page_of(row))
    assert "You may not see memories" in text
    assert "a secret" not in text
    django_user_model.objects.get().user_permissions.add(Permission.objects.get(codename="view_memory"))
    assert "a secret" in text_of(client, page_of(row))


def test_who_may_delete_no_memory_may_delete_no_document_that_has_some(client, namespace, django_user_model):
    row = document(namespace)
    client = clerk_of(client, django_user_model, "view_document", "delete_document")
    assert client.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert Memory.objects.exists()
    django_user_model.objects.get().user_permissions.add(Permission.objects.get(codename="delete_memory"))
    assert client.post(page_of(row, "delete"), {"post": "yes"}).status_code == 302
    assert not Memory.objects.exists()


def test_who_may_add_runs_may_run_one_again(client, namespace, django_user_model, rings):
    row = ingestion(namespace)
    client = clerk_of(client, django_user_model, "view_ingestion", "add_ingestion")
    assert "Run again" in text_of(client, page_of(row))
    assert client.post(page_of(row, "run_again"), SENT).status_code == 200
    assert rings == [True]
