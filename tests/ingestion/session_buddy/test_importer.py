"""Import of Session-Buddy files."""

import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError
from django.utils import timezone

from ingestion.session_buddy import importer
from ingestion.session_buddy.file import open_database
from ingestion.session_buddy.importer import SessionBuddyImport
from ingestion.session_buddy.schema import find_tables
from memories import tasks
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from memories.memory_types import MemoryType
from memories.models import Memory
from tests.ingestion.session_buddy.files import (
    CONVERSATION_ROW,
    CONVERSATIONS_TABLE,
    GLOBAL_TABLE,
    INSIGHT_ROW,
    NEWER_SCHEMA,
    OLDER_SCHEMA,
    PROJECT_TABLE,
    build_row,
    create_file,
    create_older_file,
    duckdb,
    dump_file,
    interrupt_call,
    load_all_rows,
    load_insights,
    query_file,
)
from tests.ingestion.session_buddy.texts import INSIGHT_TEXT, LONG_AGO, OTHER_TEXT

pytestmark = pytest.mark.django_db


def test_each_kind_of_row_is_imported_as_its_own_type(run, filled):
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


def test_an_imported_insight_has_all_fields_of_its_row(run, filled):
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


def test_imported_rows_are_embedded_by_a_worker(run, filled):
    run("import", filled)
    assert tasks.embed_due() == 4


@pytest.mark.parametrize("prefix", ["", "mahavishnu_global_"])
def test_the_newer_layout_is_imported(run, path, prefix):
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


def test_a_row_needs_only_an_id_and_content(run, path):
    create_file(
        path,
        f"CREATE TABLE {PROJECT_TABLE} (id INTEGER, content VARCHAR)",
        **{PROJECT_TABLE: [{"id": 7, "content": "A note"}]},
    )
    run("import", path)
    assert Memory.objects.get().metadata["session_buddy"]["id"] == "7"


def test_collections_are_selected_by_name(run, path):
    create_file(path, OLDER_SCHEMA.format("team"), team_reflections=[build_row("r1", "A note")])
    with pytest.raises(CommandError, match="no reflections .* It has those of team: select them with --collection"):
        run("import", path)
    assert run("import", path, "--collection", "team", "other")[0] == {
        ("team_reflections", "reflections"): (1, 1, 0, 0)
    }


def test_the_default_collection_is_read_and_written_and_others_are_reported(run, insight, path):
    more = {f"{name}_reflections": [build_row(name, f"{INSIGHT_TEXT} {name}")] for name in ("default", "own")}
    create_file(path, OLDER_SCHEMA.format("default"), OLDER_SCHEMA.format("own"), **more)
    counts, stderr = run("import", path)
    assert counts["default_reflections", "reflections"] == (1, 1, 0, 0)
    assert {table for table, _ in counts} == {"default_reflections"}
    assert "Not imported: own. Select collections with --collection." in stderr
    run("export", path)
    assert len(query_file(path, "SELECT id FROM default_reflections WHERE insight_type IS NOT NULL")) == 2
    assert len(query_file(path, "SHOW TABLES")) == 4


def test_a_view_is_not_imported(run, path):
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


def test_a_second_import_of_near_duplicates_changes_nothing(run, path):
    near = build_row("i2", INSIGHT_TEXT.replace("own ", ""), insight_type="general", metadata='{"projects": ["shop"]}')
    create_older_file(path, **{CONVERSATIONS_TABLE: [CONVERSATION_ROW], PROJECT_TABLE: [INSIGHT_ROW, near]})
    assert run("import", path)[0][PROJECT_TABLE, "insights"] == (2, 1, 1, 0)
    assert Insight.objects.get().projects == ["site", "shop"]
    before = load_all_rows()
    assert run("import", path)[0][PROJECT_TABLE, "insights"] == (2, 0, 2, 0)
    assert load_all_rows() == before


def test_a_greater_use_count_is_the_only_change_to_an_existing_insight(run, filled):
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


def test_a_later_use_is_taken_over_without_a_greater_count(run, filled):
    run("import", filled)
    with duckdb.connect(str(filled)) as file:
        file.execute(f"UPDATE {PROJECT_TABLE} SET last_used_at = '2024-07-01' WHERE id = 'i1'")
    run("import", filled)
    assert Insight.objects.get(memory__content=INSIGHT_TEXT).last_used_at == datetime(2024, 7, 1, tzinfo=UTC)


