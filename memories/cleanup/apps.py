from django.apps import AppConfig


class CleanupConfig(AppConfig):
    name = "memories.cleanup"
    label = "cleanup"

    def ready(self) -> None:
        from memories.cleanup.actions import Inspect, MergeDuplicates  # noqa: PLC0415  (needs the models)
        from memories.jobs import actions  # noqa: PLC0415

        for action in (Inspect(), MergeDuplicates()):
            actions.register(action)
