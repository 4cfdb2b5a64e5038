"""`session_buddy`: what is known there and here is known on both sides, each thing once."""

import importlib
import io
import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from memories import tasks
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from memories.types import MemoryType
from sessions_app.models import Namespace

duckdb = pytest.importorskip("duckdb")
insight_rows, layout, opening, reading, writing = (
    importlib.import_module(f"memories.insights.session_buddy.{name}")
    for name in ("insight_rows", "layout", "opening", "reading", "writing")
)
pytestmark = pytest.mark.django_db
PROJECT_TABLE, GLOBAL_TABLE = "mahavishnu_project_reflections", "mahavishnu_global_reflections"
CONVERSATIONS_TABLE = "mahavishnu_project_conversations"
#: As Session-Buddy makes them, references, indexes and all.
OLDER_SCHEMA = """
CREATE TABLE {0}_conversations (
    id VARCHAR PRIMARY KEY, content TEXT NOT NULL, metadata JSON, created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL, embedding FLOAT[384]
);
CREATE TABLE {0}_reflections (
    id VARCHAR PRIMARY KEY, conversation_id VARCHAR, content TEXT NOT NULL, tags VARCHAR[], metadata JSON,
    created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL, embedding FLOAT[384],
    insight_type VARCHAR, usage_count INTEGER DEFAULT 0, last_used_at TIMESTAMP, confidence_score REAL DEFAULT 0.5,
    FOREIGN KEY (conversation_id) REFERENCES {0}_conversations(id)
);
CREATE INDEX {0}_type ON {0}_reflections(insight_type);
CREATE INDEX {0}_usage ON {0}_reflections(usage_count);
CREATE INDEX {0}_used ON {0}_reflections(last_used_at);
"""
NEWER_SCHEMA = """
CREATE TABLE conversations_v2 (
    id TEXT PRIMARY KEY, content TEXT NOT NULL, embedding FLOAT[384], category TEXT NOT NULL, subcategory TEXT,
    importance_score REAL DEFAULT 0.5, access_count INTEGER DEFAULT 0, project TEXT, namespace TEXT DEFAULT 'default',
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, session_id TEXT, metadata VARCHAR, searchable_content TEXT
);
CREATE TABLE reflections_v2 (
    id TEXT PRIMARY KEY, content TEXT NOT NULL, embedding FLOAT[384], category TEXT NOT NULL,
    importance_score REAL DEFAULT 0.5, memory_tier TEXT DEFAULT 'long_term', tags TEXT[], related_entities TEXT[],
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, project TEXT, namespace TEXT DEFAULT 'default',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP, fingerprint BLOB, metadata JSON
);
CREATE TABLE memory_entities (
    id TEXT PRIMARY KEY, memory_id TEXT NOT NULL, FOREIGN KEY (memory_id) REFERENCES conversations_v2(id)
);
CREATE INDEX category ON reflections_v2(category, namespace);
"""
LONG_AGO = datetime(2024, 5, 1, 12, tzinfo=UTC)
INSIGHT_TEXT = "Connection pools hide dead connections until the pool's own patience is over, so commands go without."
OTHER_TEXT = "Text search ranks by rarity, because a common word says nothing about what a question is after."


@pytest.fixture
def path(tmp_path):
    return tmp_path / "buddy.duckdb"


@pytest.fixture
def run(namespace, capsys):
    """Runs the command: the counts by table and kind, and what was told on stderr."""

    def command(action: str, file, *more: str) -> tuple[dict, str]:
        out = io.StringIO()
        given = [] if "--namespace" in more else ["--namespace", "ours"]
        call_command("session_buddy", action, str(file), *given, "--format", "json", *more, stdout=out)
        rows = json.loads(out.getvalue())
        counts = {(row.pop("table"), row.pop("kind", "insights")): tuple(row.values()) for row in rows}
        return counts, " ".join(capsys.readouterr().err.split())

    return command


def create_file(path, *scripts: str, **rows: list[dict]) -> None:
    """A file with these tables and rows."""
    with duckdb.connect(str(path)) as file:
        file.begin()  # each statement alone would wait for the disk
        for script in scripts:
            file.execute(script)
        for table, given in rows.items():
            insert_rows(file, table, given)
        file.commit()


def insert_rows(file, table: str, rows: list[dict]) -> None:
    for row in rows:
        places = ", ".join("?" * len(row))
        file.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values()))


def build_row(id: str, content: str, **more: object) -> dict:
    when = LONG_AGO.replace(tzinfo=None)
    return {"id": id, "content": content, "created_at": when, "updated_at": when, **more}


def create_older_file(path, **rows: list[dict]) -> None:
    create_file(path, OLDER_SCHEMA.format("mahavishnu_project"), OLDER_SCHEMA.format("mahavishnu_global"), **rows)


