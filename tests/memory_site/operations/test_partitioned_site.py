"""The site on partitioned tables: the same results as on plain ones, a life of the API, the tasks and the commands.

The tests of this file share one filled database, whose tables are divided before the first and plain again after the
last.
"""

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.models.functions import Now

from memories import reembedding, tasks, vacuum
from memories.graph.tasks import join_waiting, refresh_statistics
from memories.insights.tasks import adopt_insights, prune_insights
from memories.knowledge.models import Cluster
from memories.knowledge.tasks import forget_outdated, remove_empty_clusters, settle_clusters
from memories.models import DueEmbedding, Embedding, Memory, Reembedding
from memories.vacuum import count_vector_rows, list_parts
from memory_site.operations.distribution import partitions
from memory_site.operations.distribution.definitions import fetch, read_table
from memory_site.operations.distribution.partitions import count_partitions, partition_tables
from memory_site.operations.distribution.tables import LARGE_TABLES
from memory_site.operations.health.checks import CHECKS
from memory_site.operations.health.results import HealthStatus
from sessions_app.models import SCOPES, ApiKey, Namespace
from tests.conftest import Api, empty_tables

PARTITIONS = 4
TASKS = [
    tasks.embed_due, tasks.reembed_due, tasks.vacuum_due, refresh_statistics, join_waiting, settle_clusters,
    remove_empty_clusters, forget_outdated, prune_insights, adopt_insights,
]  # fmt: skip
PLACES = ("harbour", "lighthouse", "market", "library", "station", "bridge", "castle", "garden")
#: Searches that a filled database is asked before and after.
SEARCHES = [
    {"query": f"{place} in the {other}", "mode": mode, "filters": filters}
    for place, other in zip(PLACES[:3], PLACES[3:6], strict=True)
    for mode in ("text", "vector", "hybrid")
    for filters in ({}, {"user_id": "ada"}, {"tags": ["even"]}, {"memory_types": ["rag"], "user_id": "ben"})
]
READS = ("/memories?limit=30", "/summary", "/clusters", "/users", "/users/ada/memories", "/users/ada/graph")

CONCURRENT_MIGRATIONS = {
    "0006_memory_by_role.py",
    "0007_expiring_of_user.py",
}


def make_api(name: str) -> Api:
    namespace = Namespace.objects.create(name=name)
    return Api(ApiKey.objects.issue(namespace, scopes=SCOPES)[1])


def fill(api: Api, count: int) -> None:
    memories = [
        {
            "content": f"Number {number}: the {PLACES[number % 8]} lies behind the {PLACES[number // 8 % 8]}.",
            "user_id": ("ada", "ben")[number % 2],
            "memory_type": ("agent", "rag")[number % 3 == 0],
            "tags": ["even"] if number % 2 == 0 else [],
        }
        for number in range(count)
    ]
    assert api.post("/memories/bulk", {"memories": memories}).status_code == 201


def read_all(api: Api) -> list:
    """The hits of all SEARCHES, and the answers to READS without times."""
    return [list_hits(api.search(**search)) for search in SEARCHES] + [strip(api.get(path).json()) for path in READS]


def list_hits(answer: dict) -> list:
    """Scores with contents. Of hits with equal scores any may come first, and any may be cut off."""
    hits = [(round(hit["score"], 3), hit["memory"]["content"]) for hit in answer["results"]]
    last = hits[-1][0] if len(hits) == 10 else -1
    return sorted(hit for hit in hits if hit[0] > last) + [last]


