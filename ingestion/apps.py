from django.apps import AppConfig


class IngestionConfig(AppConfig):
    name = "ingestion"

    def ready(self) -> None:
        # Its module imports models, so only when the apps are loaded.
        from ingestion.export_job import register_export  # noqa: PLC0415

        register_export()
