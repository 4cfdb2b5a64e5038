"""Ingestion runs: stored documents, changes, skipped files, workers and the API."""

import json
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from socket import gethostname

import pytest
from django.db import connections
from django.db.models import F

from ingestion import pipeline
from ingestion.file_discovery import SourceFile
from ingestion.models import Document, Ingestion, IngestionStatus
from ingestion.pipeline import (
    FOLDER_NOT_ON_THIS_MACHINE,
    FOLDER_OUTSIDE_ROOTS,
    MAX_PATH_BYTES,
    NO_DOCUMENTS_FOUND,
    lock_repository,
    run_ingestion,
)
from ingestion.tasks import GIVEN_UP_ERROR, MAX_INGESTION_ATTEMPTS, UNEXPECTED_ERROR, ingest_due
from memories import tasks
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.models import Lease
from sessions_app.models import Namespace
from tests.ingestion.conftest import snapshot_repository
from tests.ingestion.folders import LIST_SCRIPT, create_checkout, run_unprivileged, unlistable, write_files
from tests.wire import conforms_to_any, fingerprint_tables, is_problem, list_blamed_fields, list_operations, run_at_once

pytestmark = pytest.mark.django_db
SECTION_TEXT = "The committee met on day {} and went through the budget, the roof repairs and the summer fair. " * 30
LONG_TEXT = "\n\n".join(f"# Chapter {number}\n\n{SECTION_TEXT.format(*[number] * 30)}" for number in range(6))
FILES = {f"docs/{number}.md": f"# File {number}\n\nIt is about tea number {number}.\n" for number in range(12)}
FILES |= {"long.md": LONG_TEXT, "empty.txt": "", "code.py": "def tea():\n    return 1\n"}


def get_counts(row: Ingestion) -> tuple:
    return (
        row.status, row.documents_total, row.documents_done, row.documents_changed, row.documents_deleted, row.chunks,
    )  # fmt: skip


def load_update_times() -> dict:
    return dict(Memory.objects.values_list("pk", "updated_at"))


def load_vector_transactions() -> dict:
    """By memory; xmin is the transaction that wrote the row."""
    rows = Embedding.objects.extra(select={"written": "memories_embedding.xmin::text"})
    return {row.memory_id: row.written for row in rows}


def create_pending(namespace, folder, repo_id="site", **values) -> Ingestion:
    values = {"suffixes": [".md", ".py", ".txt"]} | values
    return Ingestion.objects.create(namespace=namespace, repo_id=repo_id, path=str(folder), **values)


# What a run does


@pytest.mark.parametrize("make", [create_checkout, write_files], ids=["with git", "without git"])
def test_a_folder_is_stored_in_chunks(namespace, site, ingest, make):
    make(site, FILES)
    row = ingest()
    assert get_counts(row) == (IngestionStatus.COMPLETED, 15, 15, 15, 0, Memory.objects.count())
    assert (row.skipped, row.error) == ([], "")
    assert row.duration_seconds > 0
    memory = Memory.objects.get(content__startswith="# File 7")
    assert (memory.memory_type, memory.repo_id, memory.source_system) == ("rag", "site", "ingestion")
    place = {"file_path": "docs/7.md", "position": 0, "start_line": 1, "end_line": 3}
    assert memory.metadata == place | {"document_id": str(memory.document_id)}
    assert Document.objects.get(path="empty.txt").chunk_count == 0
    assert Document.objects.get(path="long.md").chunk_count > 2


def test_a_second_run_changes_nothing(site, ingest):
    write_files(site, FILES)
    ingest()
    tasks.embed_due()
    before, made, documents = (
        load_update_times(),
        load_vector_transactions(),
        list(Document.objects.order_by("pk").values()),
    )
    assert get_counts(ingest()) == (IngestionStatus.COMPLETED, 15, 15, 0, 0, 0)
    assert (load_update_times(), load_vector_transactions()) == (before, made)
    assert list(Document.objects.order_by("pk").values()) == documents
    assert tasks.embed_due() == 0


