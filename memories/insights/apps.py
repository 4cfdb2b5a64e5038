from django.apps import AppConfig

from memories import extract


class InsightsConfig(AppConfig):
    name = "memories.insights"

    def ready(self) -> None:
        from memories.insights import take  # needs the apps to be loaded

        extract.register(take)