def query_file(path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as file:
        return file.execute(sql).fetchall()


def dump_file(path) -> dict[str, list[tuple]]:
    return {
        name: query_file(path, f'SELECT * FROM "{name}" ORDER BY id') for (name,) in query_file(path, "SHOW TABLES")
    }


def load_all_rows(namespace="ours") -> list[dict]:
    """All that stands here, to the last column."""
    memories = Memory.objects.filter(namespace__name=namespace).order_by("id").values()
    return [*memories, *Insight.objects.filter(namespace__name=namespace).order_by("pk").values()]


def load_insights(namespace: str) -> list[tuple]:
    """What insights say, wherever they stand."""
    columns = ("memory__content", "collection", "insight_type", "topics", "projects", "quality", "usage_count")
    more = ("last_used_at", "memory__confidence", "memory__tags", "memory__metadata", "memory__created_at")
    return list(Insight.objects.filter(namespace__name=namespace).order_by(columns[0]).values_list(*columns, *more))


CONVERSATION_ROW = build_row("c1", "How are pools told apart?", metadata='{"project": "site"}')
NOTE_ROW = build_row(
    "r1", "Ada reviews on Fridays.", conversation_id="c1", tags=["review"], metadata='{"mood": "calm"}'
)
INSIGHT_ROW = build_row(
    "i1",
    INSIGHT_TEXT,
    conversation_id="c1",
    tags=["pools"],
    metadata='{"quality_score": 0.8, "projects": ["site"], "seen": 2}',
    insight_type="gotcha",
    usage_count=3,
    last_used_at=datetime(2024, 6, 1),
    confidence_score=0.9,
)


@pytest.fixture
def filled(path):
    create_older_file(
        path,
        **{
            CONVERSATIONS_TABLE: [CONVERSATION_ROW],
            PROJECT_TABLE: [NOTE_ROW, INSIGHT_ROW],
            GLOBAL_TABLE: [build_row("g1", OTHER_TEXT, insight_type="pattern")],
        },
    )
    return path


def test_each_kind_of_row_comes_in_as_what_it_is(run, filled):
    counts, _ = run("import", filled)
    assert counts == {
        (CONVERSATIONS_TABLE, "conversations"): (1, 1, 0, 0),
        (PROJECT_TABLE, "insights"): (1, 1, 0, 0),
        (PROJECT_TABLE, "reflections"): (1, 1, 0, 0),
        (GLOBAL_TABLE, "insights"): (1, 1, 0, 0),
    }
    talk, note = (Memory.objects.get(memory_type=kind) for kind in (MemoryType.CONVERSATION, "technical_knowledge"))
    assert (talk.content, talk.created_at, talk.source_system) == (
        CONVERSATION_ROW["content"],
        LONG_AGO,
        "session_buddy",
    )
    assert talk.repo_id == "site"
    mark = {"id": "r1", "conversation_id": "c1", "collection": "mahavishnu_project"}
    assert (note.tags, note.metadata) == (["review"], {"mood": "calm", "session_buddy": mark})


def test_an_insight_comes_with_all_that_is_known_of_it(run, filled):
    run("import", filled)
    found = Insight.objects.select_related("memory").get(memory__content=INSIGHT_TEXT)
    assert (found.collection, found.insight_type, found.projects, found.topics) == (
        "project",
        "gotcha",
        ["site"],
        ["pools"],
    )
    assert (found.quality, found.usage_count, found.last_used_at) == (0.8, 3, datetime(2024, 6, 1, tzinfo=UTC))
    assert (found.memory.confidence, found.memory.created_at) == (0.9, LONG_AGO)
    assert found.memory.metadata["seen"] == 2
    assert found.source_memory.content == CONVERSATION_ROW["content"]
    assert Insight.objects.get(memory__content=OTHER_TEXT).collection == "global"


def test_a_worker_embeds_what_came_in(run, filled):
    run("import", filled)
    assert tasks.embed_due() == 4


@pytest.mark.parametrize("prefix", ["", "mahavishnu_global_"])
def test_the_newer_layout_is_read(run, path, prefix):
    script = NEWER_SCHEMA.replace(" conversations_v2", f" {prefix}conversations_v2").replace(
        " reflections_v2", f" {prefix}reflections_v2"
    )
    talk = {"id": "c1", "content": "A talk", "category": "context", "timestamp": LONG_AGO.replace(tzinfo=None)}
    note = {"id": "r1", "content": "A note", "category": "facts", "project": "site"}
    create_file(path, script, **{f"{prefix}conversations_v2": [talk], f"{prefix}reflections_v2": [note]})
    counts, _ = run("import", path)
    assert set(counts.values()) == {(1, 1, 0, 0)}
    assert Memory.objects.get(content="A talk").created_at == LONG_AGO
    assert Memory.objects.get(content="A note").repo_id == "site"


def test_nothing_but_an_id_and_a_text_is_needed(run, path):
    create_file(
        path,
        f"CREATE TABLE {PROJECT_TABLE} (id INTEGER, content VARCHAR)",
        **{PROJECT_TABLE: [{"id": 7, "content": "A note"}]},
    )
    run("import", path)
    assert Memory.objects.get().metadata["session_buddy"]["id"] == "7"


def test_collections_are_chosen_by_name(run, path):
    create_file(path, OLDER_SCHEMA.format("team"), team_reflections=[build_row("r1", "A note")])
    with pytest.raises(CommandError, match="no reflections .* It has those of team: choose with --collection"):
        run("import", path)
    assert run("import", path, "--collection", "team", "other")[0] == {
        ("team_reflections", "reflections"): (1, 1, 0, 0)
    }


def test_a_collection_that_nobody_named_is_read_and_written_and_another_is_told(run, known, path):
    more = {f"{name}_reflections": [build_row(name, f"{INSIGHT_TEXT} {name}")] for name in ("default", "own")}
    create_file(path, OLDER_SCHEMA.format("default"), OLDER_SCHEMA.format("own"), **more)
    counts, told = run("import", path)
    assert counts["default_reflections", "reflections"] == (1, 1, 0, 0)
    assert {table for table, _ in counts} == {"default_reflections"}
    assert "Left out: own. Choose with --collection." in told
    run("export", path)
    assert len(query_file(path, "SELECT id FROM default_reflections WHERE insight_type IS NOT NULL")) == 2
    assert len(query_file(path, "SHOW TABLES")) == 4


def test_a_view_is_not_read(run, path):
    create_file(
        path,
        OLDER_SCHEMA.format("mahavishnu_project"),
        f"CREATE VIEW {GLOBAL_TABLE} AS SELECT 'v' AS id, 'A view' AS content",
    )
    assert run("import", path)[0] == {}
    assert not Memory.objects.exists()


def test_a_second_import_changes_nothing(run, filled):
    run("import", filled)
    before = load_all_rows()
    counts, _ = run("import", filled)
    assert {(new, known) for _, new, known, _ in counts.values()} == {(0, 1)}
    assert load_all_rows() == before


def test_nearly_the_same_twice_changes_nothing_either(run, path):
    near = build_row("i2", INSIGHT_TEXT.replace("own ", ""), insight_type="general", metadata='{"projects": ["shop"]}')
    create_older_file(path, **{CONVERSATIONS_TABLE: [CONVERSATION_ROW], PROJECT_TABLE: [INSIGHT_ROW, near]})
    assert run("import", path)[0][PROJECT_TABLE, "insights"] == (2, 1, 1, 0)
    assert Insight.objects.get().projects == ["site", "shop"]
    before = load_all_rows()
    assert run("import", path)[0][PROJECT_TABLE, "insights"] == (2, 0, 2, 0)
    assert load_all_rows() == before


def test_the_greater_use_is_taken_over_and_nothing_else(run, filled):
    run("import", filled)
    with duckdb.connect(str(filled)) as file:
        file.execute(
            f"UPDATE {PROJECT_TABLE} SET usage_count = 9, last_used_at = '2024-07-01', tags = ['x'] WHERE id = 'i1'"
        )
    before = load_all_rows()
    run("import", filled)
    found = Insight.objects.get(memory__content=INSIGHT_TEXT)
    assert (found.usage_count, found.last_used_at) == (9, datetime(2024, 7, 1, tzinfo=UTC))
    Insight.objects.filter(pk=found.pk).update(usage_count=3, last_used_at=datetime(2024, 6, 1, tzinfo=UTC))
    assert load_all_rows() == before


def test_a_later_use_is_taken_over_by_itself(run, filled):
    run("import", filled)
    with duckdb.connect(str(filled)) as file:
        file.execute(f"UPDATE {PROJECT_TABLE} SET last_used_at = '2024-07-01' WHERE id = 'i1'")
    run("import", filled)
    assert Insight.objects.get(memory__content=INSIGHT_TEXT).last_used_at == datetime(2024, 7, 1, tzinfo=UTC)


def test_a_lesser_use_changes_nothing(run, filled):
    run("import", filled)
    Insight.objects.update(usage_count=50, last_used_at=timezone.now())
    before = load_all_rows()
    run("import", filled)
    assert load_all_rows() == before


@pytest.mark.parametrize(
    ("metadata", "own"),
    [
        (None, {}),
        ("null", {}),
        ('{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("[1, 2]", {"value": [1, 2]}),
        ('"text"', {"value": "text"}),
        ("not JSON", {"value": "not JSON"}),
        ('{"session_buddy": 1}', {}),
    ],
    ids=range(8),
)
def test_metadata_may_be_anything(run, path, metadata, own):
    script = f"CREATE TABLE {PROJECT_TABLE} (id VARCHAR, content VARCHAR, metadata VARCHAR)"
    create_file(path, script, **{PROJECT_TABLE: [{"id": "r1", "content": "A note", "metadata": metadata}]})
    run("import", path)
    mark = {"id": "r1", "collection": "mahavishnu_project"}
    assert Memory.objects.get().metadata == own | {"session_buddy": mark}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"content": "a\0b"}, "content: may not contain NUL"),
        ({"content": " \n"}, "content: may not be blank"),
        ({"content": "x" * 100_001}, "content: Value should have at most 100000"),
        ({"id": "x" * 300}, "id: Value should have at most 255"),
        ({"id": "\0"}, "id: may not contain NUL"),
        ({"created_at": "infinity"}, "created_at: is not a time"),
        ({"created_at": "1999-01-01"}, "created_at: must lie between 2000 and 2200"),
        ({"created_at": "2199-01-01"}, "created_at: may not lie in the future"),
        ({"created_at": "0044-03-15 (BC) 00:00:00"}, "created_at: is not a time"),
        ({"tags": ["x" * 129]}, "tags"),
        ({"tags": ["\0"]}, "tags"),
        ({"metadata": json.dumps({"a": "x" * 70_000})}, "metadata: may take at most"),
        ({"metadata": '{"a": "\\ud800"}'}, "metadata: may not contain lone surrogates"),
        ({"metadata": '{"a": "\\u0000"}'}, "metadata: may not contain NUL"),
        ({"metadata": '{"a":' * 20 + "1" + "}" * 20}, "metadata: may be nested at most 8"),
        ({"metadata": '{"a": 1' + "0" * 400 + "}"}, "metadata: integers must lie within"),
        ({"metadata": json.dumps({"a": "x" * 65_480})}, "may take at most"),
        ({"insight_type": "general", "usage_count": -1}, "usage_count"),
        ({"insight_type": "general", "confidence_score": float("nan")}, "confidence_score"),
        ({"insight_type": "general", "confidence_score": 1.5}, "confidence_score"),
        ({"insight_type": "general", "last_used_at": "2199-01-01"}, "last_used_at: may not lie in the future"),
        ({"insight_type": "general", "metadata": '{"quality_score": 7}'}, "quality_score"),
        ({"insight_type": "general", "metadata": '{"projects": ["' + "x" * 300 + '"]}'}, "projects"),
        ({"insight_type": "x" * 129}, "insight_type"),
    ],
    ids=range(24),
)
def test_a_hostile_row_is_told_and_left_out(run, path, bad, reason):
    texts = ("id", "content", "metadata", "created_at", "insight_type", "last_used_at")
    columns = ", ".join(f"{name} VARCHAR" for name in texts)
    script = f"CREATE TABLE {PROJECT_TABLE} ({columns}, tags VARCHAR[], usage_count INTEGER, confidence_score REAL)"
    rows = [{"id": "bad", "content": "A bad note", **bad}, {"id": "good", "content": "A good note"}]
    create_file(path, script, **{PROJECT_TABLE: rows})
    counts, told = run("import", path)
    kind = "insights" if "insight_type" in bad else "reflections"
    assert counts[PROJECT_TABLE, kind][3] == 1
    assert reason in told
    assert f"{PROJECT_TABLE}, row " in told
    assert [memory.content for memory in Memory.objects.all()] == ["A good note"]