def test_a_further_run_changes_only_changed_files(namespace, site, ingest):
    write_files(site, FILES)
    ingest()
    tasks.embed_due()
    before = load_update_times()
    write_files(
        site, {f"docs/{number}.md": f"Now it is coffee number {number}." for number in (1, 2, 3)} | {"new.md": "milk"}
    )
    (site / "docs/4.md").unlink()
    row = ingest()
    assert get_counts(row) == (IngestionStatus.COMPLETED, 15, 15, 4, 1, 4)
    after = load_update_times()
    assert len(before.keys() - after.keys()) == 4
    new = Memory.objects.filter(pk__in=after.keys() - before.keys())
    assert {memory.metadata["file_path"] for memory in new} == {"docs/1.md", "docs/2.md", "docs/3.md", "new.md"}
    assert all(after[pk] == before[pk] for pk in before.keys() & after.keys())
    assert tasks.embed_due() == 4
    assert snapshot_repository(namespace) == ingest_elsewhere(site, ingest)


def ingest_elsewhere(site, ingest) -> list[tuple]:
    """What one run from nothing leaves, in a namespace of its own."""
    other = Namespace.objects.create(name="undisturbed")
    ingest(site, namespace=other)
    return snapshot_repository(other)


def test_a_changed_file_keeps_the_vectors_of_its_unchanged_chunks(namespace, site, ingest):
    write_files(site, {"long.md": LONG_TEXT})
    chunks = ingest().chunks
    tasks.embed_due()
    made = load_vector_transactions()
    write_files(site, {"long.md": "A new first line.\n\n" + LONG_TEXT.replace("# Chapter 5", "# The last chapter")})
    ingest()
    same = load_vector_transactions()
    assert len(same) >= chunks - 2
    assert all(made[pk] == written for pk, written in same.items())
    assert 0 < tasks.embed_due() <= 2
    assert snapshot_repository(namespace) == ingest_elsewhere(site, ingest)


def test_a_renamed_file_has_only_its_new_path(site, ingest):
    write_files(site, {"old.md": "tea"})
    ingest()
    (site / "old.md").rename(site / "new.md")
    assert get_counts(ingest()) == (IngestionStatus.COMPLETED, 1, 1, 1, 1, 1)
    assert Memory.objects.get().metadata["file_path"] == Document.objects.get().path == "new.md"


def test_the_same_text_is_stored_for_each_file_and_repository(root, site, ingest):
    other = write_files(root / "other", {"c.md": "tea"})
    write_files(site, {"a.md": "tea", "b.md": "tea"})
    ingest()
    ingest(other, "other")
    assert Memory.objects.filter(content="tea").count() == 3
    (site / "a.md").unlink()
    ingest()
    assert {memory.metadata["file_path"] for memory in Memory.objects.all()} == {"b.md", "c.md"}
    assert set(Document.objects.values_list("repo_id", "path")) == {("site", "b.md"), ("other", "c.md")}


def test_repositories_of_one_name_in_two_namespaces_are_separate(namespace, site, ingest):
    write_files(site, {"a.md": "tea"})
    theirs = Namespace.objects.create(name="theirs")
    ingest()
    ingest(namespace=theirs)
    (site / "a.md").rename(site / "b.md")
    ingest()
    assert [row.path for row in Document.objects.filter(namespace=theirs)] == ["a.md"]


def test_a_chunk_and_a_memory_with_the_same_text_are_separate(api, site, ingest):
    memory = api.add("tea", memory_type="rag")
    write_files(site, {"a.md": "tea"})
    ingest()
    (site / "a.md").write_text("coffee")
    ingest()
    assert api.get(f"/memories/{memory['id']}").json()["content"] == "tea"
    assert Memory.objects.count() == 2


def test_deleting_a_document_deletes_its_memories(site, ingest):
    write_files(site, {"long.md": LONG_TEXT})
    ingest()
    tasks.embed_due()
    Document.objects.all().delete()
    assert Memory.objects.count() == Embedding.objects.count() == DueEmbedding.objects.count() == 0


def test_a_repeated_text_of_a_file_is_one_chunk(site, ingest):
    write_files(site, {"a.txt": "\n\n".join([("x" * 4000 + "\n") * 1] * 30)})
    row = ingest()
    assert row.chunks == Memory.objects.count() == Document.objects.get().chunk_count


# What it says


