"""Session-Buddy files for the tests: their tables, rows and contents."""

from contextlib import contextmanager
from datetime import datetime

import duckdb

from memories.insights.models import Insight
from memories.models import Memory
from tests.ingestion.session_buddy.texts import INSIGHT_TEXT, LONG_AGO, OTHER_TEXT

PROJECT_TABLE, GLOBAL_TABLE = "mahavishnu_project_reflections", "mahavishnu_global_reflections"
CONVERSATIONS_TABLE = "mahavishnu_project_conversations"
#: As Session-Buddy creates them, with references and indexes.
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


def create_file(path, *scripts: str, **rows: list[dict]) -> None:
    """Create a file with these tables and rows."""
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
    """Return all columns of all memories and insights of a namespace."""
    memories = Memory.objects.filter(namespace__name=namespace).order_by("id").values()
    return [*memories, *Insight.objects.filter(namespace__name=namespace).order_by("pk").values()]


def load_insights(namespace: str) -> list[tuple]:
    """Return the fields of a namespace's insights that do not depend on the namespace."""
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


def create_filled_file(path) -> None:
    """Create a file of the older layout with one row of each kind."""
    rows = {
        CONVERSATIONS_TABLE: [CONVERSATION_ROW],
        PROJECT_TABLE: [NOTE_ROW, INSIGHT_ROW],
        GLOBAL_TABLE: [build_row("g1", OTHER_TEXT, insight_type="pattern")],
    }
    create_older_file(path, **rows)


@contextmanager
def interrupt_call(monkeypatch, module, name: str, after: int):
    """Raise KeyboardInterrupt in a call of the function, after some calls."""
    calls, real = [], getattr(module, name)

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, interrupted)
        yield
