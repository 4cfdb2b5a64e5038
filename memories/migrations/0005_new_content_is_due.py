from django.db import migrations

# Whoever writes the content, and however: it is queued in the same transaction.
ADDED = """
CREATE FUNCTION memories_added_are_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, after, characters)
    SELECT id, namespace_id, now(), char_length(content) FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_added_are_due
AFTER INSERT ON memories_memory REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION memories_added_are_due();
"""

EDITED = """
CREATE FUNCTION memories_edited_is_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, after, characters)
    VALUES (NEW.id, NEW.namespace_id, now(), char_length(NEW.content))
    ON CONFLICT (memory_id) DO UPDATE
    SET after = excluded.after, characters = excluded.characters, tries = 0, error = '';
    RETURN NULL;
END $$;

CREATE TRIGGER memories_edited_is_due
AFTER UPDATE OF content ON memories_memory FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
EXECUTE FUNCTION memories_edited_is_due();
"""


def gone(name: str) -> str:
    return f"DROP TRIGGER {name} ON memories_memory; DROP FUNCTION {name}();"


class Migration(migrations.Migration):
    dependencies = [("memories", "0004_labels_follow_the_memory")]
    operations = [
        migrations.RunSQL(ADDED, gone("memories_added_are_due")),
        migrations.RunSQL(EDITED, gone("memories_edited_is_due")),
    ]