def test_skipped_files_are_reported_with_a_reason(site, ingest):
    write_files(site, {"a.md": "tea", "binary.md": b"a\0b", "latin.md": b"caf\xe9", "large.md": b"a" * (2**21 + 1)})
    write_files(site, {"f\udcff.md".encode(errors="surrogateescape").decode(errors="surrogateescape"): "tea"})
    deep = "/".join(["d" * 200] * 6)
    write_files(site, {f"{deep}/x.md": "tea"})
    (site / "link.md").symlink_to("/etc/passwd")
    row = ingest()
    assert get_counts(row) == (IngestionStatus.COMPLETED, 7, 7, 1, 0, 1)
    assert {each["path"]: each["reason"] for each in row.skipped} == {
        "binary.md": "It is binary.",
        "latin.md": "It is not UTF-8.",
        "large.md": "It is larger than 2 MB.",
        r"f\udcff.md": "Its name is not UTF-8.",
        f"{deep}/x.md": f"Its path is longer than {MAX_PATH_BYTES:,} bytes.",
        "link.md": "It is a link that leads out of the folder.",
    }


def test_documents_of_rejected_files_are_deleted_but_those_of_unreadable_files_stay(site, ingest):
    write_files(site, {"a.md": "tea", "b.md": "coffee", "c.md": "milk"})
    ingest()
    write_files(site, {"a.md": b"\0"})
    (site / "b.md").unlink()
    (site / "b.md").symlink_to("b.md")
    row = ingest()
    assert get_counts(row) == (IngestionStatus.COMPLETED, 3, 3, 0, 1, 0)
    assert [each["path"] for each in row.skipped] == ["a.md", "b.md"]
    assert set(Memory.objects.values_list("content", flat=True)) == {"coffee", "milk"}


def test_a_hundred_skipped_files_are_listed_and_all_are_counted(site, ingest):
    write_files(site, {f"{number}.md": b"\0" for number in range(105)} | {"a.md": "tea"})
    row = ingest()
    assert (row.documents_done, row.documents_changed, len(row.skipped)) == (106, 1, 100)
    assert row.documents_skipped == ingest().documents_skipped == 105


def test_skipped_files_are_counted(api, site, start):
    write_files(site, {"a.md": "tea", "b.md": b"\0", "c.md": b"\xff"})
    run = start()
    assert (run["documents_skipped"], len(run["skipped"])) == (2, 2)
    assert api.get("/ingestions").json()["results"][0]["documents_skipped"] == 2


@pytest.fixture
def without_rights(monkeypatch):
    """Return a function that makes the listing obey file permissions."""

    def listed(root: Path, *_: object) -> list[SourceFile]:
        return [SourceFile(path, root / path) for path in run_unprivileged(LIST_SCRIPT, root).split()]

    return lambda: monkeypatch.setattr(pipeline, "find_files", listed)


@pytest.mark.parametrize("mode", [0, 0o100])
@pytest.mark.parametrize("make", [create_checkout, write_files], ids=["with git", "without git"])
def test_documents_of_an_unlistable_folder_stay_and_the_folder_is_reported(site, ingest, without_rights, make, mode):
    make(site, {"a.md": "tea", "b.md": "milk", "in/c.md": "coffee", "in/deep/d.md": "cocoa", "inn/e.md": "rum"})
    write_files(site, {"in/new.md": "water"})  # which git does not know
    ingest()
    for gone in ("b.md", "inn/e.md"):
        (site / gone).unlink()
    without_rights()
    with unlistable(site / "in", mode=mode):
        row = ingest()
    assert get_counts(row) == (IngestionStatus.COMPLETED, 2, 2, 0, 2, 0)
    assert row.skipped == [{"path": "in/", "reason": "It is a folder that cannot be listed."}]
    assert set(Memory.objects.values_list("content", flat=True)) == {"tea", "coffee", "cocoa", "water"}
    assert get_counts(ingest()) == (IngestionStatus.COMPLETED, 4, 4, 0, 0, 0)


def test_a_root_with_only_an_unlistable_folder_deletes_nothing(site, ingest, without_rights):
    write_files(site, {"a.md": "tea", "in/b.md": "milk"})
    ingest()
    (site / "a.md").unlink()
    without_rights()
    with unlistable(site / "in"):
        row = ingest()
    assert (row.status, row.error, row.documents_skipped) == (IngestionStatus.FAILED, NO_DOCUMENTS_FOUND, 1)
    assert [each["path"] for each in row.skipped] == ["in/"]
    assert Document.objects.count() == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", FOLDER_NOT_ON_THIS_MACHINE.format(host=gethostname())),
        ("file.md", "This is not a folder."),
        ("empty", "The folder contains no document that can be ingested."),
    ],
)
def test_a_folder_without_documents_is_a_failed_run_that_deletes_nothing(root, site, ingest, name, reason):
    write_files(site, {"a.md": "tea"})
    ingest()
    write_files(root, {"file.md": "", "empty/x.bin": ""})
    row = ingest(root / name)
    assert (row.status, row.error, row.documents_deleted) == (IngestionStatus.FAILED, reason, 0)
    assert row.finished_at
    assert [memory.content for memory in Memory.objects.all()] == ["tea"]
    assert ingest().status == IngestionStatus.COMPLETED


