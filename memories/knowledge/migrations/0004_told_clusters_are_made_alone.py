from django.db import migrations

# Whoever makes a cluster has its lock, also who says something of it or imports it: those who only store memories try
# for it, and leave the cluster to a sweep.
ALONE = """
CREATE FUNCTION knowledge_cluster_is_made() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtext('knowledge_cluster ' || NEW.namespace_id), get_byte(knowledge_key(NEW.tags), 0) & 63);
    RETURN NEW;
END $$;

CREATE TRIGGER knowledge_cluster_is_made BEFORE INSERT ON knowledge_cluster
FOR EACH ROW EXECUTE FUNCTION knowledge_cluster_is_made();
"""
BEFORE = "DROP TRIGGER knowledge_cluster_is_made ON knowledge_cluster; DROP FUNCTION knowledge_cluster_is_made();"


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0003_clusters_follow_memories")]
    operations = [migrations.RunSQL(ALONE, BEFORE)]
