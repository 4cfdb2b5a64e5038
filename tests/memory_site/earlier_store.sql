-- A store of the release before the keys began with the namespace, with rows in every table that has one: {rows}
-- memories in two namespaces, and what refers to them.
CREATE FUNCTION pg_temp.id(kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN md5(kind || number)::uuid;
-- Of a tenth of the memories: one in the namespace of the memory.
CREATE FUNCTION pg_temp.tenth(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN number % 2 + 2 * (number / 7 % ({rows} / 20));

INSERT INTO sessions_app_namespace (id, name, created_at) VALUES (1, 'one', now()), (2, 'two', now());
INSERT INTO sessions_app_apikey (id, namespace_id, name, digest, scopes, created_at)
SELECT 'key' || n, n, '', '', '{read}', now() FROM generate_series(1, 2) n;
INSERT INTO sessions_app_idempotentanswer (api_key_id, key, fingerprint, status, body)
SELECT 'key' || 1 + n % 2, 'key ' || n, 'print', 201, '{}' FROM generate_series(1, {rows} / 10) n;

INSERT INTO ingestion_document (id, namespace_id, repo_id, path, metadata, digest, size, chunk_count)
SELECT pg_temp.id('document', n), 1 + n % 2, 'repository', 'file ' || n, '{}', 'digest', 1, 1
FROM generate_series(0, {rows} / 10) n;
INSERT INTO memories_memory (
    id, namespace_id, content, metadata, memory_type, source_system, user_id, document_id, importance, confidence, tags,
    entity_system, entity_id, created_at, updated_at, access_count
)
SELECT pg_temp.id('memory', n), 1 + n % 2, 'Harbour number ' || n || ' is deep', '{}',
       CASE WHEN n <= {rows} / 10 THEN 'insight' ELSE 'agent' END, 'test',
       CASE WHEN n % 5 > 0 THEN 'user ' || n % 7 END,
       CASE WHEN n % 3 = 0 THEN pg_temp.id('document', pg_temp.tenth(n)) END, 3, 1, ARRAY['tag ' || n % 20],
       CASE WHEN n % 11 = 0 THEN 'crm' END, CASE WHEN n % 11 = 0 THEN 'entity ' || n END, now(), now(), 0
FROM generate_series(1, {rows}) n;
INSERT INTO memories_embedding (memory_id, namespace_id, user_id, memory_type, model, content_hash, vector)
SELECT id, namespace_id, user_id, memory_type, 'model', content_hash, array_fill(0.036, ARRAY[768])::halfvec
FROM memories_memory WHERE entity_id IS NULL;
DELETE FROM memories_dueembedding USING memories_embedding
WHERE memories_dueembedding.memory_id = memories_embedding.memory_id;
INSERT INTO memories_reembedding (id, namespace_id, model, memories_done, memories_refused, error, finished_at)
SELECT pg_temp.id('run', n), n, 'model', 1, 0, '', now() FROM generate_series(1, 2) n;

INSERT INTO graph_relationship (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
SELECT pg_temp.id('relationship', n), 1 + n % 2, CASE WHEN n % 5 > 0 THEN 'user ' || n % 7 ELSE '' END,
       pg_temp.id('memory', n), pg_temp.id('memory', n + 70), 'relates_to', 1, '{}'
FROM generate_series(1, {rows} - 70) n;
INSERT INTO graph_pendingrelationship (
    id, namespace_id, owner, from_memory_id, type, strength, metadata, entity_system, entity_id, reverse
)
SELECT pg_temp.id('pending', n), 1 + n % 2, CASE WHEN n % 5 > 0 THEN 'user ' || n % 7 ELSE '' END,
       pg_temp.id('memory', n), 'relates_to', 1, '{}', 'crm', 'unknown ' || n, false
FROM generate_series(1, {rows} / 10) n;
INSERT INTO graph_erasure (id, namespace_id, user_digest, requested_by, erased)
SELECT pg_temp.id('erasure', n), n, '', 'test', '{}' FROM generate_series(1, 2) n;

INSERT INTO sessions_app_conversation (id, namespace_id, topics, importance, metadata)
SELECT pg_temp.id('conversation', n), 1 + n % 2, '{}', 0.5, '{}' FROM generate_series(0, {rows} / 10) n;
INSERT INTO sessions_app_message (id, namespace_id, conversation_id, role, content, metadata, memory_id)
SELECT pg_temp.id('message', n), 1 + n % 2, pg_temp.id('conversation', pg_temp.tenth(n)), 'user', 'message ' || n, '{}',
       CASE WHEN n % 4 = 0 THEN pg_temp.id('memory', n) END
FROM generate_series(1, {rows}) n;
INSERT INTO sessions_app_sessionmemory (id, namespace_id, session_id, history)
SELECT pg_temp.id('session', n), 1 + n % 2, 'session ' || n, '[]' FROM generate_series(1, {rows} / 10) n;
INSERT INTO sessions_app_sessionlink (id, namespace_id, source_session_id, target_session_id, link_type)
SELECT pg_temp.id('link', n), 1 + n % 2, 'session ' || n, 'session ' || n + 1, 'related'
FROM generate_series(1, {rows} / 10) n;

INSERT INTO ingestion_ingestion (
    id, namespace_id, repo_id, path, suffixes, status, documents_done, documents_changed, documents_deleted,
    documents_skipped, chunks, skipped, error, attempts, within_roots, exclude
)
SELECT pg_temp.id('ingestion', n), n, 'repository', '/', '{}', 'completed', 1, 1, 0, 0, 1, '[]', '', 1, true, '{}'
FROM generate_series(1, 2) n;
INSERT INTO ingestion_workflowexecution (
    id, namespace_id, workflow_id, adapter, repositories, status, started_at, finished_at, memory_id
)
SELECT pg_temp.id('execution', n), 1 + n % 2, 'workflow', 'test', '{}', 'completed', now(), now(),
       CASE WHEN n % 4 = 0 THEN pg_temp.id('memory', n) END
FROM generate_series(1, {rows} / 10) n;

INSERT INTO insights_insight (
    memory_id, namespace_id, collection, insight_type, topics, projects, quality, source_memory_id, conversation_id,
    digest, bands
)
SELECT pg_temp.id('memory', n), 1 + n % 2, 'project', 'general', '{}', '{}', 0.5,
       CASE WHEN n % 4 = 0 THEN pg_temp.id('memory', n + 2) END,
       CASE WHEN n % 3 = 0 THEN pg_temp.id('conversation', pg_temp.tenth(n)) END, sha256(n::text::bytea), ARRAY[n]
FROM generate_series(1, {rows} / 10) n;
INSERT INTO insights_projectgroup (id, namespace_id, name, description, projects, metadata)
SELECT pg_temp.id('group', n), n, 'group', '', '{harbour}', '{}' FROM generate_series(1, 2) n;
INSERT INTO insights_projectdependency (id, namespace_id, source_project, target_project, type, description, metadata)
SELECT pg_temp.id('dependency', n), n, 'harbour', 'ship', 'uses', '', '{}' FROM generate_series(1, 2) n;
INSERT INTO knowledge_pattern (id, namespace_id, pattern_type, key, frequency, confidence, examples, metadata)
SELECT pg_temp.id('pattern', n), n, 'workflow', 'key', 1, 1, '{}', '{}' FROM generate_series(1, 2) n;
INSERT INTO knowledge_preference (id, namespace_id, user_id, key, value, confidence, source)
SELECT pg_temp.id('preference', n), n, 'ada', 'key', '1', 1, 'explicit' FROM generate_series(1, 2) n;
INSERT INTO knowledge_duecluster (namespace_id, memory_type, key) VALUES (1, 'agent', 'key'), (2, 'agent', 'key');