# Two at once, and one that is ended in the middle


@pytest.mark.django_db(transaction=True)
def test_a_second_run_of_a_repository_is_refused_while_one_is_in_progress(namespace, site):
    write_files(site, FILES)
    first = run_ingestion(create_pending(namespace, site))
    assert next(first).status == IngestionStatus.IN_PROGRESS
    [refused] = run_at_once([lambda: run_refused(Ingestion.objects.get())])
    assert refused == "Another run of this repository is in progress."
    assert [row.status for row in first][-1] == IngestionStatus.COMPLETED
    assert Document.objects.count() == len(FILES)


def run_refused(row: Ingestion) -> str:
    try:
        for _ in run_ingestion(row):
            pass
    except AlreadyRunning as error:
        return str(error)
    return ""


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_runs_one_does_the_work(namespace, site):
    write_files(site, FILES)
    row = create_pending(namespace, site)
    messages = run_at_once([lambda: run_refused(Ingestion.objects.get(pk=row.pk))] * 4)
    assert sorted(messages) == ["", *["Another run of this repository is in progress."] * 3]
    assert get_counts(Ingestion.objects.get())[:4] == (IngestionStatus.COMPLETED, 15, 15, 15)
    assert len(snapshot_repository(namespace)) == Memory.objects.count() + 1


@pytest.mark.django_db(transaction=True)
def test_the_lock_is_released_with_its_connection(namespace, site):
    write_files(site, FILES)
    row = create_pending(namespace, site)

    def half():
        list(islice(keep := run_ingestion(row), 3))
        connections["default"].close()
        keep.close()

    run_at_once([half])
    assert run_refused(row) == ""
    assert Ingestion.objects.get().status == IngestionStatus.COMPLETED


def test_a_run_that_stood_still_writes_nothing_after_another_has_taken_over(namespace, site):
    write_files(site, FILES)
    states = run_ingestion(create_pending(namespace, site))
    list(islice(states, 3))
    documents = Document.objects.count()
    Lease.objects.update(expires_at=F("expires_at") - timedelta(hours=1))
    with lock_repository(namespace.pk, "site"):
        with pytest.raises(AlreadyRunning):
            next(states)
        assert Document.objects.count() == documents
        assert Ingestion.objects.get().status == IngestionStatus.IN_PROGRESS
        assert Lease.objects.count() == 1


@pytest.mark.parametrize("documents", [1, 7, 14])
def test_an_interrupted_run_is_repeated_with_the_same_result(namespace, site, ingest, documents):
    write_files(site, FILES | {"docs/old.md": "was here before"})
    ingest()
    (site / "docs/old.md").unlink()
    write_files(site, {path: f"{content} And more." for path, content in FILES.items()})
    row = create_pending(namespace, site)
    states = run_ingestion(row)
    list(islice(states, documents))
    states.close()
    assert Document.objects.filter(path="docs/old.md").exists()
    Ingestion.objects.filter(pk=row.pk).update(last_heartbeat_at=F("last_heartbeat_at") - timedelta(seconds=61))
    assert ingest_due() == 1
    row.refresh_from_db()
    assert get_counts(row)[:3] == (IngestionStatus.COMPLETED, 15, 15)
    assert (row.documents_changed, row.attempts, row.documents_deleted) == (15 - documents, 2, 1)
    assert snapshot_repository(namespace) == ingest_elsewhere(site, ingest)


# The worker


def test_a_worker_runs_pending_ingestions(namespace, site):
    write_files(site, FILES)
    row = create_pending(namespace, site)
    assert ingest_due() == 1
    row.refresh_from_db()
    assert (row.status, row.attempts) == (IngestionStatus.COMPLETED, 1)
    assert ingest_due() == 0