def test_only_the_first_of_many_bad_rows_are_told(run, path):
    create_older_file(path, **{PROJECT_TABLE: [build_row(f"r{n}", " ") for n in range(30)]})
    counts, told = run("import", path)
    assert counts == {(PROJECT_TABLE, "reflections"): (30, 0, 0, 30)}
    assert told.count("may not be blank") == 20
    assert "30 rows were skipped" in told


def test_a_name_that_looks_secret_stays_hidden(run, path):
    metadata = '{"project": "acme-secret", "projects": ["acme-secret", "shop"], "source_project": "acme-secret"}'
    note, learned = ({"metadata": metadata, **more} for more in ({}, {"insight_type": "general"}))
    create_older_file(
        path, **{PROJECT_TABLE: [build_row("r1", "A note", **note), build_row("i1", INSIGHT_TEXT, **learned)]}
    )
    run("import", path)
    assert "shop" in Insight.objects.get().projects
    assert "acme-secret" not in str(load_all_rows())
    run("export", path.with_name("other"))
    assert "acme-secret" not in str(dump_file(path.with_name("other")))


def test_batches_and_the_same_text_in_several_of_them(run, path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 3)
    notes = [build_row(f"r{n}", f"Note {n // 2}", metadata=f'{{"n": {n}}}') for n in range(10)]
    create_older_file(path, **{PROJECT_TABLE: notes})
    assert run("import", path)[0] == {(PROJECT_TABLE, "reflections"): (10, 5, 5, 0)}
    assert [memory.metadata["n"] for memory in Memory.objects.order_by("content")] == [0, 2, 4, 6, 8]


