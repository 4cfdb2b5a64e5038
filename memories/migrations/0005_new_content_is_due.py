from django.db import migrations

# Whoever writes the content, and however: it is queued in the same transaction.
ADDED = """
CREATE FUNCTION memories_queue_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
    SELECT id, namespace_id, now(), char_length(content) FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_queue_inserted
AFTER INSERT ON memories_memory REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION memories_queue_inserted();
"""

EDITED = """
CREATE FUNCTION memories_queue_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
    VALUES (NEW.id, NEW.namespace_id, now(), char_length(NEW.content))
    ON CONFLICT (memory_id) DO UPDATE
    SET due_at = excluded.due_at, characters = excluded.characters, attempts = 0, error = '';
    RETURN NULL;
END $$;

CREATE TRIGGER memories_queue_edited
AFTER UPDATE OF content ON memories_memory FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
EXECUTE FUNCTION memories_queue_edited();
"""


def gone(name: str) -> str:
    return f"DROP TRIGGER {name} ON memories_memory; DROP FUNCTION {name}();"


class Migration(migrations.Migration):
    dependencies = [("memories", "0004_labels_follow_the_memory")]
    operations = [
        migrations.RunSQL(ADDED, gone("memories_queue_inserted")),
        migrations.RunSQL(EDITED, gone("memories_queue_edited")),
    ]
