"""`manage.py ingest`: what it says, how it ends, and that it may be interrupted and run again."""

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
from sessions_app.models import Namespace
from tests.ingestion.conftest import snapshot_repository
from tests.ingestion.folders import write_files
from tests.stack.stack import MANAGE, build_environment
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db
NAMESPACE_OPTION = ("--namespace", "ours")
FILES = {f"{number:02}.md": f"# File {number}\n\nIt is about tea number {number}.\n" for number in range(20)}


def run_ingest(capsys, *words: object) -> tuple[str, str]:
    """What the command says on stdout and on stderr."""
    call_command("ingest", *map(str, words), *NAMESPACE_OPTION)
    return capsys.readouterr()


def run_refused_command(*words: object, here=NAMESPACE_OPTION) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        call_command("ingest", *map(str, words), *here)
    return caught.value.returncode, str(caught.value)


def test_it_says_what_it_did(capsys, namespace, site):
    write_files(site, FILES | {"binary.md": b"\0", "x.rst": "tea"})
    out, err = run_ingest(capsys, site, "--repo-id", "house")
    assert out == "21 documents: 20 new or changed (20 chunks), 0 unchanged, 0 deleted, 1 skipped.\n"
    assert err.splitlines()[0].startswith("21 of 21 documents are done, in ")
    assert err.splitlines()[1:] == ["binary.md: It is binary."]
    assert set(Memory.objects.values_list("repo_id", "namespace__name")) == {("house", "ours")}


def test_a_second_run_finds_everything_unchanged(capsys, namespace, site):
    write_files(site, FILES)
    run_ingest(capsys, site)
    (site / "00.md").unlink()
    write_files(site, {"01.md": "coffee", "new.md": "milk"})
    out, _ = run_ingest(capsys, site)
    assert out == "20 documents: 2 new or changed (2 chunks), 18 unchanged, 1 deleted, 0 skipped.\n"
    out, _ = run_ingest(capsys, site)
    assert out == "20 documents: 0 new or changed (0 chunks), 20 unchanged, 0 deleted, 0 skipped.\n"


def test_more_than_a_hundred_skipped_files_are_counted_right(capsys, namespace, site):
    write_files(site, {f"{number}.md": b"\0" for number in range(105)} | {"a.md": "tea"})
    out, err = run_ingest(capsys, site)
    assert out == "106 documents: 1 new or changed (1 chunks), 0 unchanged, 0 deleted, 105 skipped.\n"
    assert err.count("It is binary.") == 100


def test_a_name_cannot_speak_to_the_terminal(capsys, namespace, site):
    write_files(site, {"\x1b[2J\n.md": b"\0", "a.md": ""})
    _, err = run_ingest(capsys, site)
    assert r"'\x1b[2J\n.md': It is binary." in err.splitlines()
    assert "\x1b" not in err


def test_the_repository_is_named_after_the_folder(capsys, namespace, site):
    write_files(site, {"a.md": "tea", "b.rst": "coffee"})
    run_ingest(capsys, site, "--suffix", ".rst")
    assert [(row.repo_id, row.path) for row in Document.objects.all()] == [("site", "b.rst")]
    assert Ingestion.objects.get().path == str(site)


def test_no_roots_bind_whoever_has_the_command_line(capsys, namespace, site, settings):
    settings.INGESTION_ROOTS = []
    write_files(site, {"a.md": "tea"})
    assert "1 new or changed" in run_ingest(capsys, site)[0]


def test_a_worker_that_takes_up_what_the_command_line_began_is_bound_by_no_roots(capsys, namespace, site, settings):
    settings.INGESTION_ROOTS = []
    write_files(site, {"a.md": "tea"})
    run_ingest(capsys, site)
    write_files(site, {"a.md": "coffee"})
    Ingestion.objects.update(status=IngestionStatus.PENDING)
    assert ingest_due() == 1
    assert Memory.objects.get().content == "coffee"


def test_a_folder_that_is_none_ends_with_1_and_says_so(namespace, root, site):
    write_files(root, {"file.md": ""})
    assert run_refused_command(root / "gone") == (1, "There is no such folder.")
    assert run_refused_command(root / "file.md") == (1, "This is not a folder.")
    assert run_refused_command(site) == (1, "There is no document in this folder that could be taken.")
    assert run_refused_command(root / ("x" * 200) / ("y" * 300), "--repo-id", "x")[0] == 1
    assert Ingestion.objects.open().count() == Memory.objects.count() == 0


def test_wrong_words_end_with_2_and_change_nothing(namespace, root, site):
    write_files(site, {"a.md": "tea"})
    code, told = run_refused_command(site, here=("--namespace", "nobody's"))
    assert (code, told.startswith("There is no namespace")) == (2, True)
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
        code, told = run_refused_command(*words)
        assert (code, told.count("\n")) == (2, 0)
    assert Ingestion.objects.count() == Memory.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_while_another_is_at_work_it_ends_with_1_and_one_sentence(namespace, site):
    write_files(site, FILES)
    with lock_repository(namespace.pk, "site"):
        [told] = run_at_once([partial(run_refused_command, site)])
    assert told == (1, "Another run of this repository is at work.")
    assert Ingestion.objects.count() == Document.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_commands_that_start_together_end_well_or_with_one_sentence(namespace, site):
    write_files(site, FILES)

    def ended() -> str:
        try:
            call_command("ingest", str(site), *NAMESPACE_OPTION)
        except CommandError as error:
            return str(error)
        return ""

    told = run_at_once([ended] * 5)
    assert set(told) <= {"", "Another run of this repository is at work."}
    assert "" in told
    assert Ingestion.objects.open().count() == 0
    assert Document.objects.count() == 20


def test_a_run_that_was_left_open_makes_way(capsys, namespace, site):
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
    """The command in a process of its own, on the database of the tests; ended with the block."""
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
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits for a lock")


@pytest.mark.django_db(transaction=True)
def test_what_was_interrupted_goes_on_when_it_is_run_again(namespace, site):
    """The tenth document is held, so that the command is surely in its middle."""
    write_files(site, FILES)
    held = Document.objects.create(namespace=namespace, repo_id="site", path="10.md", digest=b"", size=0)
    with start_command(site, "ours") as cut, transaction.atomic():
        Document.objects.select_for_update().get(pk=held.pk)
        wait_until_lock_awaited()
        cut.send_signal(signal.SIGINT)
        out, err = cut.communicate(timeout=20)
    assert (cut.returncode, out) == (130, "")
    assert err == "CommandError: Stopped: 10 of 20 documents are done. Run it again to continue.\n"
    assert Document.objects.count() == 11
    row = Ingestion.objects.get()
    assert (row.status, row.error) == (IngestionStatus.FAILED, STOPPED_ERROR)
    assert ingest_due() == 0

    with start_command(site, "ours") as again:
        out, err = again.communicate(timeout=30)
    assert (again.returncode, out) == (
        0,
        "20 documents: 10 new or changed (10 chunks), 10 unchanged, 0 deleted, 0 skipped.\n",
    )
    undisturbed = Namespace.objects.create(name="undisturbed")
    call_command("ingest", str(site), "--namespace", "undisturbed")
    assert snapshot_repository(namespace) == snapshot_repository(undisturbed)


@pytest.mark.django_db(transaction=True)
def test_another_process_at_work_is_one_sentence(namespace, site):
    write_files(site, FILES)
    with lock_repository(namespace.pk, "site"), start_command(site, "ours") as told:
        out, err = told.communicate(timeout=30)
    assert (told.returncode, out) == (1, "")
    assert err == "CommandError: Another run of this repository is at work.\n"
