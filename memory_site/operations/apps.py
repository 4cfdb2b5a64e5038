from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks
from django.db.backends.postgresql.features import DatabaseFeatures


class OperationsConfig(AppConfig):
    default = True  # of the classes that this module knows
    name = "memory_site.operations"
    label = "operations"

    def ready(self) -> None:
        from memory_site.operations import checks  # noqa: F401, PLC0415  (registers them; reads the settings)
        from memory_site.operations.erasures.carry import connect_signals  # noqa: PLC0415  (needs the models)
        from memory_site.operations.metrics import tasks  # noqa: F401, PLC0415  (counts by Celery's signals)
        from memory_site.operations.schedules import connect_protection  # noqa: PLC0415

        connect_signals()
        connect_protection()
        # Django compares it with the server's at the first connection of every process.
        DatabaseFeatures.minimum_database_version = settings.MIN_POSTGRESQL_VERSION


class ConsoleConfig(SimpleAdminConfig):
    """The admin site. `memory_site.urls` imports the apps' admin modules, because most commands do not need them."""

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_console, checks.Tags.admin)


def check_console(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Check the admin classes. Checks run in no order, so the addresses may not have been imported yet."""
    autodiscover()
    return check_admin_app(app_configs, **options)
