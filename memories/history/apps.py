from django.apps import AppConfig

from memory_site.core.db import actor


class HistoryConfig(AppConfig):
    name = "memories.history"

    def ready(self) -> None:
        # A document takes its chunks along.
        actor.watch("memories_memory", "ingestion_document")
