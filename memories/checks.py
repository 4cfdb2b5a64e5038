"""System checks: what configuration alone can show to be wrong."""

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from memories.embeddings import get_embedder


@register()
def check_embedder_configuration(app_configs: list[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """The embedder's vectors must fit the column."""
    return [Error(sentence, id="memories.E001") for sentence in get_embedder().check()]
