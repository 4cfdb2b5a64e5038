from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="SeededSchedule",
            fields=[("name", models.CharField(max_length=200, primary_key=True, serialize=False))],
        ),
    ]