@pytest.mark.parametrize(("seconds", "done"), [(20, 0), (61, 1)])
def test_a_run_is_restarted_when_its_worker_is_silent(namespace, site, seconds, done):
    write_files(site, FILES)
    row = create_pending(namespace, site, status=IngestionStatus.IN_PROGRESS, attempts=1)
    Ingestion.objects.update(last_heartbeat_at=F("last_heartbeat_at") - timedelta(seconds=seconds))
    assert ingest_due() == done
    row.refresh_from_db()
    assert row.status == (IngestionStatus.COMPLETED if done else IngestionStatus.IN_PROGRESS)


def test_a_run_is_given_up_after_several_lost_workers(namespace, site):
    write_files(site, FILES)
    row = create_pending(namespace, site, status=IngestionStatus.IN_PROGRESS, attempts=MAX_INGESTION_ATTEMPTS)
    Ingestion.objects.update(last_heartbeat_at=F("last_heartbeat_at") - timedelta(seconds=61))
    assert ingest_due() == 0
    row.refresh_from_db()
    assert (row.status, row.error) == (IngestionStatus.FAILED, GIVEN_UP_ERROR)
    assert row.finished_at
    assert Document.objects.count() == 0


def test_an_unexpected_error_fails_the_run_and_the_next_one_is_processed(namespace, root, site, monkeypatch):
    write_files(site, {"a.md": "tea"})
    bad, good = (
        create_pending(namespace, site),
        create_pending(namespace, write_files(root / "other", {"b.md": "tea"}), "other"),
    )
    real = pipeline.find_files
    monkeypatch.setattr(pipeline, "find_files", lambda where, *rest: 1 / 0 if where == site else real(where, *rest))
    ingest_due()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.status, bad.error, good.status) == (IngestionStatus.FAILED, UNEXPECTED_ERROR, IngestionStatus.COMPLETED)


def test_a_run_finished_by_another_worker_is_not_repeated(namespace, site):
    write_files(site, {"a.md": "tea"})
    row = create_pending(namespace, site)
    Ingestion.objects.update(status=IngestionStatus.COMPLETED)
    assert run_refused(row) == "Another run of this repository is in progress."
    assert Document.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_worker_skips_a_run_in_progress(namespace, site):
    write_files(site, FILES)
    row = create_pending(namespace, site)
    with lock_repository(namespace.pk, "site"):
        assert run_at_once([ingest_due]) == [0]
    row.refresh_from_db()
    assert (row.status, row.attempts) == (IngestionStatus.PENDING, 0)


# Over the API


def test_a_started_run_is_answered_with_its_location(api, site):
    write_files(site, FILES)
    answer = api.post("/repositories/ada/site/ingestions", {"path": str(site)})
    assert answer.status_code == 202
    assert answer["Location"] == f"/api/v1/ingestions/{answer.json()['id']}"
    run = api.get(f"/ingestions/{answer.json()['id']}").json()
    assert (run["status"], run["repo_id"], run["path"]) == ("pending", "ada/site", str(site))
    assert (run["documents_total"], run["documents_per_second"], run["seconds_left"]) == (None, None, None)
    ingest_due()
    run = api.get(f"/ingestions/{answer.json()['id']}").json()
    assert (run["status"], run["documents_done"], run["documents_total"]) == ("completed", 15, 15)
    assert run["documents_per_second"] == pytest.approx(15 / run["duration_seconds"])
    assert run["seconds_left"] is None


def test_progress_is_shown_while_the_run_is_in_progress(api, namespace, site, monkeypatch):
    monkeypatch.setattr(pipeline, "PROGRESS_INTERVAL_SECONDS", -1)
    write_files(site, FILES)
    row = create_pending(namespace, site)
    states = run_ingestion(row)
    list(islice(states, 5))
    run = api.get(f"/ingestions/{row.pk}").json()
    assert (run["status"], run["documents_done"], run["documents_total"]) == ("in_progress", 5, 15)
    assert run["seconds_left"] == pytest.approx(10 / run["documents_per_second"])
    [schema] = [each.answers["200"] for each in list_operations() if str(each) == "GET /ingestions/{ingestion_id}"]
    assert conforms_to_any(run, schema)
    states.close()


def test_a_second_run_is_refused_while_one_is_open(api, site, start):
    write_files(site, FILES)
    body = {"path": str(site)}
    first = api.post("/repositories/site/ingestions", body).json()
    assert is_problem(api.post("/repositories/site/ingestions", body), 409)
    assert api.post("/repositories/other/ingestions", body).status_code == 202
    ingest_due()
    assert start()["id"] != first["id"]