def test_what_was_interrupted_goes_on(run, path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 2)
    create_older_file(path, **{PROJECT_TABLE: [build_row(f"r{n}", f"Note {n}") for n in range(5)]})
    with interrupting(monkeypatch, reading, "keep_batch", after=1):
        with pytest.raises(CommandError, match="Stopped: 2 of 5 rows are done") as error:
            run("import", path)
        assert error.value.returncode == 130
    assert Memory.objects.count() == 2
    assert run("import", path)[0] == {(PROJECT_TABLE, "reflections"): (5, 3, 2, 0)}


@contextmanager
def interrupting(monkeypatch, module, name: str, after: int):
    """The user loses patience at a call of this function."""
    calls, real = [], getattr(module, name)

    def impatient(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, impatient)
        yield


def test_a_dry_run_counts_and_keeps_nothing(run, filled):
    counts, _ = run("import", filled, "--dry-run")
    assert {new for _, new, _, _ in counts.values()} == {1}
    assert load_all_rows() == []


def test_a_dry_run_after_an_import_changes_nothing(run, filled):
    run("import", filled)
    Insight.objects.update(usage_count=0)
    before = load_all_rows()
    counts, _ = run("import", filled, "--dry-run")
    assert {known for _, _, known, _ in counts.values()} == {1}
    assert load_all_rows() == before


