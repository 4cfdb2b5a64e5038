"""The tables of the local file, by version. A migration is never changed, only followed by another one."""

#: What identifies the file as ours (`PRAGMA application_id`): "MEMH".
APPLICATION_ID = 0x4D454D48

FIRST_SQL = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- tick: number of the last change. purged: the tick up to which rows may be missing without a trace. related: the tick
-- of the last change to relationships. conflicts: how many memories were changed on both sides.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('tick', 0), ('purged', 0), ('related', 0), ('conflicts', 0);

-- A user, whose memories are the server's too, or a thread, whose memories are only here.
CREATE TABLE scopes (
    kind TEXT NOT NULL CHECK (kind IN ('user', 'thread')),
    name TEXT NOT NULL,
    last_activity REAL NOT NULL,
    loaded_at REAL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- body: the memory as JSON. touched: the tick of its last change. deleted_at: it is gone, and other processes have to
-- see that.
CREATE TABLE memories (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    touched INTEGER NOT NULL,
    deleted_at REAL,
    accessed_at REAL,
    expires_at REAL,
    entity_system TEXT,
    entity_id TEXT,
    etag TEXT,
    body TEXT NOT NULL,
    FOREIGN KEY (kind, scope) REFERENCES scopes (kind, name) ON DELETE CASCADE
);
CREATE INDEX memories_by_change ON memories (kind, scope, touched);
CREATE INDEX memories_by_entity ON memories (scope, entity_system, entity_id) WHERE entity_id IS NOT NULL;
CREATE INDEX memories_deleted ON memories (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE relationships (
    from_id TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE ON UPDATE CASCADE,
    to_id TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE ON UPDATE CASCADE,
    type TEXT NOT NULL,
    strength REAL NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (from_id, to_id, type)
) WITHOUT ROWID;
CREATE INDEX relationships_by_end ON relationships (to_id);

-- The id that an entity had here before the server merged it into one that it had already.
CREATE TABLE aliases (
    old_id TEXT PRIMARY KEY,
    new_id TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE ON UPDATE CASCADE
) WITHOUT ROWID;
CREATE INDEX aliases_by_memory ON aliases (new_id);

-- Writes that the server has not acknowledged, in the order in which they were made.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('create', 'merge', 'update', 'delete', 'relate')),
    user_id TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    other_id TEXT,
    body TEXT NOT NULL,
    request_key TEXT NOT NULL,
    written_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    first_sent_at REAL,
    last_error TEXT
);
CREATE INDEX outbox_by_memory ON outbox (memory_id);
CREATE INDEX outbox_by_other ON outbox (other_id) WHERE other_id IS NOT NULL;
CREATE INDEX outbox_by_user ON outbox (user_id);

-- Writes that the server will not take as they are.
CREATE TABLE refused (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL,
    memory_id TEXT NOT NULL,
    other_id TEXT,
    body TEXT NOT NULL,
    written_at REAL NOT NULL,
    refused_at REAL NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    errors TEXT NOT NULL,
    memory TEXT
);
CREATE INDEX refused_by_memory ON refused (memory_id);
CREATE INDEX refused_by_user ON refused (user_id);

CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (workflow_id, id)
);
"""

#: batch: what was sent in one request has the same. The index finds new memories that were never sent.
BATCHES_SQL = """
ALTER TABLE outbox ADD COLUMN batch TEXT;
CREATE INDEX outbox_unsent ON outbox (seq) WHERE kind = 'create' AND attempts = 0;
"""

#: The file's version (`PRAGMA user_version`) is the number of those that it has seen.
MIGRATIONS = (FIRST_SQL, BATCHES_SQL)