@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_requests_one_is_accepted(api, site):
    write_files(site, FILES)
    call = partial(api.post, "/repositories/site/ingestions", {"path": str(site)})
    assert sorted(answer.status_code for answer in run_at_once([call] * 5)) == [202, *[409] * 4]


def test_a_path_outside_the_roots_is_refused_without_revealing_whether_it_exists(api, tmp_path, settings):
    inside, outside = tmp_path / "inside", write_files(tmp_path / "outside", {"secret/a.md": "", "file.md": ""})
    inside.mkdir()
    settings.INGESTION_ROOTS = [str(inside)]
    (inside / "out").symlink_to(outside)
    (outside / "loop").symlink_to("loop")
    (tmp_path / "inside-too").mkdir()
    there = [outside, f"{inside}/../outside/secret", inside / "out", inside / "out/secret", "../outside", "/"]
    not_there = [outside / "gone", outside / "file.md", outside / "loop", outside / ("x" * 300), f"{inside}-too"]
    before, errors = fingerprint_tables(), set()
    for path in [*there, *not_there]:
        answer = api.post("/repositories/site/ingestions", {"path": str(path)})
        assert is_problem(answer, 422)
        errors.add(json.dumps(answer.json()["errors"]))
    assert errors == {json.dumps([{"field": "path", "message": "lies outside INGESTION_ROOTS"}])}
    assert fingerprint_tables() == before


def test_a_path_inside_the_roots_that_is_not_a_folder_is_refused(api, root, site):
    write_files(root, {"file.md": ""})
    (root / "loop").symlink_to("loop")
    (root / "bytes").symlink_to(b"f\xff".decode(errors="surrogateescape"))
    write_files(root, {b"f\xff".decode(errors="surrogateescape") + "/a.md": ""})
    for path in ("gone", "file.md", "loop", "x" * 300, "bytes", "file.md/x"):
        answer = api.post("/repositories/site/ingestions", {"path": str(root / path)})
        assert is_problem(answer, 422)
        assert list_blamed_fields(answer) == {"path"}
    assert Ingestion.objects.count() == 0


def test_a_relative_path_starts_at_the_first_root(api, site):
    write_files(site, {"a.md": "tea"})
    answer = api.post("/repositories/site/ingestions", {"path": "site"})
    assert api.get(f"/ingestions/{answer.json()['id']}").json()["path"] == str(site)


def test_a_link_inside_the_roots_is_resolved_at_the_request(api, root, site):
    write_files(site, {"a.md": "tea"})
    (root / "latest").symlink_to("site")
    answer = api.post("/repositories/site/ingestions", {"path": str(root / "latest")})
    assert api.get(f"/ingestions/{answer.json()['id']}").json()["path"] == str(site)


def is_refused_as_outside(row: Ingestion) -> bool:
    row.refresh_from_db()
    return (row.status, row.error) == (IngestionStatus.FAILED, FOLDER_OUTSIDE_ROOTS)


def test_a_root_removed_before_the_run_is_not_read(api, namespace, site, settings, tmp_path):
    write_files(site, {"a.md": "tea"})
    api.post("/repositories/site/ingestions", {"path": str(site)})
    settings.INGESTION_ROOTS = [str(tmp_path / "other")]
    assert ingest_due() == 1
    assert is_refused_as_outside(Ingestion.objects.get())
    assert Document.objects.count() == 0


def test_a_restarted_run_whose_root_was_removed_deletes_nothing(namespace, site, settings, ingest):
    write_files(site, {"a.md": "tea"})
    ingest()
    row = create_pending(namespace, site, status=IngestionStatus.IN_PROGRESS)
    Ingestion.objects.update(last_heartbeat_at=F("last_heartbeat_at") - timedelta(seconds=61))
    settings.INGESTION_ROOTS = []
    ingest_due()
    assert is_refused_as_outside(row)
    assert Document.objects.count() == Memory.objects.count() == 1


def test_a_folder_replaced_by_a_link_out_of_the_roots_is_not_read(api, root, site, tmp_path_factory):
    write_files(tmp_path_factory.mktemp("outside"), {"a.md": "a secret"})
    api.post("/repositories/site/ingestions", {"path": str(site)})
    site.rmdir()
    site.symlink_to(next(tmp_path_factory.getbasetemp().glob("outside*")))
    ingest_due()
    assert is_refused_as_outside(Ingestion.objects.get())
    assert Memory.objects.count() == 0


