"""The job that exports a selection: a file in parts, which can be imported again or read by a spreadsheet."""

import csv
import io
import json

import pytest
from django.core.management import call_command

from memories.jobs import files, tasks
from memories.jobs.files import stream_file
from memories.jobs.models import FILE_LIFETIME, Job, JobFile
from memories.models import Memory
from memories.tasks import embed_due
from tests.memories.jobs.conftest import make_memories, run  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


def read_file(job: Job) -> bytes:
    return b"".join(stream_file(job).streaming_content)


def test_json_lines_can_be_imported_elsewhere(namespace, elsewhere, run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(files, "MAX_PART_BYTES", 2_000)
    make_memories(namespace, 30, user_id="ada", tags=["a"], metadata={"n": 1}, importance=4)
    make_memories(namespace, 2, user_id="bob")
    job = run("export", user_id="ada")
    assert (job.done, job.failed) == (30, 0)
    assert JobFile.objects.count() > 3
    content = read_file(job)
    assert len(content) == job.result["bytes"] == int(stream_file(job)["Content-Length"])
    assert json.loads(content.splitlines()[0])["counts"] == {"memory": 30}
    (tmp_path / "x.jsonl").write_bytes(content)
    call_command("import_memories", str(tmp_path / "x.jsonl"), namespace=elsewhere.name, verbosity=0)
    columns = ("user_id", "content", "tags", "metadata", "importance", "created_at")
    there, here = (Memory.objects.filter(namespace=each, user_id="ada") for each in (elsewhere, namespace))
    assert list(there.order_by("content").values_list(*columns)) == list(here.order_by("content").values_list(*columns))


def test_chunks_of_two_documents_with_one_text_are_one_line(api, namespace, elsewhere, run, tmp_path):  # noqa: F811
    for title in ("one", "two"):
        api.post("/documents", {"content": "The same text.", "title": title, "repo_id": title})
    job = run("export")
    assert (job.done, job.failed) == (1, 1)
    (tmp_path / "x.jsonl").write_bytes(read_file(job))
    call_command("import_memories", str(tmp_path / "x.jsonl"), namespace=elsewhere.name, verbosity=0)
    assert Memory.objects.filter(namespace=elsewhere).count() == 1


def test_vectors_are_exported_on_request(api, run):  # noqa: F811
    api.add("harbour")
    embed_due()
    plain, full = (read_file(run("export", {"vectors": vectors})).splitlines()[1] for vectors in (False, True))
    assert "vectors" not in json.loads(plain)
    assert len(json.loads(full)["vectors"]) == 1


def test_a_spreadsheet_reads_rows_and_no_formulas(namespace, run):  # noqa: F811
    [memory] = make_memories(namespace, 1, tags=["a", "b"], summary="=1+1", data={"ä": [1]})
    rows = list(csv.DictReader(io.StringIO(read_file(run("export", {"format": "csv"})).decode())))
    [row] = rows
    assert (row["id"], row["tags"], row["summary"], row["data"]) == (str(memory.pk), "a, b", "'=1+1", '{"ä":[1]}')


def test_a_file_is_deleted_after_a_week(namespace, run):  # noqa: F811
    make_memories(namespace, 1)
    job = run("export")
    assert tasks.delete_old_files() == 0
    for rows, field in ((JobFile.objects, "created_at"), (Job.objects, "finished_at")):
        rows.update(**{field: job.finished_at - FILE_LIFETIME})
    job.refresh_from_db()
    assert stream_file(job) is None
    assert tasks.delete_old_files() == 2
    assert not JobFile.objects.exists()


def test_a_user_who_is_erased_is_in_no_exported_file(api, namespace, run):  # noqa: F811
    make_memories(namespace, 1, user_id="ada")
    job, other = run("export"), run("tag", {"tags": ["x"]}, user_id="ada")
    given = run("set_user", {"user_id": "ada"})
    assert api.delete("/users/bob").status_code == 404
    assert JobFile.objects.exists()
    assert api.delete("/users/ada").status_code == 200
    assert not JobFile.objects.exists()
    assert list(Job.objects.values_list("pk", flat=True)) == [job.pk]
    assert {other.pk, given.pk}.isdisjoint(Job.objects.values_list("pk", flat=True))
    assert stream_file(job) is None
