from django.db import migrations

# Whoever makes a cluster has its lock, also who says something of it or imports it: those who only store memories try
# for it, and leave the cluster to a sweep.
ALONE = """
CREATE FUNCTION knowledge_lock_new_cluster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtext('knowledge_cluster ' || NEW.namespace_id), get_byte(knowledge_tags_key(NEW.tags), 0) & 63);
    RETURN NEW;
END $$;

CREATE TRIGGER knowledge_lock_new_cluster BEFORE INSERT ON knowledge_cluster
FOR EACH ROW EXECUTE FUNCTION knowledge_lock_new_cluster();
"""
BEFORE = "DROP TRIGGER knowledge_lock_new_cluster ON knowledge_cluster; DROP FUNCTION knowledge_lock_new_cluster();"


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0003_clusters_follow_memories")]
    operations = [migrations.RunSQL(ALONE, BEFORE)]