def test_counts_that_do_not_agree_are_told(namespace, filled):
    work = reading.Import(namespace.pk, print)
    with opening.opened(filled, reading=True, patience=0, tell=print) as file:
        total = len(list(work.run(file, layout.tables(file))))
    assert total == 4
    assert work.describe_mismatch(4) is None
    assert work.describe_mismatch(5) == "The file has 5 rows, 4 were read and 4 accounted for."
    Memory.objects.filter(content=OTHER_TEXT).delete()
    assert work.describe_mismatch(4) == "4 memories should be there, the database has 3."


def test_a_disagreement_ends_with_1_after_the_counts(run, filled, monkeypatch, capsys):
    monkeypatch.setattr("ingestion.management.commands.session_buddy.count_table_rows", lambda file, tables: 7)
    with pytest.raises(CommandError, match="The file has 7 rows") as error:
        run("import", filled)
    assert error.value.returncode == 1


def test_another_namespace_is_neither_met_nor_told(run, filled, elsewhere):
    save_insights(
        elsewhere.pk, [InsightDraft(INSIGHT_TEXT), InsightDraft("Theirs alone: nobody else may ever read of this.")]
    )
    assert run("import", filled)[0][PROJECT_TABLE, "insights"] == (1, 1, 0, 0)
    run("export", filled.with_name("other"))
    assert "Theirs alone" not in str(dump_file(filled.with_name("other")))
    assert len(load_insights("elsewhere")) == 2


# Export


@pytest.fixture
def known(namespace) -> Insight:
    draft = InsightDraft(
        INSIGHT_TEXT,
        insight_type="gotcha",
        topics=["pools"],
        projects=["site", "shop"],
        confidence=0.7,
        quality=0.6,
        tags=["important"],
        metadata={"seen": 2},
        created_at=LONG_AGO,
        usage_count=4,
        last_used_at=datetime(2024, 6, 1, tzinfo=UTC),
    )
    save_insights(namespace.pk, [draft, InsightDraft(OTHER_TEXT, "global", created_at=LONG_AGO)])
    return Insight.objects.select_related("memory").get(memory__content=INSIGHT_TEXT)


def test_insights_are_written_with_all_that_is_known_of_them(run, known, path):
    assert run("export", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 1, 0, 0),
        (GLOBAL_TABLE, "insights"): (1, 1, 0, 0),
    }
    columns = "id, content, tags, created_at, insight_type, usage_count, last_used_at, embedding, conversation_id"
    [found] = query_file(path, f"SELECT {columns} FROM {PROJECT_TABLE}")
    naive = LONG_AGO.replace(tzinfo=None)
    assert found[:4] == (str(known.pk), INSIGHT_TEXT, ["important", "pools"], naive)
    assert found[4:] == ("gotcha", 4, datetime(2024, 6, 1), None, None)
    [(metadata, confidence)] = query_file(path, f"SELECT metadata, confidence_score FROM {PROJECT_TABLE}")
    told = json.loads(metadata)
    assert (told["projects"], told["topics"], told["quality_score"], told["seen"]) == (
        ["site", "shop"],
        ["pools"],
        0.6,
        2,
    )
    assert confidence == pytest.approx(0.7)


def test_a_file_made_here_can_be_read_by_older_releases(run, known, path):
    run("export", path)
    with duckdb.connect(str(path), read_only=True) as file:
        [(tags,)] = file.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert tags["storage_version"].startswith("v1.0.0")


def test_the_newer_layout_is_written_when_asked_for(run, known, path):
    assert run("export", path, "--layout", "v2")[0] == {("reflections_v2", "insights"): (2, 2, 0, 0)}
    found = query_file(
        path, "SELECT category, project, timestamp, insight_type FROM reflections_v2 WHERE usage_count = 4"
    )
    assert found == [("rules", "site", LONG_AGO.replace(tzinfo=None), "gotcha")]


@pytest.mark.parametrize("asked", ["v1", "v2"])
@pytest.mark.parametrize("there", ["v1", "v2"])
def test_the_layout_of_a_file_is_kept(run, known, path, there, asked):
    create_file(path, NEWER_SCHEMA) if there == "v2" else create_older_file(path)
    tables = set(dump_file(path))
    counts, _ = run("export", path, "--layout", asked)
    assert (
        set(counts)
        == {
            "v1": {(PROJECT_TABLE, "insights"), (GLOBAL_TABLE, "insights")},
            "v2": {("reflections_v2", "insights")},
        }[there]
    )
    assert set(dump_file(path)) == tables


