"""`manage.py refresh_statistics`: refresh the statistics of users."""

from memories.graph.models import UserStatistics
from memories.graph.tasks import refresh_statistics
from sessions_app.commands import MemoryCommand


class Command(MemoryCommand):
    help = "Refresh the statistics of users. Beat does this every quarter of an hour; readers never wait for it."

    def handle(self, **options: object) -> None:
        if refresh_statistics():
            self.stdout.write(f"The statistics of {UserStatistics.objects.count()} users were refreshed.")
        else:
            self.stdout.write("Another process is refreshing the statistics.")
