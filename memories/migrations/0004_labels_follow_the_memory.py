from django.db import migrations

FOLLOW = """
CREATE FUNCTION memories_sync_embedding_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE memories_embedding
    SET namespace_id = NEW.namespace_id, user_id = NEW.user_id, memory_type = NEW.memory_type, repo_id = NEW.repo_id,
        expires_at = NEW.expires_at
    WHERE memory_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_sync_embedding_labels
AFTER UPDATE OF namespace_id, user_id, memory_type, repo_id, expires_at ON memories_memory
FOR EACH ROW
WHEN ((OLD.namespace_id, OLD.user_id, OLD.memory_type, OLD.repo_id, OLD.expires_at)
      IS DISTINCT FROM (NEW.namespace_id, NEW.user_id, NEW.memory_type, NEW.repo_id, NEW.expires_at))
EXECUTE FUNCTION memories_sync_embedding_labels();
"""
LEAVE = (
    "DROP TRIGGER memories_sync_embedding_labels ON memories_memory; DROP FUNCTION memories_sync_embedding_labels();"
)


class Migration(migrations.Migration):
    dependencies = [("memories", "0003_database_level_cascades")]
    operations = [migrations.RunSQL(FOLLOW, LEAVE)]