def test_what_else_stands_in_the_file_is_left_alone(run, known, path):
    note = {"id": "r1", "content": INSIGHT_TEXT, "category": "facts"}
    talk = {"id": "c1", "content": "A talk", "category": "context"}
    create_file(
        path,
        NEWER_SCHEMA,
        conversations_v2=[talk],
        memory_entities=[{"id": "e1", "memory_id": "c1"}],
        reflections_v2=[note],
    )
    before = dump_file(path)
    run("export", path)
    after = dump_file(path)
    written = after.pop("reflections_v2")
    [mine] = [found for found in written if found[0] == "r1"]
    [earlier] = before.pop("reflections_v2")
    assert mine[: len(earlier)] == earlier
    assert mine[len(earlier) :] == (None,) * 4
    assert len(written) == 3
    assert after == before
    assert run("import", path)[0]["reflections_v2", "reflections"] == (1, 1, 0, 0)


def test_a_second_export_changes_nothing(run, known, path):
    run("export", path)
    before = dump_file(path)
    assert run("export", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 0, 1),
        (GLOBAL_TABLE, "insights"): (1, 0, 0, 1),
    }
    assert dump_file(path) == before


def test_what_came_from_a_file_is_known_to_it(run, filled):
    run("import", filled)
    before = dump_file(filled)
    assert run("export", filled)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 0, 1),
        (GLOBAL_TABLE, "insights"): (1, 0, 0, 1),
    }
    assert dump_file(filled) == before


def test_a_file_need_not_know_the_conversation(run, filled):
    other = filled.with_name("other.duckdb")
    create_older_file(other)
    run("import", filled)
    run("export", other)
    [(conversation, metadata)] = query_file(other, f"SELECT conversation_id, metadata FROM {PROJECT_TABLE}")
    assert (conversation, json.loads(metadata)["source_conversation_id"]) == (None, "c1")


@pytest.mark.parametrize("asked", ["v1", "v2"])
def test_round_trip(run, filled, elsewhere, asked):
    other = filled.with_name("other.duckdb")
    with duckdb.connect(str(filled)) as file:
        strange = build_row(
            "s1", "Seldom seen: a type of insight that nobody here has heard of.", insight_type="odd", tags=[]
        )
        insert_rows(file, PROJECT_TABLE, [strange])
    run("import", filled)
    run("export", other, "--layout", asked)
    run("import", other, "--namespace", "elsewhere")
    assert len(load_insights("ours")) == 3
    assert drop_collection(load_insights("elsewhere")) == drop_collection(load_insights("ours"))
    twice = filled.with_name("twice.duckdb")
    run("export", twice, "--layout", asked, "--namespace", "elsewhere")
    said = "SELECT id, content, tags, insight_type, usage_count, confidence_score FROM {} ORDER BY id"
    for table in dump_file(other):
        assert query_file(twice, said.format(table)) == query_file(other, said.format(table))
    assert "odd" in str(dump_file(twice))


def drop_collection(rows: list[tuple]) -> list[tuple]:
    """The newer layout has one table for all collections."""
    marks = [dict(found[-2]["session_buddy"]) for found in rows]
    for mark in marks:
        mark.pop("collection", None)
    return [(*found[:-2], found[-1], mark) for found, mark in zip(rows, marks, strict=True)]


def test_what_was_learned_here_is_not_learned_again(run, known, path):
    run("export", path)
    before = load_all_rows()
    assert run("import", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 1, 0),
        (GLOBAL_TABLE, "insights"): (1, 0, 1, 0),
    }
    assert load_all_rows() == before


def test_a_use_here_is_told_there(run, known, path):
    run("export", path)
    Insight.objects.filter(pk=known.pk).update(usage_count=9, last_used_at=datetime(2024, 8, 1, tzinfo=UTC))
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    used = f"SELECT usage_count, last_used_at FROM {PROJECT_TABLE}"
    assert query_file(path, used) == [(9, datetime(2024, 8, 1))]
    with duckdb.connect(str(path)) as file:
        file.execute(f"UPDATE {PROJECT_TABLE} SET usage_count = 20, last_used_at = '2025-01-01'")
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)
    assert query_file(path, used) == [(20, datetime(2025, 1, 1))]


def test_a_text_that_was_changed_here_is_changed_there(api, run, known, path):
    run("export", path)
    changed = "Pools keep dead connections; whoever cannot wait for their patience connects by himself."
    assert api.patch(f"/memories/{known.pk}", {"content": changed}).status_code == 200
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    assert query_file(path, f"SELECT id, content FROM {PROJECT_TABLE}") == [(str(known.pk), changed)]
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)


