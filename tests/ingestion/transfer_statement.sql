WITH line AS (
    SELECT place, spare_id,
           CASE WHEN value ->> 'conversation_id' IS NOT NULL AND conversation_id.new IS NULL THEN 'conversation_id'
                WHEN value ->> 'memory_id' IS NOT NULL AND memory_id.new IS NULL THEN 'memory_id' END AS missing,
           %(defaults)s::jsonb || value || jsonb_build_object('namespace_id', %(namespace)s::bigint, 'conversation_id', conversation_id.new, 'memory_id', memory_id.new) AS row
    FROM ROWS FROM (jsonb_array_elements(%(lines)s::jsonb), unnest(%(spare_ids)s::uuid[]))
        WITH ORDINALITY AS lines(value, spare_id, place)
    LEFT JOIN exchange_ids conversation_id ON conversation_id.kind = 'conversation' AND conversation_id.old = (value ->> 'conversation_id')::uuid
    LEFT JOIN exchange_ids memory_id ON memory_id.kind = 'memory' AND memory_id.old = (value ->> 'memory_id')::uuid
),
record AS (
    SELECT place, spare_id, missing, memories_sha256(NULL) AS identity, record.*
    FROM line, jsonb_populate_record(NULL::sessions_app_message, line.row) AS record
),
matched AS (
    SELECT record.*,
           coalesce(same_id.id, same_spare_id.id, same_identity.id) AS existing_id,
           CASE WHEN record.id = ANY(%(taken_ids)s::uuid[]) THEN spare_id ELSE record.id END AS new_id
    FROM record
    LEFT JOIN sessions_app_message same_id ON same_id.namespace_id = %(namespace)s AND same_id.id = record.id
    LEFT JOIN sessions_app_message same_spare_id
        ON same_spare_id.namespace_id = %(namespace)s AND same_spare_id.id = record.spare_id
    LEFT JOIN exchange_existing same_identity ON same_identity.kind = %(kind)s AND same_identity.key = record.identity
    WHERE missing IS NULL
),
noted AS (
    INSERT INTO exchange_ids SELECT %(kind)s, id, coalesce(existing_id, new_id), existing_id IS NULL FROM matched
),
inserted AS (
    INSERT INTO sessions_app_message (id, namespace_id, "conversation_id", "role", "agent_id", "content", "metadata", "memory_id", "created_at")
    SELECT new_id, namespace_id, "conversation_id", "role", "agent_id", "content", coalesce("metadata", 'null'), "memory_id", "created_at"
    FROM matched WHERE existing_id IS NULL
    RETURNING id
)
SELECT place, missing FROM record WHERE missing IS NOT NULL
UNION ALL SELECT NULL, count(*)::text FROM inserted
