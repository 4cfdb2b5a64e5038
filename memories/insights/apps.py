from django.apps import AppConfig

from memories import extract


class InsightsConfig(AppConfig):
    name = "memories.insights"

    def ready(self) -> None:
        from memories.insights import capture  # needs the apps to be loaded

        extract.register(capture)
