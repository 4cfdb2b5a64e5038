"""`manage.py ingest`: output, exit status and interruption."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from ingestion.management.commands.ingest import STOPPED_ERROR, TAKEN_OVER_ERROR
from ingestion.models import Document, Ingestion, IngestionStatus
from ingestion.pipeline import lock_repository
from ingestion.tasks import ingest_due
from memories.models import Memory
from memories.tasks import embed_due
from sessions_app.models import Namespace
from tests.ingestion.conftest import snapshot_repository
from tests.ingestion.folders import write_files
from tests.stack.stack import MANAGE, build_environment
from tests.wire import is_lock_awaited, run_at_once

pytestmark = pytest.mark.django_db
NAMESPACE_OPTION = ("--namespace", "ours")
FILES = {f"{number:02}.md": f"# File {number}\n\nIt is about tea number {number}.\n" for number in range(20)}


def run_ingest(capsys, *words: object) -> tuple[str, str]:
    """What the command says on stdout and on stderr."""
    call_command("ingest", *map(str, words), *NAMESPACE_OPTION)
    return capsys.readouterr()


def show_due(chunks: int) -> str:
    return f"Chunks without a vector: {chunks}. The worker embeds them; `embedding_status` shows the progress.\n"


def run_refused_command(*words: object, here=NAMESPACE_OPTION) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        call_command("ingest", *map(str, words), *here)
    return caught.value.returncode, str(caught.value)


def test_the_command_prints_a_summary(capsys, namespace, site):
    write_files(site, FILES | {"binary.md": b"\0", "x.rst": "tea"})
    out, err = run_ingest(capsys, site, "--repo-id", "house")
    assert out == "21 documents: 20 new or changed (20 chunks), 0 unchanged, 0 deleted, 1 skipped.\n" + show_due(20)
    assert err.splitlines()[0].startswith("21 of 21 documents are done, in ")
    assert err.splitlines()[1:] == ["binary.md: It is binary."]
    assert set(Memory.objects.values_list("repo_id", "namespace__name")) == {("house", "ours")}


def test_a_second_run_finds_everything_unchanged(capsys, namespace, site):
    write_files(site, FILES)
    run_ingest(capsys, site)
    (site / "00.md").unlink()
    write_files(site, {"01.md": "coffee", "new.md": "milk"})
    out, _ = run_ingest(capsys, site)
    assert out == "20 documents: 2 new or changed (2 chunks), 18 unchanged, 1 deleted, 0 skipped.\n" + show_due(20)
    embed_due()
    out, _ = run_ingest(capsys, site)
    assert out == "20 documents: 0 new or changed (0 chunks), 20 unchanged, 0 deleted, 0 skipped.\n"


def test_excluded_files_are_reported(capsys, namespace, site):
    write_files(site, {"a.md": "tea", "drafts/b.md": "coffee", "uv-lock.yaml": "x"})
    out, err = run_ingest(capsys, site, "--exclude", "drafts/")
    assert out == "3 documents: 1 new or changed (1 chunks), 0 unchanged, 0 deleted, 2 skipped.\n" + show_due(1)
    assert err.splitlines()[1:] == [
        "drafts/: It is excluded by the pattern drafts/.",
        "uv-lock.yaml: It is excluded by the pattern *-lock.yaml.",
    ]
    assert run_refused_command(site, "--exclude", "#x")[0] == 2


def test_more_than_a_hundred_skipped_files_are_counted_right(capsys, namespace, site):
    write_files(site, {f"{number}.md": b"\0" for number in range(105)} | {"a.md": "tea"})
    out, err = run_ingest(capsys, site)
    assert out == "106 documents: 1 new or changed (1 chunks), 0 unchanged, 0 deleted, 105 skipped.\n" + show_due(1)
    assert err.count("It is binary.") == 100


def test_control_characters_of_a_file_name_are_escaped(capsys, namespace, site):
    write_files(site, {"\x1b[2J\n.md": b"\0", "a.md": ""})
    _, err = run_ingest(capsys, site)
    assert r"'\x1b[2J\n.md': It is binary." in err.splitlines()
    assert "\x1b" not in err


def test_the_repository_is_named_after_the_folder(capsys, namespace, site):
    write_files(site, {"a.md": "tea", "b.rst": "coffee"})
    run_ingest(capsys, site, "--suffix", ".rst")
    assert [(row.repo_id, row.path) for row in Document.objects.all()] == [("site", "b.rst")]
    assert Ingestion.objects.get().path == str(site)


def test_the_command_may_read_folders_outside_the_roots(capsys, namespace, site, settings):
    settings.INGESTION_ROOTS = []
    write_files(site, {"a.md": "tea"})
    assert "1 new or changed" in run_ingest(capsys, site)[0]


def test_a_worker_that_restarts_a_run_of_the_command_may_read_outside_the_roots(capsys, namespace, site, settings):
    settings.INGESTION_ROOTS = []
    write_files(site, {"a.md": "tea"})
    run_ingest(capsys, site)
    write_files(site, {"a.md": "coffee"})
    Ingestion.objects.update(status=IngestionStatus.PENDING)
    assert ingest_due() == 1
    assert Memory.objects.get().content == "coffee"


def test_a_missing_folder_ends_with_exit_status_1(namespace, root, site):
    write_files(root, {"file.md": ""})
    assert run_refused_command(root / "gone") == (1, "There is no such folder.")
    assert run_refused_command(root / "file.md") == (1, "This is not a folder.")
    assert run_refused_command(site) == (1, "The folder contains no document that can be ingested.")
    assert run_refused_command(root / ("x" * 200) / ("y" * 300), "--repo-id", "x")[0] == 1
    assert Ingestion.objects.open().count() == Memory.objects.count() == 0


def test_invalid_arguments_end_with_exit_status_2_and_change_nothing(namespace, root, site):
    write_files(site, {"a.md": "tea"})
    code, message = run_refused_command(site, here=("--namespace", "nobody's"))
    assert (code, message.startswith("There is no namespace")) == (2, True)
    strange = root / os.fsdecode(b"f\xff")
    write_files(strange, {"a.md": "tea"})
    wrong = [
        (site, "--repo-id", "x" * 256),
        (site, "--repo-id", ""),
        (site, "--suffix", "md"),
        (site, "--suffix", "." + "x" * 40),
        ("/",),
        (strange, "--repo-id", "x"),
    ]
    for words in wrong:
        code, message = run_refused_command(*words)
        assert (code, message.count("\n")) == (2, 0)
    assert Ingestion.objects.count() == Memory.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_run_in_progress_ends_the_command_with_exit_status_1(namespace, site):
    write_files(site, FILES)
    with lock_repository(namespace.pk, "site"):
        [result] = run_at_once([partial(run_refused_command, site)])
    assert result == (1, "Another run of this repository is in progress.")
    assert Ingestion.objects.count() == Document.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_simultaneous_commands_succeed_or_report_the_other_run(namespace, site):
    write_files(site, FILES)

    def ended() -> str:
        try:
            call_command("ingest", str(site), *NAMESPACE_OPTION)
        except CommandError as error:
            return str(error)
        return ""

    messages = run_at_once([ended] * 5)
    assert set(messages) <= {"", "Another run of this repository is in progress."}
    assert "" in messages
    assert Ingestion.objects.open().count() == 0
    assert Document.objects.count() == 20


def test_an_abandoned_run_is_replaced(capsys, namespace, site):
    write_files(site, FILES)
    left = Ingestion.objects.create(
        namespace=namespace, repo_id="site", path=str(site), status=IngestionStatus.IN_PROGRESS
    )
    assert "20 new or changed" in run_ingest(capsys, site)[0]
    left.refresh_from_db()
    assert (left.status, left.error) == (IngestionStatus.FAILED, TAKEN_OVER_ERROR)
    assert left.finished_at


@contextmanager
def start_command(site, namespace: str) -> Iterator[subprocess.Popen]:
    """Run the command in another process on the test database, until the end of the block."""
    ours = connection.settings_dict
    place = f"host={quote(ours['HOST'], safe='')}&port={ours['PORT']}"
    address = f"postgresql://{ours['USER']}:{quote(ours['PASSWORD'])}@/{ours['NAME']}?{place}"
    env = build_environment(
        DATABASE_URL=address, REDIS_URL="redis://127.0.0.1:1", SECRET_KEY="ingested" * 8, EMBEDDER="hashing"
    )
    argv = [sys.executable, str(MANAGE), "ingest", str(site), "--namespace", namespace]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, env=env, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_lock_awaited() -> None:
    for _ in range(2400):
        if is_lock_awaited():
            return
        time.sleep(0.05)
    raise AssertionError("no process waits for a lock")


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_command_can_be_continued(namespace, site):
    """The tenth document is locked, so that the command is interrupted in the middle."""
    write_files(site, FILES)
    held = Document.objects.create(namespace=namespace, repo_id="site", path="10.md", digest=b"", size=0)
    with start_command(site, "ours") as cut, transaction.atomic():
        Document.objects.select_for_update().get(pk=held.pk)
        wait_until_lock_awaited()
        cut.send_signal(signal.SIGINT)
        out, err = cut.communicate(timeout=120)
    assert (cut.returncode, out) == (130, "")
    assert err == "CommandError: Stopped: 10 of 20 documents are done. Run it again to continue.\n"
    assert Document.objects.count() == 11
    row = Ingestion.objects.get()
    assert (row.status, row.error) == (IngestionStatus.FAILED, STOPPED_ERROR)
    assert ingest_due() == 0

    with start_command(site, "ours") as again:
        out, err = again.communicate(timeout=120)
    assert (again.returncode, out) == (
        0,
        "20 documents: 10 new or changed (10 chunks), 10 unchanged, 0 deleted, 0 skipped.\n" + show_due(20),
    )
    undisturbed = Namespace.objects.create(name="undisturbed")
    call_command("ingest", str(site), "--namespace", "undisturbed")
    assert snapshot_repository(namespace) == snapshot_repository(undisturbed)


@pytest.mark.django_db(transaction=True)
def test_a_run_of_another_process_is_reported_in_one_sentence(namespace, site):
    write_files(site, FILES)
    with lock_repository(namespace.pk, "site"), start_command(site, "ours") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert err == "CommandError: Another run of this repository is in progress.\n"