def strip(value: object) -> object:
    if isinstance(value, dict):
        return {key: strip(each) for key, each in value.items() if key not in ("took_ms", "refreshed_at")}
    return [strip(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def db(django_db_setup, django_db_blocker) -> Iterator[None]:
    """The database without transactions of the tests. Of this name, so that it is made for this file alone too."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(partitions.SETTINGS, "lock_timeout", "120s")  # autovacuum may take long to give way
        yield


@pytest.fixture(scope="module")
def site(db) -> Iterator[list[Api]]:
    callers = [make_api(f"space {number}") for number in range(5)]
    for number, api in enumerate(callers):
        fill(api, 100 + number)
    tasks.embed_due()
    call_command("refresh_statistics", stdout=io.StringIO())
    try:
        yield callers
    finally:
        call_command("distribute", "--partitions", "0", stdout=io.StringIO())
        assert [count_partitions(table) for table in LARGE_TABLES] == [0, 0, 0]
        empty_tables()


@pytest.fixture(scope="module")
def divided(site) -> list[Api]:
    """After the tests that meet plain tables."""
    call_command("distribute", "--partitions", str(PARTITIONS), stdout=io.StringIO())
    return site


@pytest.fixture
def api(divided, request) -> Api:
    return make_api(request.node.name)


def distribute(*words: str, capsys) -> str:
    call_command("distribute", *words)
    return capsys.readouterr().out


# Before: what is refused, and what changes nothing


def test_a_number_out_of_range_is_refused(site):
    for number in ("1", "-1", "257"):
        with pytest.raises(CommandError, match="must be 0, for plain tables, or from 2 to 256") as error:
            call_command("distribute", "--partitions", number)
        assert error.value.returncode == 2


def test_a_dry_run_says_what_would_be_done(site, capsys):
    out = distribute("--partitions", "4", "--dry-run", capsys=capsys)
    assert "memories_memory (510 rows, " in out and "a plain table would become 4 partitions" in out
    assert "5 namespaces share the partitions" in out
    assert count_partitions("memories_memory") == 0


def test_a_site_at_work_is_not_waited_for(site, monkeypatch):
    monkeypatch.setitem(partitions.SETTINGS, "lock_timeout", "100ms")
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT FROM memories_memory LIMIT 1")
        with pytest.raises(CommandError, match="stop the site first.*\nNothing was changed") as error:
            call_command("distribute", "--partitions", "4")
    assert error.value.returncode == 3


def test_an_interrupted_run_changes_nothing(site, monkeypatch):
    before = read_table("memories_memory")
    copied = partitions.copy_rows

    def interrupt(old, name):
        yield from copied(old, name)
        if old.name == "memories_embedding":
            raise KeyboardInterrupt

    monkeypatch.setattr(partitions, "copy_rows", interrupt)
    with pytest.raises(CommandError, match="units of work are done. Nothing was changed.") as error:
        call_command("distribute", "--partitions", "4")
    assert error.value.returncode == 130
    assert read_table("memories_memory") == before


def test_requests_are_put_off_meanwhile(site):
    """A request that meets the locked tables is answered 503 and may be repeated; nothing waits for hours."""
    answers = []

    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        try:
            answers.append(site[0].get("/memories?limit=1"))
        finally:
            connection.close()

    with transaction.atomic():
        next(partition_tables(LARGE_TABLES, 4))
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        transaction.set_rollback(True)
    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].headers["Retry-After"]


def test_the_same_is_found_before_and_after(site, capsys):
    before = [read_all(api) for api in site[:2]]
    assert min(map(len, before[0][: len(SEARCHES)])) > 1
    out = distribute("--partitions", str(PARTITIONS), capsys=capsys)
    assert out == f"Done: the tables have {PARTITIONS} partitions each.\n"
    assert [read_all(api) for api in site[:2]] == before


# A life on divided tables


def test_a_second_run_has_nothing_to_do(divided, capsys):
    assert (
        distribute("--partitions", "4", capsys=capsys) == "Nothing to do: the tables have 4 partitions each already.\n"
    )


def test_migrations_can_follow(divided):
    """Of the kinds that a release may bring: columns, checks, indexes."""
    with connection.cursor() as cursor, connection.schema_editor() as editor:
        cursor.execute("ALTER TABLE memories_memory ADD mood text DEFAULT 'calm' CHECK (mood <> '')")
        index = Memory._meta.indexes[1].clone()
        index.name = "memory_newest_again"
        editor.add_index(Memory, index)
        editor.remove_index(Memory, index)
        cursor.execute("ALTER TABLE memories_memory DROP mood")


def test_no_later_migration_builds_an_index_concurrently():
    """PostgreSQL refuses that for a partitioned table. These were applied before a table can be divided, and what
    `add_index_concurrently` executes depends on the table."""
    files = (settings.BASE_DIR / "memories" / "migrations").glob("0*.py")
    concurrent = {file.name for file in files if "concurrently" in read_own_code(file)}
    assert concurrent == CONCURRENT_MIGRATIONS


def read_own_code(file: Path) -> str:
    return re.sub("add_index_concurrently|# for concurrently", "", file.read_text().lower())


def test_the_database_is_healthy(divided):
    for name in ("database", "pgvector", "migrations", "vectors", "embedding", "models", "languages"):
        status, message = CHECKS[name].run()
        assert status == HealthStatus.HEALTHY, message


def test_memories_live(api):
    memory = api.add("The harbour opens at nine.", user_id="ada", tags=["x"], entity={"system": "jira", "id": "OPS-1"})
    again = api.add("The harbour opens at ten.", user_id="ada", tags=["y"], entity={"system": "jira", "id": "OPS-1"})
    assert (again["id"], again["created"]) == (memory["id"], False)
    assert api.add("A note.")["created"] and not api.add("A note.")["created"]
    assert tasks.embed_due() == 2
    for mode in ("text", "vector", "hybrid"):
        assert api.search("harbour at ten", mode=mode)["results"][0]["memory"]["id"] == memory["id"]
    assert api.patch(f"/memories/{memory['id']}", {"content": "The lighthouse is closed."}).status_code == 200
    assert not api.get(f"/memories/{memory['id']}").json()["embedded"]
    assert tasks.embed_due() == 1
    assert api.search("lighthouse", mode="vector")["results"][0]["memory"]["id"] == memory["id"]
    assert api.delete(f"/memories/{memory['id']}").status_code in (200, 204)
    assert Embedding.objects.filter(memory_id=memory["id"]).count() == 0
    assert api.get("/summary").json()["total_memories"] == 1


def test_sessions_and_messages_live(api):
    turns = {"interactions": [{"query": "who?", "answer": "Ada"}]}
    assert api.post("/sessions/s/interactions", turns).status_code == 201
    assert len(api.get("/sessions/s/context").json()["interactions"]) == 1
    message = {"session_id": "s", "agent_id": "a", "role": "user", "content": "Remember: the ferry leaves at noon."}
    assert api.post("/messages", message | {"remember": True}).status_code == 201
    assert len(api.get("/messages?session_id=s&agent_id=a").json()["results"]) == 1
    assert api.delete("/sessions/s").status_code == 200


def test_memories_are_recalled_and_retrieved(api):
    fill(api, 40)
    tasks.embed_due()
    recalled = api.post("/memories/recall", {"query": "the castle", "filters": {"user_id": "ada"}})
    assert recalled.status_code == 200 and recalled.json()["results"]
    assert Memory.objects.filter(access_count=1).count() == len(recalled.json()["results"])
    for path in ("/users/ada/retrieve", "/context", "/search"):
        answer = api.post(path, {"query": "the castle"})
        assert answer.status_code == 200, answer.content


def test_the_graph_connects_what_arrives_later(api):
    start = api.add("The deal with Acme.", user_id="ada", entity={"system": "crm", "id": "D-1"})
    body = {"to_entity": {"system": "crm", "id": "A-1"}, "type": "relates_to"}
    assert api.post(f"/memories/{start['id']}/relationships", body).status_code in (200, 201, 202)
    api.add("Acme buys bolts.", user_id="ada", entity={"system": "crm", "id": "A-1"})
    [related] = api.get(f"/memories/{start['id']}/related").json()["results"]
    assert related["memory"]["content"] == "Acme buys bolts."
    assert api.get("/users/ada/graph").json()["memories"] == 2
    assert api.delete("/users/ada").status_code == 200
    assert api.get("/summary").json()["total_memories"] == 0


def test_insights_live(api):
    text = "Autovacuum needs a lower threshold on tables that only grow, because it counts what was deleted."
    assert api.post("/insights", {"content": text, "projects": ["shop"]}).status_code == 201
    tasks.embed_due()
    [found] = api.post("/insights/search", {"query": "autovacuum threshold"}).json()["results"]
    assert found["insight"]["content"] == text
    assert api.post(f"/insights/{found['insight']['id']}/use").status_code == 200
    assert adopt_insights() == 0


def test_expired_memories_are_deleted(api):
    memory = api.add("tea", tags=["x"], user_id="ada")
    Memory.objects.filter(pk=memory["id"]).update(expires_at=Now())
    assert api.get("/summary").json()["total_memories"] == 0
    assert tasks.delete_expired() == 1
    assert not DueEmbedding.objects.filter(memory_id=memory["id"]).exists()
    assert not Cluster.objects.filter(namespace__name="test_expired_memories_are_deleted").exists()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.rpartition(".")[2])
def test_tasks_run(divided, task):
    task()


def test_a_namespace_moves_out_and_in(divided, tmp_path):
    before = read_all(divided[0])
    file = str(tmp_path / "export.jsonl")
    call_command("export_memories", file, "--namespace", "space 0")
    Memory.objects.filter(namespace__name="space 0").delete()
    call_command("import_memories", file, "--namespace", "space 0", stdout=io.StringIO())
    after = read_all(divided[0])
    assert after[: len(SEARCHES)] == before[: len(SEARCHES)]


def test_a_namespace_is_embedded_again(divided, embedder, monkeypatch):
    monkeypatch.setattr(reembedding, "CUTOVER_GRACE_SECONDS", 0)
    embedder("Watched", model="newer")
    call_command("reembed", "--namespace", "space 1", stdout=io.StringIO())
    models = Embedding.objects.filter(namespace__name="space 1").values_list("model", flat=True)
    assert set(models) == {"newer"} and len(models) == 101
    assert Reembedding.objects.get().finished_at
    assert divided[1].search("harbour", mode="vector")["results"]


@pytest.fixture
def no_autovacuum(divided) -> Iterator[None]:
    """It would remove dead rows of vectors, which are to be counted."""
    tables = [part.table for part in list_parts()]
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        yield
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")


def test_only_the_partition_with_deleted_vectors_is_rebuilt(divided, no_autovacuum, monkeypatch):
    monkeypatch.setattr(vacuum, "MIN_DEAD_ROWS", 20)
    monkeypatch.setattr(vacuum, "MIN_INTERVAL", timedelta(0))
    flush_statistics()
    vacuum.vacuum_vectors(list_parts())
    Memory.objects.filter(namespace__name="space 2").delete()
    flush_statistics()
    parts = list_parts()
    assert (len(parts), count_vector_rows(parts).dead) == (PARTITIONS, 102)
    [dirty] = [part for part in parts if part.rows.dead]
    places = {part.index: find_file(part.index) for part in parts}
    assert tasks.vacuum_due()
    assert [part.index for part in list_parts() if find_file(part.index) != places[part.index]] == [dirty.index]
    assert count_vector_rows(list_parts()).dead == 0


def flush_statistics() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")


def find_file(index: str) -> int:
    """A rebuild gives an index another file."""
    return fetch("SELECT pg_relation_filenode(%(index)s::regclass)", index=index)[0][0]


def test_recall_is_that_of_exact_searches(divided, capsys):
    call_command("check_recall", "--namespace", "space 3", "--queries", "30", "--format", "json")
    assert json.loads(capsys.readouterr().out)[0]["mean"] >= 0.99


@pytest.mark.parametrize("command", ["counts", "recent", "embedding_status", "entities", "summaries"])
def test_commands_read_partitions(divided, command, capsys):
    call_command(command, "--namespace", "space 4")
    assert capsys.readouterr()