def test_a_smaller_use_count_changes_nothing(run, filled):
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
def test_metadata_of_any_form_become_an_object(run, path, metadata, own):
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
        ({"created_at": "infinity"}, "created_at: is not a valid time"),
        ({"created_at": "1999-01-01"}, "created_at: must lie between 2000 and 2200"),
        ({"created_at": "2199-01-01"}, "created_at: may not lie in the future"),
        ({"created_at": "0044-03-15 (BC) 00:00:00"}, "created_at: is not a valid time"),
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
def test_an_invalid_row_is_reported_and_skipped(run, path, bad, reason):
    texts = ("id", "content", "metadata", "created_at", "insight_type", "last_used_at")
    columns = ", ".join(f"{name} VARCHAR" for name in texts)
    script = f"CREATE TABLE {PROJECT_TABLE} ({columns}, tags VARCHAR[], usage_count INTEGER, confidence_score REAL)"
    rows = [{"id": "bad", "content": "A bad note", **bad}, {"id": "good", "content": "A good note"}]
    create_file(path, script, **{PROJECT_TABLE: rows})
    counts, stderr = run("import", path)
    kind = "insights" if "insight_type" in bad else "reflections"
    assert counts[PROJECT_TABLE, kind][3] == 1
    assert reason in stderr
    assert f"{PROJECT_TABLE}, row " in stderr
    assert [memory.content for memory in Memory.objects.all()] == ["A good note"]


def test_only_the_first_invalid_rows_are_reported(run, path):
    create_older_file(path, **{PROJECT_TABLE: [build_row(f"r{n}", " ") for n in range(30)]})
    counts, stderr = run("import", path)
    assert counts == {(PROJECT_TABLE, "reflections"): (30, 0, 0, 30)}
    assert stderr.count("may not be blank") == 20
    assert "30 rows were skipped" in stderr


def test_a_project_name_that_looks_secret_is_redacted(run, path):
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


def test_equal_texts_in_several_batches_are_stored_once(run, path, monkeypatch):
    monkeypatch.setattr(importer, "IMPORT_BATCH_SIZE", 3)
    notes = [build_row(f"r{n}", f"Note {n // 2}", metadata=f'{{"n": {n}}}') for n in range(10)]
    create_older_file(path, **{PROJECT_TABLE: notes})
    assert run("import", path)[0] == {(PROJECT_TABLE, "reflections"): (10, 5, 5, 0)}
    assert [memory.metadata["n"] for memory in Memory.objects.order_by("content")] == [0, 2, 4, 6, 8]


def test_an_interrupted_import_can_be_continued(run, path, monkeypatch):
    monkeypatch.setattr(importer, "IMPORT_BATCH_SIZE", 2)
    create_older_file(path, **{PROJECT_TABLE: [build_row(f"r{n}", f"Note {n}") for n in range(5)]})
    with interrupt_call(monkeypatch, importer, "store_batch", after=1):
        with pytest.raises(CommandError, match="Stopped: 2 of 5 rows are done") as error:
            run("import", path)
        assert error.value.returncode == 130
    assert Memory.objects.count() == 2
    assert run("import", path)[0] == {(PROJECT_TABLE, "reflections"): (5, 3, 2, 0)}


def test_a_dry_run_counts_and_stores_nothing(run, filled):
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


def test_a_mismatch_of_counts_is_described(namespace, filled):
    work = SessionBuddyImport(namespace.pk, print)
    with open_database(filled, reading=True, timeout=0, report=print) as file:
        total = len(list(work.run(file, find_tables(file))))
    assert total == 4
    assert work.describe_mismatch(4) is None
    assert work.describe_mismatch(5) == "The file has 5 rows, 4 were read and 4 accounted for."
    Memory.objects.filter(content=OTHER_TEXT).delete()
    assert work.describe_mismatch(4) == "4 memories were expected, the database has 3."


def test_a_mismatch_of_counts_ends_with_exit_status_1(run, filled, monkeypatch, capsys):
    monkeypatch.setattr("ingestion.management.commands.session_buddy.count_table_rows", lambda file, tables: 7)
    with pytest.raises(CommandError, match="The file has 7 rows") as error:
        run("import", filled)
    assert error.value.returncode == 1


def test_insights_of_another_namespace_are_neither_matched_nor_exported(run, filled, elsewhere):
    save_insights(
        elsewhere.pk, [InsightDraft(INSIGHT_TEXT), InsightDraft("Theirs alone: nobody else may ever read of this.")]
    )
    assert run("import", filled)[0][PROJECT_TABLE, "insights"] == (1, 1, 0, 0)
    run("export", filled.with_name("other"))
    assert "Theirs alone" not in str(dump_file(filled.with_name("other")))
    assert len(load_insights("elsewhere")) == 2
