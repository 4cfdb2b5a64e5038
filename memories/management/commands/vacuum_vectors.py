"""`manage.py vacuum_vectors`: rebuild the index of the vectors now."""

from typing import Any

from django.core.management.base import CommandError

from memories.vacuum import list_parts, vacuum_vectors
from memory_site.core.db.locks import AlreadyRunning
from sessions_app.commands import EXIT_FAILED, MemoryCommand


class Command(MemoryCommand):
    help = (
        "Rebuild the index of the vectors and remove deleted ones. A worker does it by itself after large deletions. "
        "Searches and writes go on meanwhile."
    )

    def handle(self, **_: Any) -> None:
        try:
            rows = vacuum_vectors(list_parts())
        except AlreadyRunning as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None
        self.stdout.write(f"Rebuilt; {rows.dead:,} of {rows.live + rows.dead:,} rows were dead.")
