"""System checks of the site's settings: `check` and `serve` show them."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register

from memory_site.operations.unknown_settings import find_unknown_settings


@register()
def check_unknown_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of variables that look like settings and are ignored."""
    return [Warning(str(setting), id="operations.W001") for setting in find_unknown_settings()]
