"""The index of the vectors is measured, built denser beside itself, and replaced by what is better or asked for."""

import json
import os
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import psycopg
import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.maintenance import indexes
from memory_site.operations.maintenance.findings import execute, fetch
from memory_site.operations.maintenance.run import VECTORS_LEASE, plan_steps
from memory_site.operations.maintenance.vector_index import build, measure, tune
from memory_site.operations.maintenance.vector_index.layout import Layout, Leaf, Options
from tests.embedded.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
VECTORS = 500
CREATE = "CREATE INDEX embedding_nearest ON memories_embedding USING hnsw (vector halfvec_ip_ops) WITH ({})"
POOR, SHIPPED = CREATE.format("m=2, ef_construction=4"), CREATE.format("m=16, ef_construction=128")
RUN_TUNE_INDEX = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.core.management import call_command
call_command("tune_index", "--m", "8", "--ef-construction", "32", "--queries", "3")
"""
#: Of other sessions: what builds the candidate.
SELECT_BUILDING_SQL = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active'"
)


@pytest.fixture
def vectors(namespace, monkeypatch):
    """A store with a poor index, which finds two thirds; so small that the planner would not use it."""
    monkeypatch.setattr(tune, "MIN_EXACT_ROWS", 100)
    monkeypatch.setattr(measure, "PAUSE_SECONDS", 0)
    execute("DROP INDEX embedding_nearest", "UPDATE sessions_app_namespace SET embedding_model = 'hashing-1'")
    execute(
        "INSERT INTO memories_memory (namespace_id, id, content, metadata, memory_type, source_system, importance,"
        " confidence, tags, created_at, updated_at, access_count, user_id)"
        " SELECT 1, gen_random_uuid(), 'text ' || n, '{}', 'agent', 'api', 5, 1, '{}', now(), now(), 0,"
        f" 'user ' || n % 3 FROM generate_series(1, {VECTORS}) n",
    )
    store_vectors([pk for (pk,) in fetch("SELECT id FROM memories_memory")])
    execute("SELECT pg_stat_force_next_flush()")  # or these rows are counted again after ANALYZE
    execute(POOR, "ANALYZE memories_embedding", "SET enable_seqscan = off", "SET enable_sort = off")
    yield
    execute("RESET enable_seqscan", "RESET enable_sort")
    execute("DROP INDEX embedding_nearest", "TRUNCATE memories_embedding", SHIPPED)


def store_vectors(ids: list) -> None:
    random = np.random.default_rng(7)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY memories_embedding (namespace_id, memory_id, user_id, memory_type, model, content_hash, vector)"
            " FROM STDIN"
        ) as copy,
    ):
        for number, pk in enumerate(ids):
            vector = random.normal(size=768)
            text = ",".join(f"{each:.4f}" for each in vector / np.linalg.norm(vector))
            copy.write_row((1, pk, f"user {number % 3}", "agent", "hashing-1", b"hash", f"[{text}]"))


def tune_index(capsys, *options: str) -> dict:
    capsys.readouterr()
    call_command("tune_index", "--queries", "12", "--format", "json", *options)
    return json.loads(capsys.readouterr().out)


def read_indexes() -> dict[str, tuple[bool, str]]:
    """Return by name whether each HNSW index is valid, and its options."""
    rows = fetch(
        "SELECT pg_class.relname, indisvalid, array_to_string(reloptions, ' ') FROM pg_index"
        " JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam WHERE amname = 'hnsw'"
    )
    return {name: (is_valid, options) for name, is_valid, options in rows}


def list_recalls(answer: dict, state: str) -> list[float]:
    return [row["mean"] for row in answer["recall"] if row["state"] == state]


# Deciding


def test_a_tiny_store_needs_nothing(capsys):
    assert tune_index(capsys)["result"].endswith("Nothing is to be done.")


@pytest.mark.parametrize(
    ("vectors", "present", "chosen"),
    [
        (10_000, Options(16, 64), Options(16, 128)),
        (10_000, Options(16, 128), Options(16, 200)),
        (10_000, Options(24, 100), Options(24, 200)),
        (2_000_000, Options(16, 64), Options(16, 200)),
        (6_000_000, Options(16, 128), Options(24, 200)),
        (10_000, Options(32, 400), None),
    ],
)
def test_denser_options_go_by_present_ones_and_size(vectors, present, chosen):
    assert tune.choose_denser(Layout([Leaf("t", "i", vectors, 0, "", present)])) == chosen


def test_a_wider_search_is_preferred_to_a_rebuild(vectors, capsys, monkeypatch):
    execute("DROP INDEX embedding_nearest", CREATE.format("m=8, ef_construction=32"))
    monkeypatch.setattr(tune, "read_ef_search", lambda: 1)
    monkeypatch.setattr(tune, "WIDER", (1, 800))
    execute("SET hnsw.iterative_scan = off")
    try:
        answer = tune_index(capsys)
    finally:
        execute("RESET hnsw.iterative_scan")
    assert min(list_recalls(answer, "before")) < 0.99 <= min(list_recalls(answer, "after"))
    assert answer["advice"].startswith("Set HNSW_EF_SEARCH=800 in .env")
    assert read_indexes() == {"embedding_nearest": (True, "m=8 ef_construction=32")}


# Building


def test_a_poor_index_is_built_denser_and_replaced(vectors, capsys):
    asked = tune_index(capsys, "--dry-run")
    assert "would cost" in asked["result"]
    assert read_indexes() == {"embedding_nearest": (True, "m=2 ef_construction=4")}
    answer = tune_index(capsys)
    assert {row["filter"] for row in answer["recall"]} == {"none", "type", "user"}
    assert min(list_recalls(answer, "before")) < 0.9
    assert min(list_recalls(answer, "after")) >= 0.99
    assert read_indexes() == {"embedding_nearest": (True, "m=16 ef_construction=128")}
    assert tune_index(capsys)["result"] == "Recall is 0.99 or more: nothing is to be done."


def test_a_candidate_that_finds_no_more_is_dropped_but_what_is_asked_for_is_done(vectors, capsys, monkeypatch):
    monkeypatch.setattr(tune, "DENSER", (Options(3, 6),))
    monkeypatch.setattr(tune, "OPTIONS_BY_SIZE", {0: Options(2, 4)})
    monkeypatch.setattr(tune, "is_better", lambda before, after: False)
    with pytest.raises(CommandError, match=r"Nothing was changed\.") as failure:
        tune_index(capsys)
    assert failure.value.returncode == 3
    assert read_indexes() == {"embedding_nearest": (True, "m=2 ef_construction=4")}
    tune_index(capsys, "--m", "4")
    assert read_indexes() == {"embedding_nearest": (True, "m=4 ef_construction=8")}


def test_every_partition_is_built_and_all_are_replaced_at_once(vectors, capsys):
    call_command("distribute", "--partitions", "2")
    try:
        tune_index(capsys, "--m", "6", "--ef-construction", "24")
        built = (True, "m=6 ef_construction=24")
        assert read_indexes() == dict.fromkeys(
            ("embedding_nearest", "embedding_nearest_0of2", "embedding_nearest_1of2"), built
        )
    finally:
        call_command("distribute", "--partitions", "0")


def test_a_killed_build_leaves_an_invalid_index_which_the_next_run_builds_again(vectors, capsys):
    """SIGKILL: the command cannot clean up. Its server ends the build, which no client waits for."""
    ours = connection.settings_dict
    with psycopg.connect(
        host=ours["HOST"], dbname=ours["NAME"], user=ours["USER"], password=ours["PASSWORD"]
    ) as writer:
        writer.execute("LOCK TABLE memories_embedding IN ROW EXCLUSIVE MODE")  # the build waits for writers
        command = [sys.executable, "-c", RUN_TUNE_INDEX, ours["NAME"]]
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "memory_site.settings"}
        process = subprocess.Popen(command, cwd=project.BASE_DIR, env=environment, stderr=subprocess.DEVNULL)
        is_building = wait_for(lambda: "embedding_nearest_tuned" in read_indexes(), seconds=180)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert is_building
        assert wait_for(lambda: not fetch(SELECT_BUILDING_SQL), seconds=60)
    assert read_indexes()["embedding_nearest_tuned"] == (False, "m=8 ef_construction=32")
    assert [step.kind for step in plan_steps() if "tuned" in step.object] == ["drop leftover index"]
    tune_index(capsys, "--m", "8", "--ef-construction", "32")
    assert read_indexes() == {"embedding_nearest": (True, "m=8 ef_construction=32")}
    assert indexes.read_invalid() == []


def test_a_table_in_use_keeps_the_candidate_for_the_next_run(vectors, capsys, monkeypatch):
    ours = connection.settings_dict
    with psycopg.connect(
        host=ours["HOST"], dbname=ours["NAME"], user=ours["USER"], password=ours["PASSWORD"]
    ) as reader:
        layout = tune.read_plan().layout
        build.build_candidates(layout, Options(4, 8), lambda *_: None)
        reader.execute("LOCK TABLE memories_embedding IN ACCESS SHARE MODE")
        with monkeypatch.context() as patch, pytest.raises(CommandError, match="in use by a long transaction"):
            patch.setattr(measure, "MAX_LOCK_SECONDS", 0.3)
            tune_index(capsys, "--m", "4", "--ef-construction", "8")
    [(candidate,)] = fetch("SELECT 'embedding_nearest_tuned'::regclass::oid")
    tune_index(capsys, "--m", "4", "--ef-construction", "8")
    assert fetch("SELECT 'embedding_nearest'::regclass::oid") == [(candidate,)]


# Refusing


def test_what_does_not_fit_on_the_disk_is_refused(vectors, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(build.shutil, "disk_usage", lambda path: usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(CommandError, match=r"needs 2\.\d MB, and 1\.0 MB are free") as failure:
        tune_index(capsys)
    assert failure.value.returncode == 1
    assert read_indexes() == {"embedding_nearest": (True, "m=2 ef_construction=4")}


@pytest.mark.parametrize("option", ["--m=1", "--m=101", "--ef-construction=3", "--ef-search=1001", "--queries=0"])
def test_values_that_pgvector_refuses_are_refused(option):
    with pytest.raises(CommandError, match="must lie in") as failure:
        call_command("tune_index", option)
    assert failure.value.returncode == 2


def test_fewer_candidates_than_pgvector_needs_are_refused_and_else_follow():
    with pytest.raises(CommandError, match="twice --m at least"):
        call_command("tune_index", "--m", "20", "--ef-construction", "39")
    assert tune.Wish(m=80).apply(Options(16, 128)) == Options(80, 160)
    assert tune.Wish(ef_construction=20).apply(Options(16, 128)) == Options(10, 20)
    assert tune.Wish(m=24).apply(Options(16, 128)) == Options(24, 128)


def test_only_one_process_rebuilds_the_index(capsys):
    with hold_lease(VECTORS_LEASE), pytest.raises(CommandError, match="Another process rebuilds"):
        tune_index(capsys)