def test_of_two_changed_texts_the_later_stays_and_both_come_to_be_known(run, filled):
    run("import", filled)
    later, changed = datetime.now() + timedelta(days=1), "Someone there rewrote this one later than we had read it."
    with duckdb.connect(str(filled)) as file:
        file.execute(f"UPDATE {PROJECT_TABLE} SET content = ?, updated_at = ? WHERE id = 'i1'", [changed, later])
    run("export", filled)
    assert (changed,) in query_file(filled, f"SELECT content FROM {PROJECT_TABLE}")
    run("import", filled)
    run("export", filled)
    assert {changed, INSIGHT_TEXT} <= {
        content for (content,) in query_file(filled, f"SELECT content FROM {PROJECT_TABLE}")
    }
    before = dump_file(filled)
    run("export", filled)
    assert dump_file(filled) == before


def test_the_same_in_other_words_is_the_same(run, known, path):
    create_older_file(path, **{GLOBAL_TABLE: [build_row("i9", INSIGHT_TEXT.upper() + "!", insight_type="general")]})
    assert run("export", path)[0][GLOBAL_TABLE, "insights"] == (2, 1, 1, 0)
    assert query_file(path, f"SELECT count(*) FROM {PROJECT_TABLE}") == [(0,)]


def test_vectors_go_along_where_the_same_model_made_them(run, known, path, embedder):
    embedder("Constant", "all-MiniLM-L6-v2-int8")
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]
    tasks.embed_due()
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    [(vector,)] = query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}")
    assert vector == (0.5,) * 4 + (0,) * 380
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)


def test_a_vector_is_of_unit_length_again():
    rounded = np.zeros(768, np.float16)
    rounded[:384] = np.random.default_rng(1).normal(size=384) / 20
    vector = np.array(insight_rows.narrow(rounded))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-9)
    assert vector * np.linalg.norm(rounded[:384].astype(float)) == pytest.approx(rounded[:384].astype(float))


def test_a_vector_of_more_numbers_is_of_something_else(run, known, path, settings):
    settings.EMBEDDINGS = {"default": settings.EMBEDDINGS["default"] | {"MODEL": "all-MiniLM-L6-v2"}}
    tasks.embed_due()
    assert Namespace.objects.get().embedding_model == "all-MiniLM-L6-v2"
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]


def test_vectors_of_another_model_stay_here(run, known, path):
    tasks.embed_due()
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]


def test_what_was_not_written_to_its_end_goes_on(run, namespace, path, monkeypatch):
    topics = ("harbours", "lighthouses", "barrels", "letters", "olives")
    save_insights(
        namespace.pk, [InsightDraft(f"What is true of {topic} is true of nothing else at all.") for topic in topics]
    )
    monkeypatch.setattr(writing, "BATCH", 2)
    with interrupting(monkeypatch, writing, "transaction", after=1), pytest.raises(CommandError, match="2 of 5"):
        run("export", path)
    assert query_file(path, f"SELECT count(*) FROM {PROJECT_TABLE}") == [(2,)]
    assert run("export", path)[0] == {(PROJECT_TABLE, "insights"): (5, 3, 0, 2)}


@pytest.mark.parametrize("there", [True, False])
def test_a_dry_run_writes_nothing(run, known, path, there):
    if there:
        create_file(path, NEWER_SCHEMA)
    before = dump_file(path) if there else None
    counts, _ = run("export", path, "--dry-run")
    assert sum(new for _, new, _, _ in counts.values()) == 2
    assert (dump_file(path) if path.exists() else None) == before


def test_a_hostile_file_is_written_to_all_the_same(run, known, path):
    script = f"CREATE TABLE {PROJECT_TABLE} (id VARCHAR, content VARCHAR, insight_type VARCHAR, usage_count INTEGER)"
    learned = [{"id": id, "content": INSIGHT_TEXT, "insight_type": "x"} for id in (None, "a", "a")]
    create_file(path, script, **{PROJECT_TABLE: [*learned, {"id": "b", "content": None, "insight_type": "x"}]})
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    assert query_file(path, f"SELECT usage_count FROM {PROJECT_TABLE} WHERE id = 'a'") == [(4,), (4,)]


def test_two_entities_with_one_text_are_one_insight_there(api, run, path):
    for number in ("1", "2"):
        entity = {"system": "wiki", "id": number}
        added = api.add(INSIGHT_TEXT, memory_type="insight", entity=entity)
        Insight.objects.filter(pk=added["id"]).update(usage_count=int(number), last_used_at=timezone.now())
    assert run("export", path)[0] == {(PROJECT_TABLE, "insights"): (2, 1, 1, 0)}
    assert query_file(path, f"SELECT usage_count FROM {PROJECT_TABLE}") == [(2,)]


def test_rows_that_are_missing_after_an_export_are_told(namespace, known, path):
    with opening.opened(path, reading=False, patience=0, tell=print) as file:
        work = writing.Export(namespace, file, "v1", dry_run=False)
        list(work.run())
        assert work.describe_mismatch() is None
        file.execute(f"DELETE FROM {PROJECT_TABLE}")
        assert work.describe_mismatch() == f"{PROJECT_TABLE} should have 1 rows, it has 0."
        insert_rows(file, PROJECT_TABLE, [build_row("x", "Another")])
        assert work.describe_mismatch() == f"{PROJECT_TABLE} should have 1 of the insights, it has 0."


