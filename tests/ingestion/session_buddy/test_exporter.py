"""Export of insights to Session-Buddy files."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.core.management import CommandError
from django.utils import timezone

from ingestion.session_buddy import exporter
from ingestion.session_buddy.export_rows import truncate_vector
from ingestion.session_buddy.exporter import SessionBuddyExport
from ingestion.session_buddy.file import open_database
from memories import tasks
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from sessions_app.models import Namespace
from tests.ingestion.session_buddy.files import (
    GLOBAL_TABLE,
    NEWER_SCHEMA,
    PROJECT_TABLE,
    build_row,
    create_file,
    create_older_file,
    duckdb,
    dump_file,
    insert_rows,
    interrupt_call,
    load_all_rows,
    load_insights,
    query_file,
)
from tests.ingestion.session_buddy.texts import INSIGHT_TEXT, LONG_AGO

pytestmark = pytest.mark.django_db


def test_an_exported_row_has_all_fields_of_its_insight(run, insight, path):
    assert run("export", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 1, 0, 0),
        (GLOBAL_TABLE, "insights"): (1, 1, 0, 0),
    }
    columns = "id, content, tags, created_at, insight_type, usage_count, last_used_at, embedding, conversation_id"
    [found] = query_file(path, f"SELECT {columns} FROM {PROJECT_TABLE}")
    naive = LONG_AGO.replace(tzinfo=None)
    assert found[:4] == (str(insight.pk), INSIGHT_TEXT, ["important", "pools"], naive)
    assert found[4:] == ("gotcha", 4, datetime(2024, 6, 1), None, None)
    [(metadata, confidence)] = query_file(path, f"SELECT metadata, confidence_score FROM {PROJECT_TABLE}")
    stderr = json.loads(metadata)
    assert (stderr["projects"], stderr["topics"], stderr["quality_score"], stderr["seen"]) == (
        ["site", "shop"],
        ["pools"],
        0.6,
        2,
    )
    assert confidence == pytest.approx(0.7)


def test_a_new_file_has_the_oldest_storage_version(run, insight, path):
    run("export", path)
    with duckdb.connect(str(path), read_only=True) as file:
        [(tags,)] = file.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert tags["storage_version"].startswith("v1.0.0")


def test_the_newer_layout_is_written_on_request(run, insight, path):
    assert run("export", path, "--layout", "v2")[0] == {("reflections_v2", "insights"): (2, 2, 0, 0)}
    found = query_file(
        path, "SELECT category, project, timestamp, insight_type FROM reflections_v2 WHERE usage_count = 4"
    )
    assert found == [("rules", "site", LONG_AGO.replace(tzinfo=None), "gotcha")]


@pytest.mark.parametrize("requested", ["v1", "v2"])
@pytest.mark.parametrize("there", ["v1", "v2"])
def test_an_existing_file_keeps_its_layout(run, insight, path, there, requested):
    create_file(path, NEWER_SCHEMA) if there == "v2" else create_older_file(path)
    tables = set(dump_file(path))
    counts, _ = run("export", path, "--layout", requested)
    assert (
        set(counts)
        == {
            "v1": {(PROJECT_TABLE, "insights"), (GLOBAL_TABLE, "insights")},
            "v2": {("reflections_v2", "insights")},
        }[there]
    )
    assert set(dump_file(path)) == tables


def test_other_rows_and_tables_of_the_file_stay_unchanged(run, insight, path):
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


def test_a_second_export_changes_nothing(run, insight, path):
    run("export", path)
    before = dump_file(path)
    assert run("export", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 0, 1),
        (GLOBAL_TABLE, "insights"): (1, 0, 0, 1),
    }
    assert dump_file(path) == before


def test_exporting_to_the_imported_file_changes_nothing(run, filled):
    run("import", filled)
    before = dump_file(filled)
    assert run("export", filled)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 0, 1),
        (GLOBAL_TABLE, "insights"): (1, 0, 0, 1),
    }
    assert dump_file(filled) == before


def test_a_conversation_missing_in_the_file_is_kept_in_the_metadata(run, filled):
    other = filled.with_name("other.duckdb")
    create_older_file(other)
    run("import", filled)
    run("export", other)
    [(conversation, metadata)] = query_file(other, f"SELECT conversation_id, metadata FROM {PROJECT_TABLE}")
    assert (conversation, json.loads(metadata)["source_conversation_id"]) == (None, "c1")


@pytest.mark.parametrize("requested", ["v1", "v2"])
def test_export_and_import_into_another_namespace_is_lossless(run, filled, elsewhere, requested):
    other = filled.with_name("other.duckdb")
    with duckdb.connect(str(filled)) as file:
        strange = build_row(
            "s1", "Seldom seen: a type of insight that nobody here has heard of.", insight_type="odd", tags=[]
        )
        insert_rows(file, PROJECT_TABLE, [strange])
    run("import", filled)
    run("export", other, "--layout", requested)
    run("import", other, "--namespace", "elsewhere")
    assert len(load_insights("ours")) == 3
    assert drop_collection(load_insights("elsewhere")) == drop_collection(load_insights("ours"))
    twice = filled.with_name("twice.duckdb")
    run("export", twice, "--layout", requested, "--namespace", "elsewhere")
    said = "SELECT id, content, tags, insight_type, usage_count, confidence_score FROM {} ORDER BY id"
    for table in dump_file(other):
        assert query_file(twice, said.format(table)) == query_file(other, said.format(table))
    assert "odd" in str(dump_file(twice))


def drop_collection(rows: list[tuple]) -> list[tuple]:
    """Drop the collection, which the newer layout does not store: it has one table for all."""
    marks = [dict(found[-2]["session_buddy"]) for found in rows]
    for mark in marks:
        mark.pop("collection", None)
    return [(*found[:-2], found[-1], mark) for found, mark in zip(rows, marks, strict=True)]


def test_importing_an_exported_file_changes_nothing(run, insight, path):
    run("export", path)
    before = load_all_rows()
    assert run("import", path)[0] == {
        (PROJECT_TABLE, "insights"): (1, 0, 1, 0),
        (GLOBAL_TABLE, "insights"): (1, 0, 1, 0),
    }
    assert load_all_rows() == before


def test_a_greater_use_count_is_exported_and_a_smaller_one_is_not(run, insight, path):
    run("export", path)
    Insight.objects.filter(pk=insight.pk).update(usage_count=9, last_used_at=datetime(2024, 8, 1, tzinfo=UTC))
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    used = f"SELECT usage_count, last_used_at FROM {PROJECT_TABLE}"
    assert query_file(path, used) == [(9, datetime(2024, 8, 1))]
    with duckdb.connect(str(path)) as file:
        file.execute(f"UPDATE {PROJECT_TABLE} SET usage_count = 20, last_used_at = '2025-01-01'")
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)
    assert query_file(path, used) == [(20, datetime(2025, 1, 1))]


def test_a_changed_text_is_updated_in_its_row(api, run, insight, path):
    run("export", path)
    changed = "Pools keep dead connections; whoever cannot wait for their patience connects by himself."
    assert api.patch(f"/memories/{insight.pk}", {"content": changed}).status_code == 200
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    assert query_file(path, f"SELECT id, content FROM {PROJECT_TABLE}") == [(str(insight.pk), changed)]
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)


def test_when_both_texts_changed_the_later_row_stays_and_both_become_insights(run, filled):
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


def test_a_row_with_the_same_normalised_text_is_the_same_insight(run, insight, path):
    create_older_file(path, **{GLOBAL_TABLE: [build_row("i9", INSIGHT_TEXT.upper() + "!", insight_type="general")]})
    assert run("export", path)[0][GLOBAL_TABLE, "insights"] == (2, 1, 1, 0)
    assert query_file(path, f"SELECT count(*) FROM {PROJECT_TABLE}") == [(0,)]


def test_vectors_of_the_shared_model_are_exported(run, insight, path, embedder):
    embedder("Constant", "all-MiniLM-L6-v2-int8")
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]
    tasks.embed_due()
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    [(vector,)] = query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}")
    assert vector == (0.5,) * 4 + (0,) * 380
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 0, 1)


def test_an_exported_vector_has_unit_length():
    rounded = np.zeros(768, np.float16)
    rounded[:384] = np.random.default_rng(1).normal(size=384) / 20
    vector = np.array(truncate_vector(rounded))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-9)
    assert vector * np.linalg.norm(rounded[:384].astype(float)) == pytest.approx(rounded[:384].astype(float))


def test_a_vector_without_zero_padding_is_not_exported(run, insight, path, settings):
    settings.EMBEDDINGS = {"default": settings.EMBEDDINGS["default"] | {"MODEL": "all-MiniLM-L6-v2"}}
    tasks.embed_due()
    assert Namespace.objects.get().embedding_model == "all-MiniLM-L6-v2"
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]


def test_vectors_of_another_model_are_not_exported(run, insight, path):
    tasks.embed_due()
    run("export", path)
    assert query_file(path, f"SELECT embedding FROM {PROJECT_TABLE}") == [(None,)]


def test_an_interrupted_export_can_be_continued(run, namespace, path, monkeypatch):
    topics = ("harbours", "lighthouses", "barrels", "letters", "olives")
    save_insights(
        namespace.pk, [InsightDraft(f"What is true of {topic} is true of nothing else at all.") for topic in topics]
    )
    monkeypatch.setattr(exporter, "EXPORT_BATCH_SIZE", 2)
    with (
        interrupt_call(monkeypatch, exporter, "file_transaction", after=1),
        pytest.raises(CommandError, match="2 of 5"),
    ):
        run("export", path)
    assert query_file(path, f"SELECT count(*) FROM {PROJECT_TABLE}") == [(2,)]
    assert run("export", path)[0] == {(PROJECT_TABLE, "insights"): (5, 3, 0, 2)}


@pytest.mark.parametrize("there", [True, False])
def test_a_dry_run_writes_nothing(run, insight, path, there):
    if there:
        create_file(path, NEWER_SCHEMA)
    before = dump_file(path) if there else None
    counts, _ = run("export", path, "--dry-run")
    assert sum(new for _, new, _, _ in counts.values()) == 2
    assert (dump_file(path) if path.exists() else None) == before


def test_a_table_with_null_and_duplicate_ids_can_be_written(run, insight, path):
    script = f"CREATE TABLE {PROJECT_TABLE} (id VARCHAR, content VARCHAR, insight_type VARCHAR, usage_count INTEGER)"
    learned = [{"id": id, "content": INSIGHT_TEXT, "insight_type": "x"} for id in (None, "a", "a")]
    create_file(path, script, **{PROJECT_TABLE: [*learned, {"id": "b", "content": None, "insight_type": "x"}]})
    assert run("export", path)[0][PROJECT_TABLE, "insights"] == (1, 0, 1, 0)
    assert query_file(path, f"SELECT usage_count FROM {PROJECT_TABLE} WHERE id = 'a'") == [(4,), (4,)]


def test_two_entities_with_one_text_share_a_row(api, run, path):
    for number in ("1", "2"):
        entity = {"system": "wiki", "id": number}
        added = api.add(INSIGHT_TEXT, memory_type="insight", entity=entity)
        Insight.objects.filter(pk=added["id"]).update(usage_count=int(number), last_used_at=timezone.now())
    assert run("export", path)[0] == {(PROJECT_TABLE, "insights"): (2, 1, 1, 0)}
    assert query_file(path, f"SELECT usage_count FROM {PROJECT_TABLE}") == [(2,)]


def test_rows_missing_after_an_export_are_described(namespace, insight, path):
    with open_database(path, reading=False, timeout=0, report=print) as file:
        work = SessionBuddyExport(namespace, file, "v1", dry_run=False)
        list(work.run())
        assert work.describe_mismatch() is None
        file.execute(f"DELETE FROM {PROJECT_TABLE}")
        assert work.describe_mismatch() == f"{PROJECT_TABLE} should have 1 rows, it has 0."
        insert_rows(file, PROJECT_TABLE, [build_row("x", "Another")])
        assert work.describe_mismatch() == f"{PROJECT_TABLE} should have 1 of the insights, it has 0."


def test_an_export_without_insights_creates_no_table(run, path):
    assert run("export", path)[0] == {}
    assert dump_file(path) == {}
