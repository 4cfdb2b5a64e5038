"""`manage.py refresh_statistics`: count anew what every user has."""

from memories.graph.models import UserStatistics
from memories.graph.tasks import refresh_statistics
from sessions_app.commands import MemoryCommand


class Command(MemoryCommand):
    help = "Refresh the statistics of users. Every quarter of an hour does this too; readers never wait for it."

    def handle(self, **options: object) -> None:
        if refresh_statistics():
            self.stdout.write(f"The statistics of {UserStatistics.objects.count()} users are fresh.")
        else:
            self.stdout.write("Somebody else is refreshing the statistics right now.")
