"""The health check of the migrations."""

from collections.abc import Iterator
from importlib.util import find_spec
from pkgutil import iter_modules

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from memory_site.operations.health.results import CheckResult, HealthStatus


def check_migrations() -> CheckResult:
    if missing := count_missing_migrations():
        return HealthStatus.UNHEALTHY, f"{missing} migrations are missing."
    return HealthStatus.HEALTHY, "All applied."


def count_missing_migrations() -> int:
    """Count migrations that `migrate` would apply.

    Importing all of them takes a second on a busy machine, so it is done only if a file's name is not recorded.
    """
    recorded = MigrationRecorder(connection).applied_migrations()
    if all((label, name) in recorded for label, name in list_migration_files()):
        return 0
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def list_migration_files() -> Iterator[tuple[str, str]]:
    """Yield app label and name of each migration of the installed apps."""
    for app in apps.get_app_configs():
        module, _ = MigrationLoader.migrations_module(app.label)
        spec = find_spec(module) if module else None
        for file in iter_modules(spec.submodule_search_locations if spec else ()):
            if not file.ispkg and file.name[0] not in "_~":
                yield app.label, file.name
