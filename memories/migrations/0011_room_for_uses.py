from django.db import migrations

# A use counts in place then, without touching any index: with full pages two thirds of them wrote every index anew.
ROOM = "ALTER TABLE memories_memory SET (fillfactor = 80)"
NONE = "ALTER TABLE memories_memory RESET (fillfactor)"


class Migration(migrations.Migration):
    dependencies = [("memories", "0010_entities_are_found")]
    operations = [migrations.RunSQL(ROOM, NONE)]