def test_no_insights_make_no_tables(run, path):
    assert run("export", path)[0] == {}
    assert dump_file(path) == {}


# Files


def create_newer_file(path) -> None:
    """Of a storage version to come. DuckDB itself tells the checksum that would be right."""
    create_older_file(path)
    data = bytearray(path.read_bytes())
    data[12:20] = (100_000).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(duckdb.Error, match="computed checksum") as error:
        duckdb.connect(str(path), read_only=True)
    right = int(str(error.value).split("computed checksum ")[1].split()[0])
    path.write_bytes(right.to_bytes(8, "little") + data[8:])


def create_damaged_file(path) -> None:
    create_older_file(path, **{PROJECT_TABLE: [build_row("r1", "A note " * 14_000)]})
    path.write_bytes(path.read_bytes()[:40_000])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: None, "There is no "),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.write_bytes(b"hello" * 5_000), "is not a DuckDB file"),
        (lambda path: path.touch(), "is not a DuckDB file"),
        (create_newer_file, "was written by a newer DuckDB"),
        (create_damaged_file, "cannot be used"),
        (lambda path: create_file(path, "CREATE TABLE other (id INTEGER)"), "has no reflections or conversations"),
        (
            lambda path: create_file(path, f"CREATE TABLE {PROJECT_TABLE} (name INTEGER)"),
            "has no reflections or conversations",
        ),
    ],
    ids=["missing", "directory", "text", "empty", "newer", "damaged", "other tables", "other columns"],
)
def test_a_file_that_cannot_be_imported_is_told_in_a_sentence(run, path, spoil, reason):
    spoil(path)
    with pytest.raises(CommandError, match=reason) as error:
        run("import", path)
    assert error.value.returncode == 1
    assert "\n" not in str(error.value)
    assert load_all_rows() == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.write_bytes(b"hello" * 5_000), "is not a DuckDB file"),
        (create_newer_file, "was written by a newer DuckDB"),
    ],
    ids=["directory", "text", "newer"],
)
def test_a_file_that_cannot_be_exported_to_is_left_as_it_is(run, known, path, spoil, reason):
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CommandError, match=reason) as error:
        run("export", path)
    assert error.value.returncode == 1
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_table_that_wants_more_is_left_as_it_is(run, known, path):
    create_file(path, NEWER_SCHEMA.replace("memory_tier", "need TEXT NOT NULL, memory_tier"))
    said = "SELECT table_name, column_name FROM duckdb_columns() ORDER BY ALL"
    before = query_file(path, said)
    with pytest.raises(CommandError, match="cannot be used: Constraint Error: NOT NULL") as error:
        run("export", path)
    assert error.value.returncode == 1
    assert (query_file(path, said), query_file(path, "SELECT * FROM reflections_v2")) == (before, [])


def test_a_folder_that_is_not_there_is_told(run, known, tmp_path):
    with pytest.raises(CommandError, match="There is no .*nowhere"):
        run("export", tmp_path / "nowhere" / "file")


@contextmanager
def locked_by_other_process(path):
    """Another process writes to the file until it is told to stop."""
    program = f"import duckdb, sys; file = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("action", ["import", "export"])
def test_a_file_in_use_is_waited_for(run, filled, monkeypatch, action):
    with locked_by_other_process(filled) as holder:
        real = opening.time
        waits = SimpleNamespace(monotonic=real.monotonic, sleep=lambda seconds: holder.communicate())
        monkeypatch.setattr(opening, "time", waits)
        _, told = run(action, filled, "--wait", "60")
    assert "Another process holds" in told


@pytest.mark.parametrize("action", ["import", "export"])
def test_whoever_never_lets_go_is_not_waited_for_longer(run, filled, known, action):
    before = load_all_rows()
    with (
        locked_by_other_process(filled),
        pytest.raises(CommandError, match="held by another process, .* within 0.3 s") as error,
    ):
        run(action, filled, "--wait", "0.3")
    assert error.value.returncode == 1
    assert load_all_rows() == before


def test_without_duckdb_it_says_how_to_get_it(namespace, filled, monkeypatch):
    command = importlib.import_module("ingestion.management.commands.session_buddy")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for name in [name for name in sys.modules if name.startswith("ingestion.session_buddy")]:
        monkeypatch.delitem(sys.modules, name)
    try:
        importlib.reload(command)
        with pytest.raises(CommandError, match="pip install 'duckdb>=2,<3'") as error:
            call_command("session_buddy", "import", str(filled), "--namespace", "ours")
    finally:
        monkeypatch.undo()
        importlib.reload(command)
    assert error.value.returncode == 1


def test_a_namespace_that_is_not_there_is_wrong_use(filled, db):
    with pytest.raises(CommandError, match="no namespace") as error:
        call_command("session_buddy", "import", str(filled), "--namespace", "nobody")
    assert error.value.returncode == 2


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
def test_a_wait_must_be_a_number_of_seconds(run, filled, wait):
    with pytest.raises(CommandError, match="seconds"):
        run("import", filled, f"--wait={wait}")
