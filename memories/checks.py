"""System checks of the embedding settings, without a connection to the embedder."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from memories.embeddings import get_embedder


@register()
def check_embedder_configuration(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the embedder's vectors fit the column."""
    return [Error(problem, id="memories.E001") for problem in get_embedder().check()]