def test_without_configured_roots_every_folder_is_refused(api, site, settings):
    settings.INGESTION_ROOTS = []
    answer = api.post("/repositories/site/ingestions", {"path": str(site)})
    assert is_problem(answer, 422)
    assert "INGESTION_ROOTS" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("suffixes", [[], ["md"], ["."], [".a b"], [".x" * 17], [""], [".md"] * 65])
def test_suffixes_must_begin_with_a_dot(api, site, suffixes):
    answer = api.post("/repositories/site/ingestions", {"path": str(site), "suffixes": suffixes})
    assert is_problem(answer, 422)
    assert Ingestion.objects.count() == 0


def test_only_files_with_the_requested_suffixes_are_ingested(api, site):
    write_files(site, {"a.md": "tea", "b.RST": "tea", "c.rst": "coffee"})
    api.post("/repositories/site/ingestions", {"path": str(site), "suffixes": [".Rst"]})
    ingest_due()
    assert set(Document.objects.values_list("path", flat=True)) == {"b.RST", "c.rst"}


def test_excluded_files_are_reported_and_their_documents_deleted(api, site, start):
    write_files(site, {"a.md": "tea", "drafts/b.md": "coffee", "drafts/c.md": "milk", "pnpm-lock.yaml": "lock: 1"})
    start()
    assert set(Document.objects.values_list("path", flat=True)) == {"a.md", "drafts/b.md", "drafts/c.md"}
    answer = api.post("/repositories/site/ingestions", {"path": str(site), "exclude": ["drafts/", "!*-lock.yaml"]})
    ingest_due()
    run = api.get(f"/ingestions/{answer.json()['id']}").json()
    assert run["exclude"] == ["drafts/", "!*-lock.yaml"]
    assert run["skipped"] == [{"path": "drafts/", "reason": "It is excluded by the pattern drafts/."}]
    assert (run["documents_changed"], run["documents_deleted"], run["documents_skipped"]) == (1, 2, 1)
    assert set(Document.objects.values_list("path", flat=True)) == {"a.md", "pnpm-lock.yaml"}


@pytest.mark.parametrize("exclude", [["#a"], [" "], [""], ["/"], ["a" * 256], ["a"] * 65, ["!"], "a", [1]])
def test_what_is_no_pattern_is_refused(api, site, exclude):
    answer = api.post("/repositories/site/ingestions", {"path": str(site), "exclude": exclude})
    assert is_problem(answer, 422)
    assert {field.partition(".")[0] for field in list_blamed_fields(answer)} == {"exclude"}
    assert Ingestion.objects.count() == 0


def test_runs_are_listed_newest_first_in_pages(api, root, site, start):
    write_files(site, {"a.md": "tea"})
    ids = [start(name)["id"] for name in ("one", "two", "one")]
    first = api.get("/ingestions?limit=2").json()
    second = api.get(f"/ingestions?limit=2&cursor={first['next']}").json()
    assert [row["id"] for row in first["results"] + second["results"]] == ids[::-1]
    assert second["next"] is None
    assert [row["id"] for row in api.get("/ingestions?repo_id=one").json()["results"]] == [ids[2], ids[0]]


def test_repositories_are_counted(api, site, start):
    assert api.get("/repositories").json()["results"] == []
    write_files(site, {"a.md": "tea", "b.md": "coffee", "long.md": LONG_TEXT})
    start("two")
    start("one")
    api.post("/documents", {"content": "milk"})
    repositories = api.get("/repositories").json()["results"]
    assert [(row["repo_id"], row["documents"]) for row in repositories] == [("one", 3), ("two", 3)]
    assert repositories[0]["chunks"] == Memory.objects.filter(repo_id="one").count()


def test_a_run_of_another_namespace_is_not_found(outsider, api, site, start):
    write_files(site, {"a.md": "tea"})
    run = start()
    assert is_problem(outsider.get(f"/ingestions/{run['id']}"), 404)
    assert outsider.get("/ingestions").json()["results"] == outsider.get("/repositories").json()["results"] == []
    assert outsider.post("/repositories/site/ingestions", {"path": str(site)}).status_code == 202
